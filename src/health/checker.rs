//! The thread that checks.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::metrics::ConnectFailure;
use proxy_core::{Descriptor, Fault, ROOM_RETRY_MAX, ServerAddress, Transport, Walk};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::inbox::{Inbox, Order};
use super::schedule::Schedule;
use super::target::Target;

/// Checks that are under way at a time, over all upstreams: each has a descriptor. Others wait, those that are overdue
/// the longest come first.
const CHECKS_MAX: usize = 512;

/// How long it rests when the kernel can't even say which connects are decided.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// All servers that are checked, and the checks that are under way.
pub(super) struct Checker {
    targets: Vec<Target>,
    schedule: Schedule,
    under_way: Vec<UnderWay>,
    full: Vec<Full>,
    /// [`CHECKS_MAX`].
    under_way_max: usize,
    inbox: Arc<Inbox>,
}

/// A connect that nobody has answered yet.
struct UnderWay {
    target: usize,
    socket: Descriptor,
    /// The server's addresses, of which the last one is tried now.
    walk: Walk,
    deadline: Instant,
}

/// A unix socket that has no room for another connect now.
struct Full {
    target: usize,
    address: ServerAddress,
    walk: Walk,
    retry_at: Instant,
    deadline: Instant,
}

impl Checker {
    /// Nothing is checked yet.
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self {
            schedule: Schedule::new(std::iter::empty(), now()),
            targets: Vec::new(),
            under_way: Vec::new(),
            full: Vec::new(),
            under_way_max: CHECKS_MAX,
            inbox,
        }
    }

    /// Checks until it is stopped.
    pub(super) fn run(mut self) {
        while self.follow_orders() {
            self.turn();
        }
    }

    /// Does what the inbox says. False when it is to stop.
    fn follow_orders(&mut self) -> bool {
        match self.inbox.take() {
            None => {}
            Some(Order::Stop) => return false,
            Some(Order::Check(targets)) => self.replace(targets, now()),
        }
        true
    }

    /// Checks others from now on. Those that stay as they were go on from where they are.
    fn replace(&mut self, mut targets: Vec<Target>, now: Instant) {
        let places: Vec<_> = targets
            .iter()
            .map(|new| self.targets.iter().position(|old| old.is_as(new)))
            .collect();
        let place_now = |old: usize| places.iter().position(|&place| place == Some(old));
        for check in std::mem::take(&mut self.under_way) {
            if let Some(target) = place_now(check.target) {
                self.under_way.push(UnderWay { target, ..check });
            }
        }
        for check in std::mem::take(&mut self.full) {
            if let Some(target) = place_now(check.target) {
                self.full.push(Full { target, ..check });
            }
        }
        let is_under_way = |old: usize| {
            let new = place_now(old);
            let under_way = self.under_way.iter().map(|check| check.target);
            let mut all = under_way.chain(self.full.iter().map(|check| check.target));
            all.any(|target| Some(target) == new)
        };
        let intervals = targets.iter().map(|target| target.interval());
        let place_before = |new: usize| places[new];
        let schedule = Schedule::resume(intervals, &self.schedule, place_before, is_under_way, now);
        self.schedule = schedule;
        for (target, place) in targets.iter_mut().zip(&places) {
            if let Some(place) = *place {
                std::mem::swap(target, &mut self.targets[place]);
            }
        }
        self.targets = targets;
    }

    /// Begins what is due, and sleeps until something is to be done.
    fn turn(&mut self) {
        let begun_at = now();
        self.retry(begun_at);
        while !self.is_full()
            && let Some(target) = self.schedule.pop_due(begun_at)
        {
            let walk = self.targets[target].server().walk_aside();
            self.attempt(target, walk, ConnectFailure::Resolve.into(), begun_at);
        }
        let ready = self.wait(begun_at);
        self.end_decided(&ready, now());
    }

    fn is_full(&self) -> bool {
        self.under_way.len() + self.full.len() >= self.under_way_max
    }

    /// Connects to the server's next address. There is none when all have failed, the last one by `fault`, or when the
    /// name has none.
    fn attempt(&mut self, target: usize, mut walk: Walk, mut fault: Fault, now: Instant) {
        let deadline = now + self.targets[target].timeout();
        while let Some(address) = walk.next(now) {
            match self.open(target, address, walk, deadline, now) {
                Ok(()) => return,
                Err((left, error)) => (walk, fault) = (left, Fault::of(&error)),
            }
            if fault.reason != ConnectFailure::Local {
                walk.on_failure(now);
            }
        }
        self.end(target, Err(fault), now);
    }

    /// Begins a connect, or the wait for room in the queue of a unix socket.
    ///
    /// # Errors
    /// Why it failed at once, and the addresses that are left.
    fn open(
        &mut self,
        target: usize,
        address: ServerAddress,
        walk: Walk,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), (Walk, io::Error)> {
        match Descriptor::connect(&address, self.targets[target].dial()) {
            Ok(socket) => {
                if address.is_met_by(&socket) {
                    return Err((walk, Errno::CONNREFUSED.into()));
                }
                self.under_way.push(UnderWay {
                    target,
                    socket,
                    walk,
                    deadline,
                });
            }
            Err(error) if address.is_full(&error) => self.full.push(Full {
                target,
                address,
                walk,
                retry_at: now + ROOM_RETRY_MAX,
                deadline,
            }),
            Err(error) => return Err((walk, error)),
        }
        Ok(())
    }

    /// Looks again for room where there was none.
    fn retry(&mut self, now: Instant) {
        // From the end, since each that is tried is replaced by the last, and may be put back behind it.
        for index in (0..self.full.len()).rev() {
            let Full {
                retry_at, deadline, ..
            } = self.full[index];
            if retry_at > now && deadline > now {
                continue;
            }
            let check = self.full.swap_remove(index);
            let failed = if deadline <= now {
                Err((check.walk, io::ErrorKind::TimedOut.into()))
            } else {
                self.open(check.target, check.address, check.walk, deadline, now)
            };
            if let Err((walk, error)) = failed {
                self.attempt(check.target, walk, Fault::of(&error), now);
            }
        }
    }

    /// Sleeps until a connect is decided, one has taken too long, or the next check is due. Returns which are decided.
    fn wait(&self, now: Instant) -> Vec<bool> {
        let next_due = self.schedule.next_due().filter(|_| !self.is_full());
        let deadlines = self.under_way.iter().map(|check| check.deadline);
        let full = self.full.iter();
        let retries = full.map(|check| check.retry_at.min(check.deadline));
        let until = deadlines.chain(retries).chain(next_due).min();
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(now);
            // An hour is the longest that there can be.
            Timespec::try_from(left).unwrap_or_default()
        });
        let sockets = self.under_way.iter().map(|check| &check.socket);
        let mut polled: Vec<_> = sockets
            .map(|socket| PollFd::new(socket, PollFlags::OUT))
            .collect();
        polled.push(PollFd::new(&self.inbox.wake, PollFlags::IN));
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {
                polled.pop();
                polled.iter().map(|fd| !fd.revents().is_empty()).collect()
            }
            Err(errno) => {
                if errno != Errno::INTR {
                    // The kernel is short of memory; asking at once again would not help.
                    thread::park_timeout(RETRY_PAUSE);
                }
                vec![false; self.under_way.len()]
            }
        }
    }

    /// Ends the checks that are decided, and those that took too long.
    fn end_decided(&mut self, ready: &[bool], now: Instant) {
        // From the end, since each that is over is replaced by the last.
        for index in (0..ready.len()).rev() {
            let check = &self.under_way[index];
            let decided = if ready[index] {
                check.socket.take_error()
            } else if check.deadline <= now {
                Err(io::ErrorKind::TimedOut.into())
            } else {
                continue;
            };
            // Its socket is closed with it, orderly.
            let check = self.under_way.swap_remove(index);
            match decided {
                Ok(()) => {
                    check.walk.on_success();
                    self.greet(check.target, &check.socket);
                    self.end(check.target, Ok(()), now);
                }
                Err(error) => {
                    check.walk.on_failure(now);
                    self.attempt(check.target, check.walk, Fault::of(&error), now);
                }
            }
        }
    }

    /// Tells a server that nobody is announced: without a header it would take the check for a broken client. A socket that was
    /// connected just now has room for it, and a server that is gone already has taken the connect all the same.
    fn greet(&self, target: usize, socket: &Descriptor) {
        let greeting = self.targets[target].greeting();
        if !greeting.is_empty() {
            let _ = socket.send(greeting);
        }
    }

    fn end(&mut self, target: usize, checked: Result<(), Fault>, now: Instant) {
        self.targets[target].on_check(checked, now);
        self.schedule.on_over(target, now);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one clock of the checks, on a thread of their own"
)]
fn now() -> Instant {
    Instant::now()
}
