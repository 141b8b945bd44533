//! Digits that nobody sees would be most of the JSON.

use std::time::Duration;

use proxy_state::Figures;

pub(super) fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// In seconds.
pub(super) fn micros(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

pub(super) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

pub(super) fn rounded(figures: Figures) -> Figures {
    Figures {
        ratio: thousandths(figures.ratio),
        stranded: thousandths(figures.stranded),
        fairness: thousandths(figures.fairness),
    }
}
