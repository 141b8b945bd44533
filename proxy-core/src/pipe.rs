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
        self.lent = self.lent.saturating_sub(1);
        drop(pipe);
    }
}
