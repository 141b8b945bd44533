//! The descriptors of this process: what connections may use of them.
//!
//! The kernel gives out the lowest number that is free. So a new descriptor's number tells how many are in use at
//! least, without counting: one at `Marks::kept_from` or above means that only those are left that are kept for the
//! admin server, health checks, names and logs, which open theirs without asking here. Workers open none there: they
//! stop accepting, and copy instead of taking a pipe.
//!
//! A connection needs two descriptors, and the second one later. Where few are left, the second is taken at the accept
//! as well, as a copy of the first, and given back just before the server's socket is made ([`Spare`]).
//!
//! The limit is the process's, so this is the process's too. Looking at it is one relaxed load a connection.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, getrlimit};

/// Connections that one run of an acceptor accepts before others get their turn.
pub const ACCEPT_BATCH_MAX: usize = 64;

/// Descriptors that are kept, where the limit is large enough: see [`reserve`].
pub const KEPT_MAX: u64 = 256;

/// One in so many of the limit is kept, so that what connections have can still be seen to come near the limit.
const KEPT_ONE_IN: u64 = 8;

/// Descriptors that are kept of a small limit, unless that is more than one in [`KEPT_ONE_IN_MAX`].
const KEPT_MIN: u64 = 16;
const KEPT_ONE_IN_MAX: u64 = 4;

/// Descriptors of a connection: its client's and its server's.
pub const OF_A_CONNECTION: u64 = 2;

/// How often a lack is logged while it lasts.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Without [`reserve`] nothing is kept.
static MARKS: Marks = Marks {
    careful_from: AtomicI32::new(i32::MAX),
    kept_from: AtomicI32::new(i32::MAX),
    workers: AtomicUsize::new(0),
};

/// Acceptors that hold a client for which there is no descriptor.
static HOLDERS: AtomicUsize = AtomicUsize::new(0);

/// Descriptors that were open when the process had started: see [`note_start`].
static OPEN_AT_START: AtomicU64 = AtomicU64::new(0);

static LACK: Lack = Lack {
    pauses: AtomicU64::new(0),
    said_at: Mutex::new(None),
};

struct Marks {
    /// From this number on an accept takes the second descriptor, too.
    careful_from: AtomicI32,
    /// Connections have none from this number on.
    kept_from: AtomicI32,
    /// Zero: nothing is kept.
    workers: AtomicUsize,
}

/// Keeps a part of the process's limit from connections: [`KEPT_MAX`], or an eighth of a smaller limit. It is to be called
/// before `workers` workers accept. When workers find that few are left, they look whether the limit has changed.
///
/// Returns how many are kept.
pub fn reserve(workers: usize) -> u64 {
    MARKS.workers.store(workers, Relaxed);
    measure()
}

/// How many descriptors are kept of a limit.
pub fn kept_of(limit: u64) -> u64 {
    let least = KEPT_MIN.min(limit / KEPT_ONE_IN_MAX);
    (limit / KEPT_ONE_IN).clamp(least, KEPT_MAX)
}

/// Notes how many descriptors the process has open by itself: to be called when all has started, before any connection.
pub fn note_start(open: u64) {
    OPEN_AT_START.store(open, Relaxed);
}

/// What the process may open, and how many connections that is enough for. None without a limit.
pub fn room() -> Option<Room> {
    let limit = getrlimit(Resource::Nofile).current?;
    Some(Room {
        limit,
        kept: kept_of(limit),
        open: OPEN_AT_START.load(Relaxed),
    })
}

/// A limit of descriptors, and what is left of it for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What the process may have open.
    pub limit: u64,
    /// Of these, what connections don't get: see [`reserve`].
    pub kept: u64,
    /// What the process has open by itself.
    pub open: u64,
}

impl Room {
    /// Connections that can be open at a time.
    pub fn connections(self) -> u64 {
        self.limit
            .saturating_sub(self.kept.saturating_add(self.open))
            / OF_A_CONNECTION
    }
}

/// Clients that were accepted and wait for descriptors.
pub fn held() -> usize {
    HOLDERS.load(Relaxed)
}

fn measure() -> u64 {
    let workers = MARKS.workers.load(Relaxed);
    let limit = getrlimit(Resource::Nofile).current;
    let (Some(limit), true) = (limit, workers > 0) else {
        return 0;
    };
    let kept = kept_of(limit);
    let kept_from = limit - kept;
    // Each worker may have accepted a batch of which no connection has its second descriptor.
    let under_way = 2 * (ACCEPT_BATCH_MAX * workers) as u64;
    let number = |mark: u64| i32::try_from(mark).unwrap_or(i32::MAX);
    let careful_from = number(kept_from.saturating_sub(under_way));
    MARKS.careful_from.store(careful_from, Relaxed);
    MARKS.kept_from.store(number(kept_from), Relaxed);
    kept
}

