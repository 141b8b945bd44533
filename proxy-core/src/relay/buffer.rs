//! The memory of forwarding: one scratch buffer a worker, a pool for what could not be sent at once, and pipes.

use std::ops::Range;

use crate::relay::pipe::Pipes;

/// Bytes of a worker's scratch buffer, and so the most that one receive takes.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// Where buffers begin: at the beginning of a page, as what arrives does in the kernel.
///
/// AMD's processors from Zen 3 on copy by `rep movsb`, as the kernel does, 20 times as slowly where the target is 1 to 31 bytes further into
/// its page than the source (glibc's bug 30994; 8.4 µs for 16 KiB where others take 0.4). glibc's own large allocations begin 16 bytes
/// after a page does.
const PAGE_BYTES: usize = 4096;

/// Free buffers that a worker keeps; more are given back to the allocator.
pub const POOL_BUFFERS_MAX: usize = 64;

/// Bytes of a buffer for what a client says in its prologue: a ClientHello with post-quantum keys has 1,700 to 1,900.
pub(crate) const HELLO_BYTES: usize = 2 * 1024;

/// What is shorter gets an allocation of its own: glibc's allocator has those at hand up to a little more than this, and takes a
/// long way for what is longer.
const HELLO_BYTES_MIN: usize = HELLO_BYTES / 2;

/// Buffers of one worker.
///
/// Bytes are received into the scratch buffer and sent from there, so that a connection owns memory only while
/// its destination is slower than its source.
#[derive(Debug)]
pub struct Buffers {
    scratch: Box<[u8]>,
    /// Where its page begins.
    start: usize,
    free: Vec<Box<[u8]>>,
    /// Free buffers of [`HELLO_BYTES`].
    hellos: Vec<Vec<u8>>,
    pub(crate) pipes: Pipes,
}

impl Buffers {
    /// A scratch buffer and an empty pool.
    pub fn new() -> Self {
        let scratch = allocate();
        Self {
            start: start_of(&scratch),
            scratch,
            free: Vec::new(),
            hellos: Vec::new(),
            pipes: Pipes::default(),
        }
    }

    /// Where to receive into. What it held before is gone after the next call.
    pub fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch[self.start..][..BUFFER_BYTES]
    }

    /// Keeps `range` of the scratch buffer for later.
    pub(crate) fn hold(&mut self, range: Range<usize>) -> Held {
        // Swapping costs less than copying what may be 64 KiB.
        let fresh = self.free.pop().unwrap_or_else(allocate);
        let start = std::mem::replace(&mut self.start, start_of(&fresh));
        Held {
            bytes: std::mem::replace(&mut self.scratch, fresh).into_vec(),
            range: start + range.start..start + range.end,
        }
    }

    /// An empty buffer with room for the first `count` bytes that a client says.
    pub(crate) fn for_hello(&mut self, count: usize) -> Vec<u8> {
        if !(HELLO_BYTES_MIN..=HELLO_BYTES).contains(&count) {
            return Vec::with_capacity(count);
        }
        let free = self.hellos.pop();
        free.unwrap_or_else(|| Vec::with_capacity(HELLO_BYTES))
    }

    /// Takes a buffer back, if it is one of these.
    pub(crate) fn release(&mut self, held: Held) {
        let mut bytes = held.bytes;
        if bytes.len() == BUFFER_BYTES + PAGE_BYTES {
            if self.free.len() < POOL_BUFFERS_MAX {
                self.free.push(bytes.into_boxed_slice());
            }
        } else if bytes.capacity() == HELLO_BYTES && self.hellos.len() < POOL_BUFFERS_MAX {
            bytes.clear();
            self.hellos.push(bytes);
        }
    }
}

/// Room for [`BUFFER_BYTES`] from the beginning of a page on. None of it is memory before it is used.
fn allocate() -> Box<[u8]> {
    vec![0; BUFFER_BYTES + PAGE_BYTES].into_boxed_slice()
}

fn start_of(buffer: &[u8]) -> usize {
    buffer.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES)
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes on their way that the destination did not take yet.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    range: Range<usize>,
}

impl Held {
    /// Bytes from elsewhere than a worker's buffers, but for the first `skipped` ones.
    pub(crate) fn new(bytes: Vec<u8>, skipped: usize) -> Self {
        Self {
            range: skipped..bytes.len(),
            bytes,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.range.start += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_where_a_page_does() {
        let mut buffers = Buffers::new();
        let mut all = Vec::new();
        for number in 0..10 {
            let scratch = buffers.scratch();
            assert_eq!(scratch.len(), BUFFER_BYTES);
            assert_eq!(scratch.as_ptr().addr() % PAGE_BYTES, 0);
            scratch[7..9].fill(number);
            all.push(buffers.hold(7..9));
        }
        for (held, number) in all.iter().zip(0..) {
            assert_eq!(held.bytes(), [number; 2]);
            assert_eq!(held.bytes().as_ptr().addr() % PAGE_BYTES, 7);
        }
        for held in all {
            buffers.release(held);
        }
        assert_eq!(buffers.free.len(), 10);
        drop(buffers.hold(0..1));
        assert_eq!(buffers.scratch().as_ptr().addr() % PAGE_BYTES, 0);
    }

    #[test]
    fn the_buffer_of_a_hello_is_used_again() {
        let mut buffers = Buffers::new();
        let mut hello = buffers.for_hello(1_700);
        hello.resize(1_700, 1);
        let place = hello.as_ptr();
        buffers.release(Held::new(hello, 0));
        let again = buffers.for_hello(HELLO_BYTES);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        for count in [64, HELLO_BYTES + 1] {
            let other = buffers.for_hello(count);
            assert_eq!(other.capacity(), count);
            buffers.release(Held::new(other, 0));
        }
        assert!(buffers.hellos.is_empty());
    }
}
