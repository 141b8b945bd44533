//! The system calls that need unsafe code, so that nothing else has any.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "the file that is for it")]
mod sys;

pub use sys::{
    accept_queue, ignore_file_size_signal, inherited_descriptor, inherited_descriptors,
    listen_drops, peer_groups, reset_connections_on_close, return_memory_from,
    set_bind_address_no_port, set_defer_accept, set_fast_open, streams_missing_at_start,
    thread_cpu_time, unacknowledged, unlock_buffers,
};
