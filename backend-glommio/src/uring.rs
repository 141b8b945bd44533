//! Readiness from an io_uring of our own: one multishot POLL_ADD a descriptor.
//!
//! The ring is set up for one thread that asks for its completions (SINGLE_ISSUER and DEFER_TASKRUN, Linux 6.1), so
//! that the kernel never interrupts a running worker. Watching, unwatching and harvesting ride on one system
//! call, the one that the worker would sleep in anyway.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::cells::OwnRing;
use crate::poller::{Event, Poller, Token};
use crate::sys;

/// Completions that may wait for each submission that may wait. Past it the kernel ends multishot requests, and
/// they are made again.
const COMPLETIONS_PER_SUBMISSION: u32 = 8;

/// The most completions that the kernel lets a ring hold (`IORING_MAX_CQ_ENTRIES`).
const COMPLETIONS_MAX: u32 = 65_536;

/// Marks the completion of a removal, which means nothing to anybody.
const REMOVAL: Token = Token::MAX;

pub(crate) struct Uring {
    ring: IoUring,
    own: OwnRing,
}

impl Poller for Uring {
    /// A completion has what the socket was woken with, and that says POLLPRI for any bytes at all.
    const SEES_MARKS: bool = false;

    fn new(depth: u32, own: OwnRing) -> io::Result<Self> {
        let ring = build(depth)?;
        Ok(Self { ring, own })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.watch(fd.as_raw_fd(), token)
    }

    fn rearm(&mut self, fd: RawFd, token: Token) -> io::Result<()> {
        self.own.cells().rearms.increment();
        self.watch(fd, token)
    }

    fn remove(&mut self, _fd: BorrowedFd<'_>, token: Token) {
        // The descriptor is closed next, but the socket lives until the request lets go of it: at the next
        // submission, which comes before the worker sleeps.
        // POLL_REMOVE would not do: it fails with EALREADY, and the watch goes on, when an event of the request
        // is just being made.
        let remove = opcode::AsyncCancel::new(token)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(REMOVAL);
        if let Err(error) = self.push(&remove) {
            tracing::error!(%error, "the ring does not take a removal; a socket stays open");
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        // The kernel takes a ring apart after its descriptor was closed, at leisure: a port would be taken until
        // then. Each round lets go of at least one descriptor.
        while self.has_work() {
            self.wait(Some(Duration::ZERO), &mut |_| {})?;
        }
        Ok(())
    }

    fn has_work(&mut self) -> bool {
        let queue = self.ring.submission();
        let work = queue.taskrun() || queue.cq_overflow() || !queue.is_empty();
        drop(queue);
        work || !self.ring.completion().is_empty()
    }

    fn wait(
        &mut self,
        timeout: Option<Duration>,
        on_event: &mut dyn FnMut(Event),
    ) -> io::Result<()> {
        let timespec = timeout.map(types::Timespec::from);
        let mut args = types::SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        let sleep = timeout != Some(Duration::ZERO) && self.ring.completion().is_empty();
        self.enter(sleep.then_some(&args))?;
        self.take(on_event);
        // While anything waits for room, the kernel ends every watch that has something to say, one that is begun again
        // here at once, since a socket is writable: that would go on for ever. What waits is one completion a watch.
        while self.ring.submission().cq_overflow() {
            self.enter(None)?;
            self.take(on_event);
        }
        Ok(())
    }
}

impl Uring {
    /// Whether the kernel has what this needs.
    pub(crate) fn is_available() -> bool {
        build(2).is_ok()
    }

    fn watch(&mut self, fd: RawFd, token: Token) -> io::Result<()> {
        let flags = PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP;
        let poll = opcode::PollAdd::new(types::Fd(fd), flags.bits().into())
            .multi(true)
            .build()
            .user_data(token);
        self.push(&poll)
    }

    /// Submits, and with `sleep` waits for a completion.
    fn enter(&mut self, sleep: Option<&types::SubmitArgs<'_, '_>>) -> io::Result<()> {
        self.count_enter();
        let submitted = if let Some(args) = sleep {
            self.own.cells().sleeps.increment();
            self.ring.submitter().submit_with_args(1, args)
        } else {
            self.ring.submit()
        };
        match submitted.map_err(|error| (Errno::from_io_error(&error), error)) {
            // The timeout passed; a signal came; completions are to be taken first.
            Ok(_) | Err((Some(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN), _)) => {
                Ok(())
            }
            Err((_, error)) => Err(error),
        }
    }

