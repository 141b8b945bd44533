//! A list of the connections' tasks, so that all can be woken when they are to move to another scheduler.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use proxy_core::backend::Evacuation;
use proxy_core::runtime::{Runtime, Timer};

use crate::clock;
use crate::socket::Tokio;

/// Connections that are woken before the reactor, and those that are ready, have their turn.
const WAKES_AT_A_TIME: usize = 8;

/// How long an evacuation waits for room.
const ROOM_RETRY: Duration = Duration::from_millis(1);

thread_local! {
    /// The worker's index, and where its tasks are entered.
    static HERE: OnceCell<(usize, Arc<Tasks>)> = const { OnceCell::new() };
}

/// Has the tasks that run on the current thread entered as those of a worker.
pub(crate) fn enlist(worker: usize, tasks: Arc<Tasks>) {
    // A thread is enlisted once.
    let _ = HERE.with(|here| here.set((worker, tasks)));
}

/// The current thread's worker will never run anything again.
pub(crate) fn note_stuck() {
    let _ = HERE.try_with(|here| {
        if let Some((_, tasks)) = here.get() {
            tasks.is_stuck.store(true, Relaxed);
        }
    });
}

/// Enters a connection's task that has its first turn, with its waker.
pub(crate) fn enter(waker: &Waker) -> Option<Place> {
    HERE.with(|here| {
        let (worker, tasks) = here.get()?;
        Some(tasks.clone().enter(*worker, waker))
    })
}

/// The connections of a runtime's workers.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// How often all of them were to see a change.
    changes: Padded<AtomicU32>,
    evacuation: OnceLock<Arc<Evacuation>>,
    /// A worker's thread is stuck.
    is_stuck: AtomicBool,
    shards: Box<[Mutex<Shard>]>,
}

/// On cache lines of its own: it is looked at whenever a connection runs, and hardly ever written.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(T);

/// Those that had their first turn, as tasks, on one worker.
#[derive(Debug, Default)]
struct Shard {
    wakers: Vec<Option<Waker>>,
    free: Vec<u32>,
}

/// A task's place, left when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    tasks: Arc<Tasks>,
    shard: u32,
    index: u32,
}

impl Tasks {
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            changes: Padded(AtomicU32::new(0)),
            evacuation: OnceLock::new(),
            is_stuck: AtomicBool::new(false),
            shards: (0..workers).map(|_| Mutex::default()).collect(),
        })
    }

    /// Whether a worker's thread will never run anything again.
    pub(crate) fn are_stuck(&self) -> bool {
        self.is_stuck.load(Relaxed)
    }

    /// Whether none is left of those that had their first turn.
    pub(crate) fn are_over(&self) -> bool {
        (0..self.shards.len()).all(|worker| {
            let shard = self.lock(worker);
            shard.free.len() == shard.wakers.len()
        })
    }

    /// Enters a task that runs on `worker`.
    fn enter(self: Arc<Self>, worker: usize, waker: &Waker) -> Place {
        let mut shard = self.lock(worker);
        let index = shard.free.pop().unwrap_or_else(|| {
            shard.wakers.push(None);
            (shard.wakers.len() - 1) as u32
        });
        shard.wakers[index as usize] = Some(waker.clone());
        drop(shard);
        Place {
            tasks: self,
            shard: worker as u32,
            index,
        }
    }

    /// Has every task send its connection away when it sees the next change.
    pub(crate) fn begin(&self, evacuation: Arc<Evacuation>) {
        // It is called once.
        let _ = self.evacuation.set(evacuation);
    }

    /// Something has changed that every task is to see, when it runs next. Which ones are woken for that is asked afterwards: one
    /// that comes meanwhile sees it by itself.
    pub(crate) fn note_change(&self) {
        self.changes.0.fetch_add(1, Release);
    }

    /// Wakes the tasks that a worker entered, a few at a time: after [`Tasks::begin`] as there is room where they go.
    pub(crate) async fn wake(self: Arc<Self>, worker: usize) {
        let evacuation = self.evacuation.get();
        let mut from = 0;
        loop {
            if evacuation.is_some_and(|evacuation| !evacuation.has_room(clock::now())) {
                let (mut timer, until) = (Tokio.timer(), clock::now() + ROOM_RETRY);
                poll_fn(|cx| timer.poll_until(cx, clock::now(), until)).await;
                continue;
            }
            let wakers: Vec<_> = {
                let shard = self.lock(worker);
                let Some(left) = shard.wakers.get(from..).filter(|left| !left.is_empty()) else {
                    return;
                };
                let some = &left[..left.len().min(WAKES_AT_A_TIME)];
                from += some.len();
                some.iter().flatten().cloned().collect()
            };
            wakers.into_iter().for_each(Waker::wake);
            tokio::task::yield_now().await;
        }
    }

    fn lock(&self, worker: usize) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[worker];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// How often all tasks were to see a change.
    pub(crate) fn changes(&self) -> u32 {
        self.tasks.changes.0.load(Acquire)
    }

    /// Where the connection is to go.
    pub(crate) fn evacuation(&self) -> Option<&Arc<Evacuation>> {
        self.tasks.evacuation.get()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.tasks.lock(self.shard as usize);
        let waker = shard.wakers[self.index as usize].take();
        shard.free.push(self.index);
        drop(shard);
        // It may be the last that keeps the task.
        drop(waker);
    }
}
