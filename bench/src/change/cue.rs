//! Where a turn is: what its threads do next.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// The parts of a turn, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// Everything is opened, and the load begins.
    Opening,
    /// What the machine does by itself.
    Before,
    /// An equally long time that begins with the signal.
    Change,
    /// No message and no connection begins; those that are under way come to their end.
    Closing,
    /// Each idle connection passes a message, and the transfers end.
    Check,
    /// The threads end.
    Over,
}

const PHASES: [Phase; 6] = [
    Phase::Opening,
    Phase::Before,
    Phase::Change,
    Phase::Closing,
    Phase::Check,
    Phase::Over,
];

/// The phase of a turn, told by one thread to those of the load.
pub(super) struct Cue {
    phase: AtomicU8,
    /// From so long on an answer is late.
    pub(super) late: Duration,
    /// All idle connections have passed a message.
    pub(super) opened: AtomicBool,
    /// They have done so again.
    pub(super) checked: AtomicBool,
}

impl Cue {
    pub(super) fn new(late: Duration) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Opening as u8),
            late,
            opened: AtomicBool::new(false),
            checked: AtomicBool::new(false),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::Relaxed))]
    }

    /// Which of two windows what is measured now belongs to: before the change, or from it on. None before both.
    pub(super) fn window(&self) -> Option<usize> {
        match self.phase() {
            Phase::Opening => None,
            Phase::Before => Some(0),
            Phase::Change | Phase::Closing | Phase::Check | Phase::Over => Some(1),
        }
    }

    pub(super) fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// Says that it is over when dropped, also where an error or a panic ends the turn.
pub(super) struct Ending<'a>(pub(super) &'a Cue);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.set(Phase::Over);
    }
}

/// An open loop: unit `n` is due `n` steps after the start, whatever the proxy does.
pub(super) fn due(start: Instant, per_second: f64, unit: u64) -> Instant {
    start + Duration::from_secs_f64(unit as f64 / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_reads_back_as_it_was_set() {
        let cue = Cue::new(Duration::ZERO);
        assert_eq!(cue.phase(), Phase::Opening);
        for phase in PHASES {
            cue.set(phase);
            assert_eq!(cue.phase(), phase);
        }
        assert!(PHASES.is_sorted());
    }
}
