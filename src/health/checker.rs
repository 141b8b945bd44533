//! The thread that checks.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use proxy_checks::Dialogue;
use proxy_core::metrics::ConnectFailure;
use proxy_core::{Descriptor, Fault, ROOM_RETRY_MAX, ServerAddress, Walk};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::asked::Asked;
use super::inbox::{Inbox, Order};
use super::schedule::Schedule;
use super::target::Failed;
use super::under_way::{Outcome, RECEIVE_BYTES, UnderWay};

/// Checks that are under way at a time, over all upstreams: each has a descriptor. Others wait, those that are overdue
/// the longest come first.
const CHECKS_MAX: usize = 512;

/// How long it rests when the kernel can't even say which connects are decided.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// All that are asked, servers and agents, and the checks that are under way.
pub(super) struct Checker {
    targets: Vec<Asked>,
    schedule: Schedule,
    under_way: Vec<UnderWay>,
    full: Vec<Full>,
    /// [`CHECKS_MAX`].
    under_way_max: usize,
    /// What answers are read into.
    buffer: Box<[u8]>,
    inbox: Arc<Inbox>,
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
            buffer: vec![0; RECEIVE_BYTES].into(),
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
            Some(Order::Check(targets, agentless)) => {
                let now = now();
                self.replace(targets, now);
                // From here on no answer of theirs comes any more.
                agentless.iter().for_each(|server| server.forget_agent(now));
                let targets = self.targets.iter_mut();
                targets.for_each(|target| target.put_in_force(now));
            }
            Some(Order::Add(targets)) => self.add(targets, now()),
        }
        true
    }

    /// Checks these, too, of servers that it does not check yet.
    fn add(&mut self, targets: Vec<Asked>, now: Instant) {
        let mut all = self.targets.clone();
        let is_new = |new: &Asked| {
            let mut old = self.targets.iter();
            !old.any(|old| old.is_same(new))
        };
        let new = targets.into_iter().filter(is_new).collect::<Vec<_>>();
        // Before their first check, those that nobody uses yet.
        new.iter().for_each(|target| target.hold(now));
        all.extend(new);
        self.replace(all, now);
    }

    /// Checks others from now on. Those that stay as they were go on from where they are.
    fn replace(&mut self, mut targets: Vec<Asked>, now: Instant) {
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
        for (target, place) in targets.iter_mut().zip(&places) {
            let mut before = self.targets.iter();
            if place.is_none() && !before.any(|old| old.asks_as(target)) {
                target.on_begin();
            }
        }
        let paces = targets.iter().map(Asked::pace);
        let place_before = |new: usize| places[new];
        let schedule = Schedule::resume(paces, &self.schedule, place_before, is_under_way, now);
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
            self.targets[target].on_ask(begun_at);
            let walk = self.targets[target].server().walk_aside();
            self.attempt(target, walk, ConnectFailure::Resolve.into(), begun_at);
        }
        let ready = self.wait(begun_at);
        self.advance(&ready, now());
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
            if fault.reason != ConnectFailure::Local && self.tells_of_addresses(target) {
                walk.on_failure(now);
            }
        }
        self.end(target, Err(fault.into()), None, now);
    }

    /// Whether a connect of a check says something of an address that connections go to.
    fn tells_of_addresses(&self, target: usize) -> bool {
        self.targets[target].is_checked_where_it_serves()
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
        let address = self.targets[target].address(address);
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
                    dialogue: None,
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
        let checks = self.under_way.iter();
        let mut polled: Vec<_> = checks
            .map(|check| PollFd::new(&check.socket, check.interest()))
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

    /// Goes on with the checks that are ready, and ends those that took too long.
    fn advance(&mut self, ready: &[bool], now: Instant) {
        // From the end, since each that is over is replaced by the last.
        for index in (0..ready.len()).rev() {
            let check = &mut self.under_way[index];
            let outcome = if ready[index] {
                check.advance(&self.targets[check.target], &mut self.buffer, now)
            } else if check.deadline <= now {
                check.on_late()
            } else {
                Outcome::More
            };
            if matches!(outcome, Outcome::More) {
                continue;
            }
            // Its socket is closed with it, orderly.
            let check = self.under_way.swap_remove(index);
            match outcome {
                Outcome::More => {}
                Outcome::Over(result) => {
                    self.end(check.target, result, check.dialogue.as_ref(), now);
                }
                Outcome::Unconnected(error) => {
                    if self.tells_of_addresses(check.target) {
                        check.walk.on_failure(now);
                    }
                    self.attempt(check.target, check.walk, Fault::of(&error), now);
                }
            }
        }
    }

    fn end(
        &mut self,
        target: usize,
        result: Result<(), Failed>,
        said: Option<&Dialogue>,
        now: Instant,
    ) {
        let asked = &mut self.targets[target];
        asked.on_over(result, said, now);
        self.schedule.on_over(target, asked.soon(), now);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one clock of the checks, on a thread of their own"
)]
fn now() -> Instant {
    Instant::now()
}
