//! The imbalance of the cores over time.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::Contestant;
use crate::plots::{
    ANCHOR, CORELANE, FAINT, INK, MUTED, OTHER, TEXT_SIZE, TITLE_SIZE, WIDTH, canvas, text,
};

/// Pixels.
const LEFT: i32 = 60;
const RIGHT: i32 = 250;
const TOP: i32 = 66;
const HEIGHT: i32 = 220;
const BOTTOM: i32 = 40;
/// Seconds that are named, at most.
const TICKS_MAX: usize = 12;
/// Between the lines of the key.
const KEY_STEP: i32 = 22;

/// A line each, in the order of the contestants.
const COLOURS: [RGBColor; 4] = [ANCHOR, OTHER, RGBColor(190, 24, 93), CORELANE];

/// Draws λ of each contestant's `lines`: seconds since the load began, and λ. Measuring began after `warmup` seconds.
pub(super) fn draw(
    path: &Path,
    workers: u32,
    warmup: f64,
    lines: &[(&Contestant, Vec<(f64, f64)>)],
) -> anyhow::Result<()> {
    let points = || lines.iter().flat_map(|(_, line)| line);
    let seconds = points().map(|&(at, _)| at).fold(1.0, f64::max).ceil();
    let most = f64::from(workers - 1);
    let x = |at: f64| LEFT + (at / seconds * f64::from(WIDTH - LEFT - RIGHT)).round() as i32;
    let y = |imbalance: f64| TOP + HEIGHT - (imbalance / most * f64::from(HEIGHT)).round() as i32;
    canvas(path, TOP + HEIGHT + BOTTOM, |area| {
        area.draw_text(
            "Skewed load: λ = max/mean − 1 of the workers' CPU time",
            &text(TITLE_SIZE, &INK, HPos::Left),
            (12, 20),
        )?;
        area.draw_text(
            "0: even; dashed: measuring begins; seconds since the load began",
            &text(TEXT_SIZE, &MUTED, HPos::Left),
            (12, 42),
        )?;
        for tick in 0..workers {
            let (tick, label) = (y(f64::from(tick)), tick.to_string());
            area.draw(&PathElement::new(
                vec![(LEFT, tick), (WIDTH - RIGHT, tick)],
                FAINT,
            ))?;
            let style = text(TEXT_SIZE, &MUTED, HPos::Right);
            area.draw_text(&label, &style, (LEFT - 8, tick))?;
        }
        let step = (seconds as usize).div_ceil(TICKS_MAX).max(1);
        for second in (0..=seconds as u32).step_by(step) {
            let style = text(TEXT_SIZE, &MUTED, HPos::Center);
            let place = (x(f64::from(second)), TOP + HEIGHT + 16);
            area.draw_text(&second.to_string(), &style, place)?;
        }
        for dash in (TOP..TOP + HEIGHT).step_by(8) {
            let ends = vec![(x(warmup), dash), (x(warmup), dash + 4)];
            area.draw(&PathElement::new(ends, MUTED))?;
        }
        let keys = (0..).map(|key| TOP + 8 + KEY_STEP * key);
        for (((contestant, line), colour), key) in lines.iter().zip(COLOURS).zip(keys) {
            let points = line.iter().map(|&(at, imbalance)| (x(at), y(imbalance)));
            let stroke = colour.stroke_width(2);
            area.draw(&PathElement::new(points.collect::<Vec<_>>(), stroke))?;
            let start = WIDTH - RIGHT + 14;
            let ends = vec![(start, key), (start + 20, key)];
            area.draw(&PathElement::new(ends, colour.stroke_width(3)))?;
            let style = text(TEXT_SIZE, &INK, HPos::Left);
            area.draw_text(&contestant.to_string(), &style, (start + 26, key))?;
        }
        Ok(())
    })
}
