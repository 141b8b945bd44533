//! How busy the cores were lately, from samples of their CPU clocks.

use std::collections::VecDeque;
use std::time::Duration;

use proxy_state::Imbalance;

use super::history::{History, REACH};

/// Time between two samples.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Samples that are kept: the last ten seconds lie between the first and the last.
const SAMPLES_MAX: usize = 11;

/// Utilization above which a core counts as saturated.
const SATURATED_MIN: f64 = 0.95;

/// Utilization under which a core counts as idle. A sleeping worker's is 0; one wake a second is less.
const IDLE_MAX: f64 = 0.001;

/// One look at the workers.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When, since any fixed moment.
    pub(crate) at: Duration,
    /// CPU time of each worker's thread; none: it can't be read, and counts as unchanged.
    pub(crate) cpu: Vec<Option<Duration>>,
    /// Times that connections were run, over all workers.
    pub(crate) polls: u64,
}

/// The last samples, and what follows from them.
#[derive(Debug)]
pub(crate) struct Load {
    /// Which run of a scheduler it is of, and how many workers that has.
    run: u64,
    workers: usize,
    samples: VecDeque<Sample>,
    /// By core, of all runs.
    saturated: Vec<Duration>,
    idle_samples: u32,
    resting: bool,
    history: History,
}

