//! What each sample told: the last two minutes, second by second, and the last hour.

use std::collections::VecDeque;

use proxy_state::{Figures, HISTORY_MAX, HOUR_MAX, HOUR_STEP, Imbalance, Point};

/// Samples that it reaches back.
pub(crate) const REACH: u64 = HOUR_MAX as u64 * HOUR_STEP;

/// Points, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// One for each sample, [`HISTORY_MAX`] at most.
    last: VecDeque<Point>,
    /// One for [`HOUR_STEP`] samples, [`HOUR_MAX`] at most.
    hour: VecDeque<Point>,
    /// The sum of what will be the next one of the hour, and how many samples are in it.
    coming: (Point, u32),
    /// Samples that there ever were.
    samples: u64,
}

impl History {
    /// The points after the one of this number; all of them without a number.
    pub(crate) fn after(&self, number: Option<u64>) -> impl Iterator<Item = &Point> {
        after(&self.last, number)
    }

    /// The same of the last hour.
    pub(crate) fn hour_after(&self, number: Option<u64>) -> impl Iterator<Item = &Point> {
        after(&self.hour, number)
    }

    /// Takes what one more sample told.
    pub(super) fn push(&mut self, utilization: Vec<f64>, imbalance: Imbalance) {
        self.samples += 1;
        let point = Point {
            number: self.samples,
            utilization,
            imbalance: Figures::from(imbalance),
        };
        self.add_up(&point);
        keep(&mut self.last, point, HISTORY_MAX);
    }

    /// Makes a point of the last hour of each [`HOUR_STEP`] samples.
    fn add_up(&mut self, point: &Point) {
        let (sum, count) = &mut self.coming;
        let cores = sum.utilization.len().max(point.utilization.len());
        sum.utilization.resize(cores, 0.0);
        for (sum, used) in sum.utilization.iter_mut().zip(&point.utilization) {
            *sum += used;
        }
        sum.imbalance.ratio += point.imbalance.ratio;
        sum.imbalance.stranded += point.imbalance.stranded;
        sum.imbalance.fairness += point.imbalance.fairness;
        *count += 1;
        if !point.number.is_multiple_of(HOUR_STEP) {
            return;
        }
        let (mut mean, count) = std::mem::take(&mut self.coming);
        let count = f64::from(count);
        let Figures {
            ratio,
            stranded,
            fairness,
        } = &mut mean.imbalance;
        let all = mean.utilization.iter_mut();
        for value in all.chain([ratio, stranded, fairness]) {
            *value /= count;
        }
        mean.number = point.number;
        keep(&mut self.hour, mean, HOUR_MAX);
    }
}

fn after(points: &VecDeque<Point>, number: Option<u64>) -> impl Iterator<Item = &Point> {
    let points = points.iter();
    points.skip_while(move |point| number.is_some_and(|number| point.number <= number))
}

fn keep(points: &mut VecDeque<Point>, point: Point, most: usize) {
    if points.len() == most {
        points.pop_front();
    }
    points.push_back(point);
}