/// Whether a new descriptor is one of those that are kept: its owner closes it and does without.
pub fn is_kept(fd: &OwnedFd) -> bool {
    fd.as_raw_fd() >= MARKS.kept_from.load(Relaxed)
}

/// A connection's second descriptor, until its server's socket takes the place. None where there are plenty.
#[derive(Debug, Default)]
pub struct Spare(Option<OwnedFd>);

impl Spare {
    /// Makes room for one descriptor.
    pub(crate) fn give_back(&mut self) {
        self.0 = None;
    }
}

/// A client that was accepted, for which there are not enough descriptors. While there is one, others accept only where
/// there is room ([`has_room`]), so that no two fill up what is kept.
#[derive(Debug)]
pub(crate) struct Postponed {
    fd: OwnedFd,
    holder: Holder,
}

impl Postponed {
    /// Makes sure that a connection has its second descriptor. The first one may get another number.
    pub(crate) fn secure(fd: OwnedFd) -> Result<(OwnedFd, Spare), Self> {
        if fd.as_raw_fd() < MARKS.careful_from.load(Relaxed) {
            return Ok((fd, Spare::default()));
        }
        secure(fd).map_err(|fd| Self {
            fd,
            holder: Holder::new(),
        })
    }

    /// Tries again.
    pub(crate) fn retry(self) -> Result<(OwnedFd, Spare), Self> {
        measure();
        let holder = self.holder;
        secure(self.fd).map_err(|fd| Self { fd, holder })
    }
}

/// One of [`HOLDERS`].
#[derive(Debug)]
struct Holder(());

impl Holder {
    fn new() -> Self {
        HOLDERS.fetch_add(1, Relaxed);
        Self(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        HOLDERS.fetch_sub(1, Relaxed);
    }
}

fn secure(mut fd: OwnedFd) -> Result<(OwnedFd, Spare), OwnedFd> {
    // Once more where the first copy takes the place of a descriptor that is one of those that are kept.
    for _ in 0..2 {
        match fcntl_dupfd_cloexec(&fd, 0) {
            Ok(copy) if is_kept(&copy) => break,
            Ok(copy) if is_kept(&fd) => fd = copy,
            Ok(copy) => return Ok((fd, Spare(Some(copy)))),
            Err(_) => break,
        }
    }
    Err(fd)
}

/// Whether a connection could have a descriptor now; `any` is one of the caller's.
pub fn has_room(any: impl AsFd) -> bool {
    fcntl_dupfd_cloexec(any, 0).is_ok_and(|copy| !is_kept(&copy))
}

/// What the kernel says when none is left.
pub(crate) fn lack() -> io::Error {
    Errno::MFILE.into()
}

/// Logs that accepting rests because of `error`, at most once in a while.
pub(crate) fn on_pause(now: Instant, listener: &str, error: &io::Error) {
    // The limit may have been lowered below what is kept.
    measure();
    LACK.pauses.fetch_add(1, Relaxed);
    let mut said_at = LACK.said_at.lock().unwrap_or_else(PoisonError::into_inner);
    if said_at.is_some_and(|at| now.saturating_duration_since(at) < SAID_EVERY) {
        return;
    }
    *said_at = Some(now);
    drop(said_at);
    let pauses = LACK.pauses.swap(0, Relaxed);
    let room = room();
    tracing::warn!(
        listener,
        limit = room.map(|room| room.limit),
        kept = room.map(|room| room.kept),
        enough_for = room.map(Room::connections),
        pauses,
        %error,
        "new connections wait in the backlog, as this process can open no file for them; raise the limit of open files \
         (LimitNOFILE= in systemd, or ulimit -n), or have max_connections of all listeners allow no more than it is enough for"
    );
}

/// How often accepting rested, and when that was said last.
struct Lack {
    /// Since then.
    pauses: AtomicU64,
    said_at: Mutex<Option<Instant>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_limit_keeps_a_larger_part_and_a_large_one_no_more_than_is_of_use() {
        assert_eq!(kept_of(32), 8);
        assert_eq!(kept_of(64), 16);
        assert_eq!(kept_of(128), 16);
        assert_eq!(kept_of(1024), 128);
        assert_eq!(kept_of(1 << 20), KEPT_MAX);
        assert_eq!(kept_of(0), 0);
    }
}
