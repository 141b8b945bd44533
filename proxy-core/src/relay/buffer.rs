//! The memory of forwarding: one scratch buffer a worker, a pool for what could not be sent at once, and pipes.

use std::ops::Range;

use crate::relay::pipe::Pipes;

/// Bytes of a worker's scratch buffer, and so the most that one receive takes.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// Free buffers that a worker keeps; more are given back to the allocator.
pub const POOL_BUFFERS_MAX: usize = 64;

/// Buffers of one worker.
///
/// Bytes are received into the scratch buffer and sent from there, so that a connection owns memory only while
/// its destination is slower than its source.
#[derive(Debug)]
pub struct Buffers {
    scratch: Box<[u8]>,
    free: Vec<Box<[u8]>>,
    pub(crate) pipes: Pipes,
}

impl Buffers {
    /// A scratch buffer and an empty pool.
    pub fn new() -> Self {
        Self {
            scratch: vec![0; BUFFER_BYTES].into_boxed_slice(),
            free: Vec::new(),
            pipes: Pipes::default(),
        }
    }

    /// Where to receive into. What it held before is gone after the next call.
    pub fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    /// Keeps `range` of the scratch buffer for later.
    pub(crate) fn hold(&mut self, range: Range<usize>) -> Held {
        // Swapping costs less than copying what may be 64 KiB.
        let fresh = self
            .free
            .pop()
            .unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        Held {
            bytes: std::mem::replace(&mut self.scratch, fresh),
            range,
        }
    }

    /// Takes a buffer back, if it is one of these.
    pub(crate) fn release(&mut self, held: Held) {
        if self.free.len() < POOL_BUFFERS_MAX && held.bytes.len() == BUFFER_BYTES {
            self.free.push(held.bytes);
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes on their way that the destination did not take yet.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Box<[u8]>,
    range: Range<usize>,
}

impl Held {
    /// Bytes from elsewhere than a worker's buffers, but for the first `skipped` ones.
    pub(crate) fn new(bytes: Vec<u8>, skipped: usize) -> Self {
        Self {
            range: skipped..bytes.len(),
            bytes: bytes.into_boxed_slice(),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.range.start += count;
    }
}
