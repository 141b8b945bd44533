//! The plots: rows of systems, drawn as SVG on a white ground of their own, so that they read on a dark page too.

use std::path::Path;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::sample::Results;
use crate::summary::summarise;
use crate::system::System;

/// Pixels. Names are on the left of the axis, figures on its right.
pub(crate) const WIDTH: i32 = 860;
const LEFT: i32 = 190;
const RIGHT: i32 = 190;
const TOP: i32 = 62;
const BOTTOM: i32 = 34;
const ROW: i32 = 26;
const BAR: i32 = 7;

pub(crate) const TITLE_SIZE: i32 = 17;
pub(crate) const TEXT_SIZE: i32 = 13;

pub(crate) const INK: RGBColor = RGBColor(31, 41, 55);
pub(crate) const FAINT: RGBColor = RGBColor(217, 221, 227);
pub(crate) const MUTED: RGBColor = RGBColor(96, 104, 117);
pub(crate) const CORELANE: RGBColor = RGBColor(37, 99, 235);
pub(crate) const ANCHOR: RGBColor = RGBColor(133, 142, 155);
pub(crate) const OTHER: RGBColor = RGBColor(217, 160, 74);

/// Marks on an axis, at most.
const TICKS_MAX: usize = 8;

/// One system's figures.
struct Row {
    system: System,
    figures: [f64; 3],
    label: String,
}

/// Where figures are on the axis.
struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    logarithmic: bool,
}

/// Draws the plots of one workload into `dir`; returns their names.
pub(crate) fn draw(dir: &Path, results: &Results) -> anyhow::Result<Vec<String>> {
    let stem = results.workload.to_string().replace(':', "-");
    let mut names = Vec::new();
    let (baseline, summaries) = summarise(&results.samples);
    let costs: Vec<Row> = summaries
        .iter()
        .filter_map(|summary| {
            let ratio = summary.ratio?;
            Some(Row {
                system: summary.system,
                figures: [ratio.low, ratio.median, ratio.high],
                label: ratio.text(2),
            })
        })
        .collect();
    if let Some(baseline) = baseline {
        let name = format!("{stem}.svg");
        let title = format!(
            "{}: {}, relative to {baseline}",
            results.workload,
            results.workload.cost_unit().0
        );
        bars(&dir.join(&name), &title, &costs)?;
        names.push(name);
    }
    if results.workload.has_latency() && !summaries.is_empty() {
        let rows: Vec<Row> = summaries
            .iter()
            .map(|summary| {
                let figures = summary.latency_us.map(|latency| latency.median.max(1.0));
                let [p50, p99, p999] = figures;
                Row {
                    system: summary.system,
                    figures,
                    label: format!("{p50:.0} / {p99:.0} / {p999:.0}"),
                }
            })
            .collect();
        let name = format!("{stem}-latency.svg");
        let title = format!("{}: latency in µs, logarithmic", results.workload);
        latencies(&dir.join(&name), &title, &rows)?;
        names.push(name);
    }
    Ok(names)
}

/// Bars from zero with the quartiles as whiskers.
fn bars(path: &Path, title: &str, rows: &[Row]) -> anyhow::Result<()> {
    let high = rows.iter().map(|row| row.figures[2]).fold(1.0, f64::max);
    let axis = Axis::linear(high);
    canvas(path, bottom(rows) + BOTTOM, |area| {
        frame(
            area,
            title,
            "bars: medians; whiskers: quartiles; less is better",
            rows,
            &axis,
        )?;
        for (row, y) in rows.iter().zip(middles()) {
            let [low, median, high] = row.figures.map(|figure| axis.pixel(figure));
            let colour = colour(row.system).filled();
            area.draw(&Rectangle::new(
                [(LEFT, y - BAR), (median, y + BAR)],
                colour,
            ))?;
            area.draw(&PathElement::new(vec![(low, y), (high, y)], INK))?;
            for x in [low, high] {
                area.draw(&PathElement::new(vec![(x, y - 3), (x, y + 3)], INK))?;
            }
        }
        let (one, end) = (axis.pixel(1.0), bottom(rows));
        area.draw(&PathElement::new(vec![(one, TOP), (one, end)], INK))
    })
}

