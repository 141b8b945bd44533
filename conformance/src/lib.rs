//! What every scheduler must do with a connection, as one suite.
//!
//! A case is a function generic over [`Stage`]: it plays the client and the server of a proxy, and looks at the
//! proxy's counters. [`Real`] is a stage with a backend and sockets of the kernel; [`Scripted`] one with sockets
//! in memory, a clock that stands still, and a kernel that makes mischief. [`suite!`] makes a test of each case.

#![forbid(unsafe_code)]

pub mod cases;
mod flow;
mod pattern;
pub mod process;
mod real;
pub mod resources;
mod scripted;
mod setting;
mod stage;
mod suite;
mod wait;

pub use flow::{Flow, pump, push_until_stuck};
pub use pattern::{fill, first_difference};
pub use real::{Real, RealPeer, RealStage, Scheduler};
pub use scripted::{Scripted, ScriptedPeer};
pub use stage::{Flood, Peer, Received, ServerKind, Setup, Stage};
pub use suite::run;
pub use wait::{elapse, settle, wait, wait_within};
