//! The tables that keys move in: which one, and from which row on it is shown.

use std::cell::Cell;

/// A table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Panel {
    Listeners,
    Servers,
    Routes,
    Connections,
}

impl Panel {
    pub(super) const ALL: [Self; 4] = [
        Self::Listeners,
        Self::Servers,
        Self::Routes,
        Self::Connections,
    ];

    /// Its name.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Listeners => "listeners",
            Self::Servers => "upstreams' servers",
            Self::Routes => "routes",
            Self::Connections => "connections",
        }
    }
}

/// From which row on a table is shown. How far it goes is known when it is drawn.
#[derive(Debug, Default)]
pub(super) struct Scroll {
    first: Cell<usize>,
    rows: Cell<usize>,
    visible: Cell<usize>,
}

/// A way to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    Begin,
    End,
}

impl Scroll {
    /// Takes what is there and how much of it is seen. Returns the first row that is shown.
    pub(super) fn on_draw(&self, rows: usize, visible: usize) -> usize {
        self.rows.set(rows);
        self.visible.set(visible);
        self.go_to(self.first.get());
        self.first.get()
    }

    /// Goes on by a step, no further than the last row.
    pub(super) fn on_step(&self, step: Step) {
        let (first, page) = (self.first.get(), self.visible.get().max(1));
        self.go_to(match step {
            Step::Up => first.saturating_sub(1),
            Step::Down => first + 1,
            Step::PageUp => first.saturating_sub(page),
            Step::PageDown => first + page,
            Step::Begin => 0,
            Step::End => usize::MAX,
        });
    }

    fn go_to(&self, row: usize) {
        let last = self.rows.get().saturating_sub(self.visible.get().max(1));
        self.first.set(row.min(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_no_further_than_there_are_rows() {
        let scroll = Scroll::default();
        let step = |step| {
            scroll.on_step(step);
            scroll.on_draw(25, 10)
        };
        assert_eq!(scroll.on_draw(25, 10), 0);
        let steps = [
            Step::Up,
            Step::Down,
            Step::PageDown,
            Step::PageDown,
            Step::Down,
            Step::PageUp,
            Step::Begin,
            Step::End,
            Step::Up,
        ];
        assert_eq!(steps.map(step), [0, 1, 11, 15, 15, 5, 0, 15, 14]);
        // Rows that went away take the end with them.
        assert_eq!(scroll.on_draw(3, 10), 0);
    }
}
