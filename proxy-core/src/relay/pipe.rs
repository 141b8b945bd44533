//! Pipes, through which bulk flows without being copied, and a worker's stock of them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::descriptors;

/// Bytes that a pipe is asked to hold.
///
/// A user who isn't root may have `fs.pipe-user-pages-soft` pages in pipes (64 MiB); past it the kernel
/// refuses the size, and the pipe works with what it has.
pub const PIPE_BYTES: usize = 256 * 1024;

/// Empty pipes that a worker keeps; more are closed.
pub const PIPES_FREE_MAX: usize = 32;

/// Pipes that a worker has made, and that are open, at most; directions beyond it are copied. Two descriptors each.
pub const PIPES_MAX: usize = 1024;

/// A non-blocking pipe.
#[derive(Debug)]
pub struct Pipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
    /// Its place among the pipes of the worker that made it. It is given up wherever the pipe is closed.
    _place: Place,
}

/// One of the pipes that are counted.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Pipe {
    fn open(count: &Arc<AtomicUsize>) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused, it is smaller.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok(Self {
            read,
            write,
            _place: Place::take(count),
        })
    }

    /// None when there is no descriptor that a connection may have: it copies.
    fn open_for_a_connection(count: &Arc<AtomicUsize>) -> Option<Self> {
        let pipe = Self::open(count).ok()?;
        let is_kept = descriptors::is_kept(&pipe.read) || descriptors::is_kept(&pipe.write);
        (!is_kept).then_some(pipe)
    }
}

impl Pipe {
    /// A pipe of another process's, with so many bytes in it. It counts as nobody's.
    pub(crate) fn carried(read: OwnedFd, write: OwnedFd, held: usize) -> Option<Self> {
        // Whatever came is looked at: it may be no pipe.
        let has = rustix::io::ioctl_fionread(&read).ok()?;
        (has == held as u64).then(|| Self {
            read,
            write,
            _place: Place::take(&Arc::default()),
        })
    }

    /// Its ends: from where bytes are read, and to where they are written.
    pub(crate) fn into_ends(self) -> [OwnedFd; 2] {
        [self.read, self.write]
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
        let copy = Self::open(&Arc::default())?;
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
    /// The pipes that this worker made and that are open, wherever a connection or another worker has them now. It is
    /// touched when a pipe is made and closed, never when one is lent.
    made: Arc<AtomicUsize>,
}

impl Pipes {
    /// Lends an empty pipe, if one is free or can be made.
    pub(crate) fn lend(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.free.pop() {
            return Some(pipe);
        }
        if self.made.load(Relaxed) >= PIPES_MAX {
            return None;
        }
        Pipe::open_for_a_connection(&self.made)
    }

    /// Takes back a pipe that is empty again, from whichever worker it came. More than [`PIPES_FREE_MAX`] are closed.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {
        if self.free.len() < PIPES_FREE_MAX {
            self.free.push(pipe);
        }
    }

    /// Closes the pipes that nobody uses: descriptors are short.
    pub(crate) fn close_free(&mut self) {
        self.free = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_that_are_given_back_elsewhere_leave_no_count_behind() {
        let (mut here, mut there) = (Pipes::default(), Pipes::default());
        for _ in 0..3 * PIPES_MAX {
            there.give_back(here.lend().expect("a pipe"));
        }
        assert!(here.made.load(Relaxed) <= PIPES_FREE_MAX);
        drop(there);
        assert_eq!(here.made.load(Relaxed), 0);
    }

    #[test]
    fn a_worker_makes_no_more_than_the_limit() {
        let mut pipes = Pipes::default();
        let lent: Vec<_> = std::iter::from_fn(|| pipes.lend()).collect();
        // Fewer where the process has fewer descriptors.
        assert!(lent.len() <= PIPES_MAX);
        drop(lent);
        assert!(pipes.lend().is_some());
    }
}
