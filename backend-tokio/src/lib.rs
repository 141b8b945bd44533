//! corelane on Tokio: work stealing, or one runtime a core.

#![deny(unsafe_code)]

mod adopt;
mod clock;
mod fate;
mod gates;
mod own;
mod per_core;
mod pulse;
mod socket;
mod spare;
#[allow(unsafe_code, reason = "the file that is for it")]
mod sys;
mod task;
mod tasks;
mod threads;
mod timers;
mod work_stealing;
mod worker;

pub use per_core::PerCore;
pub use work_stealing::WorkStealing;
pub use worker::on_panic;

/// The label `scheduler` of both modes.
const SCHEDULER: &str = "tokio";
