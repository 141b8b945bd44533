//! What workers count, and where a scrape reads it.
//!
//! Every cell has one writer, the worker that it belongs to, and lies on that worker's own cache lines. So an
//! update is a plain load, add and store, with no contention and no locked instruction; a reader on another
//! thread sees each cell whole and never going backwards.

mod by_index;
mod cell;
mod check;
mod core;
mod listener;
mod slot;
mod upstream;

pub use self::by_index::ByIndex;
pub use self::cell::{Counter, Histogram};
pub use self::check::{CheckCells, CheckResult};
pub use self::core::CoreCells;
pub use self::listener::{Cause, ListenerCells, PrologueResult, Rejection};
pub use self::slot::{NoSlots, PerSlot, PerWorker, ROW_SLOTS_MAX, ROWS_MAX, Row, Slot, Slots};
pub use self::upstream::{ConnectFailure, ServerCells, UpstreamCells};
