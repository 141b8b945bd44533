//! Whether a listener takes clients, as somebody wants it.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whether a listener takes clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerState {
    /// It does.
    #[default]
    Open,
    /// It accepts nobody: clients wait at its sockets.
    Paused,
    /// It does not listen: clients are refused, and those that it has may finish.
    Drained,
}

/// Where that stands. It outlives every change of settings.
#[derive(Debug, Default)]
pub(super) struct StateCell(AtomicU8);

impl ListenerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Open, Self::Paused, Self::Drained];

    /// In a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Drained => "drained",
        }
    }
}

impl StateCell {
    pub(super) fn get(&self) -> ListenerState {
        ListenerState::ALL[self.0.load(Relaxed) as usize]
    }

    pub(super) fn set(&self, state: ListenerState) {
        self.0.store(state as u8, Relaxed);
    }
}
