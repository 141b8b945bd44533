//! The system calls of forwarding that need unsafe code, so that the core itself has none.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "the file that is for it")]
mod sys;

pub use sys::unacknowledged;
