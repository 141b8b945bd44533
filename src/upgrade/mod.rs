//! Another process takes over while connections run: the same program, or another version of it.
//!
//! The old process starts the new one and gives it what it listens on. The new one reads the file, starts its workers, and says
//! that it is ready; until then everything can fail, and the old one goes on as if nothing had been asked. Then the new one
//! accepts, and the old one stops.

mod batch;
mod channel;
mod giver;
mod handing;
mod meeting;
mod orphans;
mod parent;
mod predecessor;
mod successor;
mod supervisor;
mod taker;
mod words;

pub(crate) use self::handing::{Heard, Upgraded, upgrade};
pub(crate) use self::orphans::reap;
pub(crate) use self::parent::{FIRST_PROCESS, Parent, leave};
pub(crate) use self::predecessor::Predecessor;
pub(crate) use self::successor::Successor;
pub(crate) use self::supervisor::supervise;
pub(crate) use self::taker::Over;