/// Three marks on a line for each system.
fn latencies(path: &Path, title: &str, rows: &[Row]) -> anyhow::Result<()> {
    let figures = || rows.iter().flat_map(|row| row.figures);
    let axis = Axis::logarithmic(
        figures().fold(f64::MAX, f64::min),
        figures().fold(1.0, f64::max),
    );
    canvas(path, bottom(rows) + BOTTOM, |area| {
        frame(
            area,
            title,
            "ring: p50; disc: p99; stroke: p99.9; less is better",
            rows,
            &axis,
        )?;
        for (row, y) in rows.iter().zip(middles()) {
            let [p50, p99, p999] = row.figures.map(|figure| axis.pixel(figure));
            let colour = colour(row.system);
            area.draw(&PathElement::new(
                vec![(p50, y), (p999, y)],
                colour.stroke_width(2),
            ))?;
            area.draw(&Circle::new((p50, y), 5, WHITE.filled()))?;
            area.draw(&Circle::new((p50, y), 5, colour.stroke_width(2)))?;
            area.draw(&Circle::new((p99, y), 5, colour.filled()))?;
            let stroke = vec![(p999, y - BAR), (p999, y + BAR)];
            area.draw(&PathElement::new(stroke, colour.stroke_width(3)))?;
        }
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// A white ground of this height, with what `draw` puts on it.
pub(crate) fn canvas(
    path: &Path,
    height: i32,
    draw: impl for<'a> Fn(&Area<'a>) -> Drawn<'a>,
) -> anyhow::Result<()> {
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::new(path, size).into_drawing_area();
    let drawn = area
        .fill(&WHITE)
        .and_then(|()| draw(&area))
        .and_then(|()| area.present());
    drawn.map_err(|error| anyhow!("drawing {}: {error}", path.display()))
}

/// The title, the key, the axis, and each row's name and figures.
fn frame<'a>(area: &Area<'a>, title: &str, key: &str, rows: &[Row], axis: &Axis) -> Drawn<'a> {
    area.draw_text(title, &text(TITLE_SIZE, &INK, HPos::Left), (12, 20))?;
    area.draw_text(key, &text(TEXT_SIZE, &MUTED, HPos::Left), (12, 42))?;
    let end = bottom(rows);
    for &tick in &axis.ticks {
        let x = axis.pixel(tick);
        area.draw(&PathElement::new(vec![(x, TOP), (x, end)], FAINT))?;
        let label = if axis.logarithmic || tick.fract() == 0.0 {
            format!("{tick:.0}")
        } else {
            format!("{tick:.1}")
        };
        area.draw_text(
            &label,
            &text(TEXT_SIZE, &MUTED, HPos::Center),
            (x, end + 14),
        )?;
    }
    for (row, y) in rows.iter().zip(middles()) {
        let name = text(TEXT_SIZE, &INK, HPos::Right);
        area.draw_text(&row.system.to_string(), &name, (LEFT - 10, y))?;
        let figures = text(TEXT_SIZE, &INK, HPos::Left);
        area.draw_text(&row.label, &figures, (WIDTH - RIGHT + 14, y))?;
    }
    Ok(())
}

pub(crate) fn text(size: i32, colour: &RGBColor, side: HPos) -> TextStyle<'_> {
    ("sans-serif", size)
        .into_text_style(&(1, 1))
        .color(colour)
        .pos(Pos::new(side, VPos::Center))
}

fn colour(system: System) -> RGBColor {
    match system {
        System::Corelane(_) | System::Build { .. } => CORELANE,
        system if system.is_anchor() => ANCHOR,
        _ => OTHER,
    }
}

/// The middles of the rows, from the top.
fn middles() -> impl Iterator<Item = i32> {
    (0..).map(|row| TOP + ROW * row + ROW / 2)
}

fn bottom(rows: &[Row]) -> i32 {
    TOP + ROW * i32::try_from(rows.len()).unwrap_or(0)
}

impl Axis {
    /// From zero to `high`, with round ticks.
    fn linear(high: f64) -> Self {
        let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0];
        let fits = |step: &&f64| high / **step <= TICKS_MAX as f64;
        let step = steps.iter().find(fits).copied().unwrap_or(high / 4.0);
        let count = (high / step).floor() as u32;
        Self {
            low: 0.0,
            high: high * 1.02,
            ticks: (0..=count).map(|tick| f64::from(tick) * step).collect(),
            logarithmic: false,
        }
    }

    /// From the power of ten under `low` to that over `high`.
    fn logarithmic(low: f64, high: f64) -> Self {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let last = last.max(first + 1);
        Self {
            low: 10f64.powi(first),
            high: 10f64.powi(last),
            ticks: (first..=last).map(|power| 10f64.powi(power)).collect(),
            logarithmic: true,
        }
    }

    fn pixel(&self, figure: f64) -> i32 {
        let part = if self.logarithmic {
            (figure / self.low).log10() / (self.high / self.low).log10()
        } else {
            (figure - self.low) / (self.high - self.low)
        };
        LEFT + (part * f64::from(WIDTH - LEFT - RIGHT)).round() as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_on_the_axis() {
        for high in [0.3, 1.0, 1.7, 5.4, 33.0, 390.0, 7_000.0] {
            let axis = Axis::linear(high);
            assert!(axis.ticks.len() <= TICKS_MAX + 1, "{high}");
            let pixels = axis.ticks.iter().map(|&tick| axis.pixel(tick));
            assert!(
                pixels
                    .into_iter()
                    .all(|x| (LEFT..=WIDTH - RIGHT).contains(&x))
            );
        }
    }

    #[test]
    fn a_logarithmic_axis_holds_its_figures() {
        let axis = Axis::logarithmic(17.0, 31_000.0);
        assert_eq!(axis.ticks, [10.0, 100.0, 1e3, 1e4, 1e5]);
        assert_eq!(axis.pixel(10.0), LEFT);
        assert_eq!(axis.pixel(1e5), WIDTH - RIGHT);
    }
}
