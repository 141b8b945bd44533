//! A thread that takes the place of a runtime's only worker, where that is stuck.
//!
//! Only a worker drops the tasks of a runtime, so they would stay, and so would their connections. A runtime for one core is
//! therefore told to have two workers, and the thread of the second one waits before it begins. Tokio takes that worker for one
//! that is awake, so it never wakes it and gives it nothing; it costs a thread that sleeps. When the runtime ends as it should, the
//! first thread ends both.

use std::cell::OnceCell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Builder;

use crate::threads;

/// Workers that need one.
pub(crate) const LONELY: usize = 1;

/// The thread's name: it is no worker's.
const NAME: &str = "corelane-spare";

thread_local! {
    /// That of the current thread's worker.
    static OWN: OnceCell<Arc<Spare>> = const { OnceCell::new() };
}

/// Gives the current thread's worker one.
pub(crate) fn enlist(spare: Arc<Spare>) {
    // A thread is enlisted once.
    let _ = OWN.with(|own| own.set(spare));
}

/// The current thread's worker will never run anything again: the spare one takes its place, if it has one.
pub(crate) fn note_stuck() {
    let _ = OWN.try_with(|own| own.get().map(|spare| spare.release(true)));
}

/// The thread, and how it is let go.
#[derive(Default)]
pub(crate) struct Spare {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Threads that have started.
    threads: usize,
    is_there: bool,
    is_released: bool,
    /// What it does first, once it is released.
    begin: Option<Box<dyn FnOnce() + Send>>,
}

impl Spare {
    /// Has the runtime start it.
    pub(crate) fn add_to(self: &Arc<Self>, builder: &mut Builder) {
        let (starting, stopping) = (self.clone(), self.clone());
        builder
            .worker_threads(LONELY + 1)
            .on_thread_start(move || starting.on_start())
            .on_thread_stop(move || stopping.release(false));
    }

    /// Waits until it is there, at most for `patience`. If the worker is stuck one day, it begins by `take_place`. False: it isn't there.
    pub(crate) fn await_start(
        &self,
        take_place: impl FnOnce() + Send + 'static,
        patience: Duration,
    ) -> bool {
        let mut state = self.lock();
        state.begin = Some(Box::new(take_place));
        let waited = self
            .changed
            .wait_timeout_while(state, patience, |state| !state.is_there);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_there
    }

    /// The first thread that starts is the worker's.
    fn on_start(&self) {
        let mut state = self.lock();
        state.threads += 1;
        if state.threads != LONELY + 1 {
            return;
        }
        threads::name(NAME);
        state.is_there = true;
        self.changed.notify_all();
        let released = self.changed.wait_while(state, |state| !state.is_released);
        let mut state = released.unwrap_or_else(PoisonError::into_inner);
        let begin = state.begin.take();
        drop(state);
        if let Some(begin) = begin {
            begin();
        }
    }

    /// Lets it go: to its place, or to nothing.
    fn release(&self, takes_place: bool) {
        let mut state = self.lock();
        if !state.is_released {
            state.is_released = true;
            if !takes_place {
                state.begin = None;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc;

    use tokio::runtime::{Runtime, worker_index};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn start() -> (Runtime, Arc<Spare>, mpsc::Receiver<()>) {
        let (mut builder, spare) = (Builder::new_multi_thread(), Arc::<Spare>::default());
        spare.add_to(&mut builder);
        let runtime = builder.build().expect("threads");
        let (sender, takes_place) = mpsc::channel();
        let take_place = move || sender.send(()).expect("it is heard");
        assert!(spare.await_start(take_place, PATIENCE));
        (runtime, spare, takes_place)
    }

    #[test]
    fn it_takes_no_task_and_ends_with_the_runtime() {
        let (runtime, _spare, takes_place) = start();
        let (sender, ran) = mpsc::channel();
        for _ in 0..1000 {
            let sender = sender.clone();
            drop(runtime.spawn(async move {
                tokio::task::yield_now().await;
                sender.send(worker_index()).expect("it is heard");
            }));
        }
        drop(sender);
        let by: Vec<_> = ran.iter().collect();
        assert_eq!(by, vec![Some(0); 1000]);
        drop(runtime);
        assert!(takes_place.recv().is_err());
    }

    /// Counts its end.
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn it_ends_the_tasks_of_a_worker_that_is_stuck() {
        let (runtime, spare, takes_place) = start();
        let ended = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let counted = Counted(ended.clone());
            drop(runtime.spawn(async move {
                let _counted = counted;
                std::future::pending::<()>().await;
            }));
        }
        let (sender, is_stuck) = mpsc::channel();
        let (free, freed) = mpsc::channel::<()>();
        drop(runtime.spawn(async move {
            sender.send(()).expect("it is heard");
            let _ = freed.recv();
        }));
        is_stuck.recv().expect("it runs");
        spare.release(true);
        takes_place.recv().expect("it takes the place");
        runtime.shutdown_background();
        // It ends with the last of them.
        while ended.load(Relaxed) < 100 {
            std::thread::yield_now();
        }
        drop(free);
    }
}
