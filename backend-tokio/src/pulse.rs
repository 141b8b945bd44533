//! Whether workers turn.

use std::os::fd::OwnedFd;
use std::time::Duration;

use proxy_core::backend::{Answers, Asked, Pulse};
use rustix::event::EventfdFlags;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle, RuntimeMetrics};

use crate::sys;

/// Asks workers with a runtime each by a task.
#[derive(Debug)]
pub(crate) struct Each(pub(crate) Vec<Handle>);

impl Pulse for Each {
    fn ask(&self) -> Box<dyn Asked> {
        let answers = Answers::new(self.0.len());
        for (worker, handle) in self.0.iter().enumerate() {
            let answers = answers.clone();
            // Its thread wakes by its reactor for that.
            drop(handle.spawn(async move { answers.give(worker) }));
        }
        Box::new(answers)
    }
}

/// Asks so many workers that share a runtime.
///
/// Whoever has time takes a task, so no task is one worker's. A worker turns if it sleeps, which Tokio counts when it begins and
/// ends, or if it has gone round since it was asked: it looks for events after so many tasks, and counts its time then. That the
/// one that sleeps for all of them hears of events, and that tasks are taken, is asked by a task that waits for one.
#[derive(Debug)]
pub(crate) struct Shared(pub(crate) Handle, pub(crate) usize);

/// What is known of a worker: how often it began or ended to sleep, and how long it was busy.
type Seen = (u64, Duration);

#[derive(Debug)]
struct SharedAsked {
    handle: Handle,
    before: Vec<Seen>,
    /// Of the one task.
    answers: Answers,
}

impl Pulse for Shared {
    fn ask(&self) -> Box<dyn Asked> {
        let Self(handle, workers) = self;
        let metrics = handle.metrics();
        let before = (0..*workers).map(|worker| seen(&metrics, worker)).collect();
        let answers = Answers::new(1);
        let its = answers.clone();
        let watched = {
            let _context = handle.enter();
            event()
        };
        match watched {
            Ok(event) => drop(handle.spawn(async move {
                // An error says that the runtime ends.
                let _ = event.readable().await;
                its.give(0);
            })),
            // No descriptor is left, which is nothing that a worker could do better.
            Err(_) => its.give(0),
        }
        Box::new(SharedAsked {
            handle: handle.clone(),
            before,
            answers,
        })
    }
}

impl Asked for SharedAsked {
    fn silent(&self) -> Vec<usize> {
        let metrics = self.handle.metrics();
        let workers = self.before.iter().enumerate();
        let stuck = workers.filter(|&(worker, before)| {
            let seen = seen(&metrics, worker);
            !sleeps(seen) && seen == *before
        });
        let stuck: Vec<_> = stuck.map(|(worker, _)| worker).collect();
        if stuck.is_empty() && !self.answers.silent().is_empty() {
            // One of those that sleep doesn't wake.
            return (0..self.before.len()).collect();
        }
        stuck
    }
}

fn seen(metrics: &RuntimeMetrics, worker: usize) -> Seen {
    let (sleeps, busy) = (
        metrics.worker_park_unpark_count(worker),
        metrics.worker_total_busy_duration(worker),
    );
    (sleeps, busy)
}

fn sleeps((begun_or_ended, _): Seen) -> bool {
    begun_or_ended % 2 == 1
}

/// An event that has happened, which the reactor is to tell of.
fn event() -> std::io::Result<AsyncFd<OwnedFd>> {
    let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
    sys::register_event(rustix::event::eventfd(1, flags)?)
}