impl Load {
    /// No sample yet, of `workers` workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            run: 0,
            workers,
            samples: VecDeque::with_capacity(SAMPLES_MAX),
            saturated: vec![Duration::ZERO; workers],
            idle_samples: 0,
            resting: false,
            history: History::default(),
        }
    }

    /// Samples are of this run of a scheduler from now on. True if they were of another one: nothing is left of those but
    /// what adds up, and the history.
    pub(crate) fn set_run(&mut self, run: u64, workers: usize) -> bool {
        let is_other = run != self.run;
        if is_other {
            (self.run, self.workers) = (run, workers);
            self.samples.clear();
            let ever = self.saturated.len().max(workers);
            self.saturated.resize(ever, Duration::ZERO);
            self.idle_samples = 0;
        }
        is_other
    }

    /// Takes one more sample, no earlier than the one before.
    pub(crate) fn push(&mut self, sample: Sample) {
        self.keep(sample);
        let Some((before, last)) = self.last_two() else {
            return;
        };
        let interval = last.at.saturating_sub(before.at);
        let polls_changed = before.polls != last.polls;
        let utilization = self.utilization();
        for (saturated, &used) in self.saturated.iter_mut().zip(&utilization) {
            if used > SATURATED_MIN {
                *saturated += interval;
            }
        }
        let idle = !polls_changed && utilization.iter().all(|&used| used < IDLE_MAX);
        self.idle_samples = if idle { self.idle_samples + 1 } else { 0 };
    }

    /// How many samples in a row, up to the last one, found every worker idle.
    pub(crate) fn idle_samples(&self) -> u32 {
        self.idle_samples
    }

    /// Nobody takes samples from now on, for the workers sleep.
    pub(crate) fn begin_rest(&mut self) {
        self.resting = true;
    }

    /// Whether nobody takes samples.
    pub(crate) fn is_resting(&self) -> bool {
        self.resting
    }

    /// Whether nobody takes samples, and the last one is older than they usually become.
    pub(crate) fn is_stale(&self, now: Duration) -> bool {
        let last = self.samples.back();
        self.resting && last.is_some_and(|last| now.saturating_sub(last.at) > SAMPLE_INTERVAL)
    }

    /// Makes up for the samples that nobody took between the last one and this: utilization was 0. What little the
    /// workers used meanwhile is left out.
    pub(crate) fn rest_until(&mut self, sample: Sample) {
        let Some(mut at) = self.samples.back().map(|last| last.at) else {
            return self.keep(sample);
        };
        // Only differences of CPU times mean anything, so that all of them may begin elsewhere.
        for worker in 0..self.workers {
            let cpu = |sample: &Sample| sample.cpu.get(worker).copied().flatten();
            let last = self.samples.back().and_then(cpu);
            let Some((last, now)) = last.zip(cpu(&sample)) else {
                continue;
            };
            let used = now.saturating_sub(last);
            for kept in &mut self.samples {
                if let Some(Some(cpu)) = kept.cpu.get_mut(worker) {
                    *cpu += used;
                }
            }
        }
        // Of a long rest only the end is kept; the history reaches further back.
        let kept = SAMPLE_INTERVAL * SAMPLES_MAX as u32;
        let until = sample.at.saturating_sub(kept);
        let left_out = until.saturating_sub(at).as_secs() / SAMPLE_INTERVAL.as_secs();
        for _ in 0..left_out.min(REACH) {
            self.history
                .push(vec![0.0; self.workers], Imbalance::of(&[]));
        }
        at = at.max(until);
        while at + SAMPLE_INTERVAL < sample.at {
            at += SAMPLE_INTERVAL;
            self.keep(Sample {
                at,
                ..sample.clone()
            });
        }
        self.keep(sample);
    }

    /// Samples are taken again from now on.
    pub(crate) fn end_rest(&mut self) {
        self.resting = false;
        self.idle_samples = 0;
    }

    /// Utilization of each core, 0 to 1, between the last two samples.
    pub(crate) fn utilization(&self) -> Vec<f64> {
        match self.last_two() {
            Some((before, last)) => self.between(before, last),
            None => vec![0.0; self.workers],
        }
    }

    /// How uneven the cores were over all the samples that are kept.
    pub(crate) fn imbalance(&self) -> Imbalance {
        Imbalance::of(&self.recent_utilization())
    }

    /// Utilization of each core over all the samples that are kept, 0 to 1.
    pub(crate) fn recent_utilization(&self) -> Vec<f64> {
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => self.between(first, last),
            _ => vec![0.0; self.workers],
        }
    }

    /// What each sample told.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// How long each core was saturated, ever. It never shrinks.
    pub(crate) fn saturated(&self) -> &[Duration] {
        &self.saturated
    }

    fn keep(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        // One sample alone tells nothing.
        if self.samples.len() > 1 {
            self.history.push(self.utilization(), self.imbalance());
        }
    }

    fn last_two(&self) -> Option<(&Sample, &Sample)> {
        let last = self.samples.len().checked_sub(1)?;
        Some((self.samples.get(last.checked_sub(1)?)?, &self.samples[last]))
    }

    fn between(&self, first: &Sample, last: &Sample) -> Vec<f64> {
        let interval = last.at.saturating_sub(first.at).as_secs_f64();
        let used = |worker: usize| {
            let before = (*first.cpu.get(worker)?)?;
            let after = (*last.cpu.get(worker)?)?;
            Some(after.saturating_sub(before).as_secs_f64())
        };
        (0..self.workers)
            .map(|worker| match used(worker) {
                // The two clocks aren't read at the same instant, so a full core may seem a hair above 1.
                Some(used) if interval > 0.0 => (used / interval).min(1.0),
                _ => 0.0,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_state::{HISTORY_MAX, HOUR_MAX, HOUR_STEP};

    use super::*;

    /// Milliseconds throughout.
    fn sample(at: u64, cpu: &[u64], polls: u64) -> Sample {
        Sample {
            at: Duration::from_millis(at),
            cpu: cpu
                .iter()
                .map(|&ms| Some(Duration::from_millis(ms)))
                .collect(),
            polls,
        }
    }

    #[test]
    fn utilization_is_of_the_last_interval() {
        let mut load = Load::new(2);
        assert_eq!(load.utilization(), [0.0, 0.0]);
        load.push(sample(5000, &[900, 100], 1));
        assert_eq!(load.utilization(), [0.0, 0.0]);
        load.push(sample(6000, &[1900, 100], 2));
        assert_eq!(load.utilization(), [1.0, 0.0]);
        // A sampler that was held up for a second measures over two.
        load.push(sample(8000, &[1900, 600], 3));
        assert_eq!(load.utilization(), [0.0, 0.25]);
        // A clock that ran on while it was being read.
        load.push(sample(9000, &[2903, 600], 3));
        assert_eq!(load.utilization(), [1.0, 0.0]);
    }

    #[test]
    fn imbalance_is_of_the_last_ten_seconds() {
        let mut load = Load::new(2);
        assert_eq!(load.imbalance().ratio, 0.0);
        for second in 0..=10 {
            load.push(sample(second * 1000, &[second * 500, 0], second));
        }
        let even = load.imbalance();
        assert_eq!((even.ratio, even.stranded, even.fairness), (1.0, 0.25, 0.5));
        // Ten even seconds later nothing is left of it.
        for second in 11..=20 {
            load.push(sample(
                second * 1000,
                &[second * 500, second * 500 - 5000],
                second,
            ));
        }
        let even = load.imbalance();
        assert_eq!((even.ratio, even.stranded, even.fairness), (0.0, 0.0, 1.0));
    }

    #[test]
    fn saturated_time_is_that_of_whole_intervals() {
        let mut load = Load::new(2);
        load.push(sample(0, &[0, 0], 0));
        load.push(sample(1000, &[960, 950], 0));
        load.push(sample(2500, &[2460, 951], 0));
        assert_eq!(
            load.saturated(),
            [Duration::from_millis(2500), Duration::ZERO]
        );
    }

    #[test]
    fn a_rest_is_a_time_of_no_load() {
        let mut load = Load::new(2);
        for second in 0..=10 {
            load.push(sample(second * 1000, &[second * 500, 0], second));
        }
        load.begin_rest();
        let ms = Duration::from_millis;
        assert!(!load.is_stale(ms(11_000)));
        assert!(load.is_stale(ms(11_001)));
        // Half of the window is of the load, and half of the rest.
        load.rest_until(sample(14_900, &[5100, 90], 10));
        assert_eq!(load.utilization(), [0.0, 0.0]);
        let imbalance = load.imbalance();
        assert!((imbalance.stranded - 0.125).abs() < 0.01, "{imbalance:?}");
        assert_eq!(imbalance.ratio, 1.0);
        assert!(!load.is_stale(ms(15_900)));
        // Nothing of the load is left.
        load.rest_until(sample(3_600_000, &[5200, 95], 10));
        load.end_rest();
        assert!(!load.is_stale(ms(7_200_000)));
        assert_eq!(load.imbalance(), Imbalance::of(&[0.0, 0.0]));
        assert_eq!(load.samples.len(), SAMPLES_MAX);
        load.push(sample(3_601_000, &[5200, 595], 11));
        assert_eq!(load.utilization(), [0.0, 0.5]);
        assert!((load.imbalance().stranded - 0.025).abs() < 0.001);
        assert_eq!(load.saturated(), [Duration::ZERO; 2]);
    }

    #[test]
    fn history_has_a_point_a_second_through_rests() {
        let mut load = Load::new(2);
        let numbers = |load: &Load, after| -> Vec<u64> {
            load.history()
                .after(after)
                .map(|point| point.number)
                .collect()
        };
        load.push(sample(0, &[0, 0], 0));
        assert!(numbers(&load, None).is_empty());
        load.push(sample(1000, &[500, 0], 1));
        load.push(sample(2000, &[600, 0], 2));
        assert_eq!(numbers(&load, None), [1, 2]);
        assert_eq!(numbers(&load, Some(1)), [2]);
        let utilization: Vec<_> = load
            .history()
            .after(None)
            .map(|p| &p.utilization[..])
            .collect();
        assert_eq!(utilization, [[0.5, 0.0], [0.1, 0.0]]);
        // A rest of 28 seconds, of which the samples keep ten.
        load.begin_rest();
        load.rest_until(sample(30_000, &[610, 0], 2));
        assert_eq!(numbers(&load, None).len(), 30);
        assert!(
            load.history()
                .after(Some(2))
                .all(|p| p.utilization == [0.0, 0.0])
        );
        assert!(load.history().hour_after(None).next().is_some_and(|point| {
            // The mean of one half, one tenth and nothing.
            point.number == 30 && (point.utilization[0] - 0.02).abs() < 1e-9
        }));
        // A day is as long as the history at most, and as the hour.
        load.rest_until(sample(86_430_000, &[620, 0], 2));
        assert_eq!(numbers(&load, None).len(), HISTORY_MAX);
        assert_eq!(load.history().hour_after(None).count(), HOUR_MAX);
        let last = load
            .history()
            .hour_after(None)
            .last()
            .expect("a point")
            .number;
        assert_eq!(load.history().hour_after(Some(last - HOUR_STEP)).count(), 1);
        assert!(numbers(&load, Some(u64::MAX)).is_empty());
    }

    #[test]
    fn another_run_begins_anew_and_what_adds_up_goes_on() {
        let mut load = Load::new(2);
        load.push(sample(0, &[0, 0], 0));
        load.push(sample(1000, &[1000, 100], 1));
        assert!(!load.set_run(0, 2));
        assert!(load.set_run(1, 3));
        assert_eq!(load.utilization(), [0.0; 3]);
        load.push(sample(2000, &[5, 5, 5], 1));
        load.push(sample(3000, &[505, 5, 5], 2));
        assert_eq!(load.utilization(), [0.5, 0.0, 0.0]);
        assert!(load.set_run(2, 1));
        load.push(sample(4000, &[0], 2));
        load.push(sample(5000, &[1000], 3));
        assert_eq!(load.utilization(), [1.0]);
        let second = Duration::from_secs(1);
        assert_eq!(
            load.saturated(),
            [2 * second, Duration::ZERO, Duration::ZERO]
        );
        assert_eq!(load.history().after(None).count(), 3);
    }

    #[test]
    fn idle_samples_are_counted_in_a_row() {
        let mut load = Load::new(1);
        let mut found = |at, cpu, polls| {
            load.push(sample(at, &[cpu], polls));
            load.idle_samples()
        };
        assert_eq!(found(0, 0, 0), 0);
        assert_eq!(found(10_000, 0, 0), 1);
        assert_eq!(found(20_000, 9, 0), 2);
        // 0.1 % of the interval.
        assert_eq!(found(30_000, 19, 0), 0);
        assert_eq!(found(40_000, 19, 0), 1);
        // A connection was run.
        assert_eq!(found(50_000, 19, 1), 0);
        assert_eq!(found(60_000, 19, 1), 1);
        load.end_rest();
        assert_eq!(load.idle_samples(), 0);
    }

    #[test]
    fn a_thread_without_a_clock_is_idle() {
        let mut load = Load::new(2);
        load.push(sample(0, &[0, 0], 0));
        let mut gone = sample(1000, &[500, 500], 0);
        gone.cpu[1] = None;
        load.push(gone);
        assert_eq!(load.utilization(), [0.5, 0.0]);
    }

    proptest! {
        #[test]
        fn utilization_is_a_ratio(
            steps in prop::collection::vec(
                (0u64..20_000, 0u64..5000, 0u64..5000, any::<bool>()),
                0..30,
            ),
        ) {
            let mut load = Load::new(2);
            let (mut at, mut cpu) = (0, [0, 0]);
            for (interval, one, other, rest) in steps {
                at += interval;
                cpu = [cpu[0] + one, cpu[1] + other];
                let before = load.saturated().to_vec();
                if rest {
                    load.rest_until(sample(at, &cpu, 0));
                } else {
                    load.push(sample(at, &cpu, 0));
                }
                prop_assert!(load.utilization().iter().all(|used| (0.0..=1.0).contains(used)));
                prop_assert!(load.saturated().iter().zip(&before).all(|(after, before)| after >= before));
                let imbalance = load.imbalance();
                prop_assert!((0.0..=1.0).contains(&imbalance.ratio));
                prop_assert!((0.5..=1.0).contains(&imbalance.fairness));
                prop_assert!(load.samples.len() <= SAMPLES_MAX && load.history().after(None).count() <= HISTORY_MAX);
            }
        }
    }
}
