//! The system calls that need unsafe code, so that nothing else has any.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "the file that is for it")]
mod sys;

pub use sys::{
    accept_queue, ignore_file_size_signal, listen_drops, peer_groups, reset_connections_on_close,
    streams_missing_at_start, thread_cpu_time, unacknowledged,
};
