//! The ring, and every unsafe call that relays make on it.

use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::Entry;
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode};
use rustix::fd::OwnedFd;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Entries of the submission queue; when it is full it is submitted.
const SUBMISSIONS: u32 = 1024;
/// Entries of the completion queue: several a socket of the largest workload.
const COMPLETIONS: u32 = 32 * 1024;
/// `IOU_PBUF_RING_INC` of the kernel's interface (6.12), which the crate doesn't name.
const PBUF_RING_INC: u16 = 2;

/// A ring of this thread, set up as the kernel's authors recommend for a network server.
pub(crate) struct Ring {
    ring: IoUring,
}

impl Ring {
    pub(crate) fn new() -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_no_sqarray()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        ring.submitter().register_ring_fd()?;
        Ok(Self { ring })
    }

    /// Submits what was pushed and waits for a completion.
    pub(crate) fn wait(&self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result.map(drop),
        }
    }

    /// The completions that have come, in order.
    pub(crate) fn take(&mut self, completions: &mut Vec<cqueue::Entry>) {
        completions.extend(self.ring.completion());
    }

    /// Tells of every edge of `events` on `socket`, until removed.
    pub(crate) fn poll(&mut self, socket: &OwnedFd, events: u32, token: u64) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), events)
            .multi(true)
            .build();
        // SAFETY: the entry has no pointers, and the ring takes its own reference to the file.
        unsafe { self.push(&entry.user_data(token)) }
    }

    /// Ends the poll of `token`, which then completes with `ECANCELED`; this completes only where there is none.
    pub(crate) fn remove_poll(&mut self, token: u64, own: u64) -> io::Result<()> {
        // POLL_REMOVE fails, and the watch goes on, when an event of the request is just being made.
        let entry = opcode::AsyncCancel::new(token)
            .build()
            .flags(io_uring::squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the entry has no pointers.
        unsafe { self.push(&entry.user_data(own)) }
    }

    /// Receives into `pool`'s buffers whenever something comes, until the end, an error or no buffer.
    pub(crate) fn recv(&mut self, socket: &OwnedFd, pool: &Pool, token: u64) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), pool.group).build();
        // SAFETY: the entry has no pointers; the buffers that the kernel chooses are the pool's, mapped for ever.
        unsafe { self.push(&entry.user_data(token)) }
    }

    /// Sends all of `len` bytes at `offset` of the pool's buffer.
    pub(crate) fn send(
        &mut self,
        socket: &OwnedFd,
        pool: &Pool,
        (buffer, offset, len): (u16, u32, u32),
        token: u64,
    ) -> io::Result<()> {
        let bytes = pool.bytes(buffer, offset, len);
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: the bytes are mapped for ever, and the relay gives the buffer back only after completion.
        unsafe { self.push(&entry.user_data(token)) }
    }

    /// Accepts every connection that comes.
    pub(crate) fn accept(&mut self, listener: &OwnedFd, token: u64) -> io::Result<()> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()))
            .flags(flags)
            .build();
        // SAFETY: the entry has no pointers.
        unsafe { self.push(&entry.user_data(token)) }
    }

    /// # Safety
    /// What the entry points to stays valid until it completes.
    unsafe fn push(&mut self, entry: &Entry) -> io::Result<()> {
        // SAFETY: the caller's promise.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }
}

/// The socket that an accept's completion carries.
pub(crate) fn accepted(result: i32) -> OwnedFd {
    use std::os::fd::FromRawFd as _;
    // SAFETY: a completed accept gives a descriptor that belongs to nobody else.
    unsafe { OwnedFd::from_raw_fd(result) }
}

/// Buffers provided to the kernel, mapped until the process ends.
pub(crate) struct Pool {
    group: u16,
    entries: *mut BufRingEntry,
    data: *mut u8,
    count: u16,
    buffer_bytes: u32,
    tail: u16,
}

impl Pool {
    /// Provides `count` (a power of two) buffers to `ring` as its group `group`; each is consumed whole by one
    /// recv, or incrementally by several.
    pub(crate) fn new(
        ring: &Ring,
        group: u16,
        (count, buffer_bytes): (u16, u32),
        incremental: bool,
    ) -> io::Result<Self> {
        let map = |bytes: usize| {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping at a place of the kernel's choice, never unmapped.
            unsafe {
                mmap_anonymous(
                    ptr::null_mut(),
                    bytes,
                    access,
                    MapFlags::PRIVATE | MapFlags::POPULATE,
                )
            }
        };
        let entries = map(usize::from(count) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let data = map(usize::from(count) * buffer_bytes as usize)?.cast::<u8>();
        let flags = if incremental { PBUF_RING_INC } else { 0 };
        // SAFETY: the entries are mapped, page-aligned, for as long as the process lives.
        unsafe {
            ring.ring.submitter().register_buf_ring_with_flags(
                entries as u64,
                count,
                group,
                flags,
            )?
        };
        let mut pool = Self {
            group,
            entries,
            data,
            count,
            buffer_bytes,
            tail: 0,
        };
        for buffer in 0..count {
            pool.provide(buffer);
        }
        Ok(pool)
    }

    /// Gives a buffer (back) to the kernel.
    pub(crate) fn provide(&mut self, buffer: u16) {
        assert!(
            buffer < self.count,
            "the kernel names only buffers that it was given"
        );
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is within the mapping; the kernel reads an entry only after the tail has passed it.
        unsafe {
            let entry = &mut *self.entries.add(slot);
            entry.set_addr(
                self.data
                    .add(usize::from(buffer) * self.buffer_bytes as usize) as u64,
            );
            entry.set_len(self.buffer_bytes);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry, is aligned, and is written by this thread only.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Bytes that the kernel has filled and not been given back.
    pub(crate) fn bytes(&self, buffer: u16, offset: u32, len: u32) -> &[u8] {
        assert!(
            buffer < self.count && offset + len <= self.buffer_bytes,
            "within the buffer"
        );
        let start = usize::from(buffer) * self.buffer_bytes as usize + offset as usize;
        // SAFETY: within the mapping, zeroed when mapped; the kernel doesn't write there until given it back.
        unsafe { std::slice::from_raw_parts(self.data.add(start), len as usize) }
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }
}
