//! Schedulers for tests.

use crate::candidate::{Candidate, Evens};

/// In the order of preference.
pub(crate) const ALL: [Candidate; 4] = [MOVES, STEALS, NOTHING, STILL];

pub(crate) const MOVES: Candidate = candidate("moving", Evens::Moves);
pub(crate) const STEALS: Candidate = candidate("stealing", Evens::Steals);
pub(crate) const NOTHING: Candidate = candidate("nothing", Evens::Nothing);
pub(crate) const STILL: Candidate = candidate("moving, switched off", Evens::Nothing);

const fn candidate(name: &'static str, evens: Evens) -> Candidate {
    Candidate {
        name,
        toml: "",
        choose: |_| {},
        evens,
        is_default: true,
    }
}
