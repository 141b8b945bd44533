//! The middle of some figures, and how far they lie apart.

/// The middle of some figures, and the quartiles around it: half of the figures lie between these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of `figures`; none of none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let last = figures.len().checked_sub(1)?;
        // Between two figures where the rank falls between them.
        let quantile = |part: f64| {
            let rank = part * last as f64;
            let (below, above) = (
                figures[rank.floor() as usize],
                figures[rank.ceil() as usize],
            );
            below + (above - below) * rank.fract()
        };
        Some(Self {
            median: quantile(0.5),
            low: quantile(0.25),
            high: quantile(0.75),
        })
    }

    /// The median and, in parentheses, the quartiles.
    pub(crate) fn text(self, digits: usize) -> String {
        let Self { median, low, high } = self;
        format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
    }
}
