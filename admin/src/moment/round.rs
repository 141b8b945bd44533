//! Digits that nobody sees would be most of the JSON.

use proxy_state::Figures;

pub(super) fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
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