    /// Counts the system call that is made next.
    fn count_enter(&mut self) {
        let cells = self.own.cells();
        cells.enters.increment();
        // The kernel keeps the completions that the queue has no room for, and says so until it is entered. What it
        // has no memory to keep is lost, for which there is no count: it then refuses, and the worker ends.
        if self.ring.submission().cq_overflow() {
            cells.overflows.increment();
        }
    }

    fn take(&mut self, on_event: &mut dyn FnMut(Event)) {
        let mut taken = 0;
        for completion in self.ring.completion() {
            report(&completion, on_event);
            taken += 1;
        }
        self.own.cells().completions.add(taken);
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        while sys::push(&mut self.ring, entry).is_err() {
            self.count_enter();
            self.ring.submit()?;
        }
        Ok(())
    }
}

fn build(depth: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        // Tells, without a system call, whether completions wait for us to ask for them.
        .setup_taskrun_flag()
        .setup_cqsize((depth * COMPLETIONS_PER_SUBMISSION).min(COMPLETIONS_MAX))
        .build(depth)
}

fn report(completion: &cqueue::Entry, on_event: &mut dyn FnMut(Event)) {
    let token = completion.user_data();
    if token == REMOVAL {
        return;
    }
    // An error says nothing of readiness: the owner finds out what is the matter by trying. (A removal ends the
    // request with an error too; then the token is stale, and nobody is asked.)
    let failed = completion.result() < 0;
    let cancelled = completion.result() == -Errno::CANCELED.raw_os_error();
    let flags = PollFlags::from_bits_retain(completion.result().max(0) as u16);
    let gone = PollFlags::ERR | PollFlags::HUP;
    let closed = PollFlags::RDHUP | gone;
    on_event(Event {
        token,
        readable: failed || flags.intersects(PollFlags::IN | closed),
        writable: failed || flags.intersects(PollFlags::OUT | gone),
        closed: failed || flags.intersects(closed),
        marked: false,
        ended: !cancelled && !cqueue::more(completion.flags()),
    });
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::fd::AsFd;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::metrics::Cells;
    use crate::readiness::Readiness;

    #[test]
    fn the_deepest_ring_can_be_had() {
        if !Uring::is_available() {
            return println!("skipped: no io_uring of Linux 6.1");
        }
        // What the configuration allows at most, and what the kernel does (IORING_MAX_ENTRIES).
        let cells = Cells::new(Readiness::IoUring, 1);
        Uring::new(32_768, cells.ring_of(0)).expect("a ring");
    }

    #[test]
    fn an_overflow_is_counted_and_comes_to_rest() {
        const DEPTH: u32 = 2;
        const WATCHES: usize = 4 * (DEPTH * COMPLETIONS_PER_SUBMISSION) as usize;
        if !Uring::is_available() {
            return println!("skipped: no io_uring of Linux 6.1");
        }
        let cells = Cells::new(Readiness::IoUring, 1);
        let mut poller = Uring::new(DEPTH, cells.ring_of(0)).expect("a ring");
        // Each can be written from the beginning.
        let make = |_| eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd");
        let fds: Vec<_> = (0..WATCHES).map(make).collect();
        for (token, fd) in fds.iter().enumerate() {
            poller.add(fd.as_fd(), token as Token).expect("a watch");
        }
        let (mut seen, mut rearms, mut rounds) = (HashSet::new(), 0, 0);
        while poller.has_work() {
            rounds += 1;
            assert!(rounds < 100 * WATCHES, "it goes round for ever: {cells:?}");
            let mut ended = Vec::new();
            let waited = poller.wait(Some(Duration::ZERO), &mut |event| {
                seen.insert(event.token);
                ended.extend(event.ended.then_some(event.token));
            });
            waited.expect("it waits");
            for token in ended {
                let fd = fds[token as usize].as_raw_fd();
                poller.rearm(fd, token).expect("a watch");
                rearms += 1;
            }
        }
        let ring = cells.rings.of(0);
        assert_eq!(seen.len(), WATCHES);
        assert!(ring.overflows.get() > 0 && rearms > 0, "{ring:?}");
        assert_eq!(ring.rearms.get(), rearms);
    }
}
