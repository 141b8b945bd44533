//! Which parts of the provided buffers are in use, and when a buffer goes back.

use crate::sys::Pool;

/// Bytes received and not yet sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) buffer: u16,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// The state of each buffer.
pub(crate) struct Ledger {
    buffers: Vec<Buffer>,
    /// Those that the kernel is done with.
    full: usize,
}

#[derive(Clone, Default)]
struct Buffer {
    /// Where the kernel puts its next bytes.
    filled: u32,
    /// Chunks of it that are unsent.
    chunks: u32,
    /// The kernel is done with it.
    full: bool,
}

impl Ledger {
    pub(crate) fn new(pool: &Pool) -> Self {
        Self {
            buffers: vec![Buffer::default(); usize::from(pool.count())],
            full: 0,
        }
    }

    /// The kernel has put `len` bytes into `buffer`, and will put more there or not.
    pub(crate) fn receive(&mut self, buffer: u16, len: u32, more: bool) -> Chunk {
        let state = &mut self.buffers[usize::from(buffer)];
        let offset = state.filled;
        state.filled += len;
        state.chunks += 1;
        state.full = !more;
        self.full += usize::from(!more);
        Chunk {
            buffer,
            offset,
            len,
        }
    }

    /// Whether the kernel has no buffer left.
    pub(crate) fn exhausted(&self) -> bool {
        self.full == self.buffers.len()
    }

    /// A chunk is sent. True when its buffer was the kernel's again by this.
    pub(crate) fn release(&mut self, chunk: Chunk, pool: &mut Pool) -> bool {
        let state = &mut self.buffers[usize::from(chunk.buffer)];
        state.chunks -= 1;
        let free = state.full && state.chunks == 0;
        if free {
            *state = Buffer::default();
            self.full -= 1;
            pool.provide(chunk.buffer);
        }
        free
    }
}
