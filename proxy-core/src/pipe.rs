//! Pipes, through which bulk flows without being copied, and a worker's stock of them.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Bytes that a pipe is asked to hold.
///
/// A user who isn't root may have `fs.pipe-user-pages-soft` pages in pipes (64 MiB); past it the kernel
/// refuses the size, and the pipe works with what it has.
pub const PIPE_BYTES: usize = 256 * 1024;

/// Empty pipes that a worker keeps; more are closed.
pub const PIPES_FREE_MAX: usize = 32;

/// Pipes that a worker has at most; directions beyond it are copied. Two descriptors each.
pub const PIPES_MAX: usize = 1024;

/// A non-blocking pipe.
#[derive(Debug)]
pub struct Pipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused, it is smaller.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok(Self { read, write })
    }
}

impl Pipe {
    /// Puts bytes in, as far as there is room: for transports that are not sockets.
    ///
    /// # Errors
    /// What `write(2)` returns; `WouldBlock` when it is full.
    pub fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.write, bytes)?)
    }

    /// Copies the first bytes without taking them: for transports that are not sockets.
    ///
    /// # Errors
    /// What `tee(2)` and `read(2)` return; `WouldBlock` when it is empty.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let copy = Self::open()?;
        let flags = rustix::pipe::SpliceFlags::NONBLOCK;
        let count = rustix::pipe::tee(&self.read, &copy.write, buffer.len(), flags)?;
        Ok(rustix::io::read(&copy.read, &mut buffer[..count])?)
    }

    /// Takes bytes out: for transports that are not sockets.
    ///
    /// # Errors
    /// What `read(2)` returns; `WouldBlock` when it is empty.
    pub fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.read, buffer)?)
    }
}

/// One worker's pipes.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: Vec<Pipe>,
    lent: usize,
}

impl Pipes {
    /// Lends an empty pipe, if there is one to be had.
    pub(crate) fn lend(&mut self) -> Option<Pipe> {
        if self.lent >= PIPES_MAX {
            return None;
        }
        let pipe = self.free.pop().or_else(|| Pipe::open().ok())?;
        self.lent += 1;
        Some(pipe)
    }

    /// Takes back a pipe that is empty again.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {
        self.lent = self.lent.saturating_sub(1);
        if self.free.len() < PIPES_FREE_MAX {
            self.free.push(pipe);
        }
    }

    /// A pipe that was lent is gone, and what was in it.
    pub(crate) fn forget(&mut self, pipe: Pipe) {
        self.on_left();
        drop(pipe);
    }

    /// A pipe that was lent goes to another worker with its connection.
    pub(crate) fn on_left(&mut self) {
        self.lent = self.lent.saturating_sub(1);
    }

    /// Another worker's pipe came with a connection. It is counted beyond [`PIPES_MAX`] too: it has bytes in it.
    pub(crate) fn on_joined(&mut self) {
        self.lent += 1;
    }
}
