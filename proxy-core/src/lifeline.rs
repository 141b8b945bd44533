//! The end of a worker that nobody asked for: it is reported, never silent.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A worker that no longer works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Which run of a backend it was of.
    pub run: u64,
    /// Its index.
    pub worker: usize,
    /// What happened to it.
    pub reason: String,
    /// The others of its run get no work any more: they can only be stopped, and send their connections away then.
    pub halts_all: bool,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} died: {}", self.worker, self.reason)
    }
}

/// Where deaths of the workers of one run of a backend are reported.
#[derive(Clone)]
pub struct Deaths {
    hear: Arc<dyn Fn(Death) + Send + Sync>,
    run: u64,
}

impl fmt::Debug for Deaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deaths")
    }
}

impl Deaths {
    /// Calls `hear` for each death, on the thread that finds out about it.
    pub fn new(hear: impl Fn(Death) + Send + Sync + 'static) -> Self {
        Self {
            hear: Arc::new(hear),
            run: 0,
        }
    }

    /// For another run, which is told apart by its number.
    pub fn of_run(&self, run: u64) -> Self {
        Self {
            hear: self.hear.clone(),
            run,
        }
    }

    /// Which run they are of.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Reports that a worker can't go on. It may be reported more than once.
    pub fn report(&self, worker: usize, reason: impl Into<String>) {
        self.tell(worker, reason.into(), false);
    }

    /// Reports that a worker can't go on, and that the others get no work any more by that.
    pub fn report_halt(&self, worker: usize, reason: impl Into<String>) {
        self.tell(worker, reason.into(), true);
    }

    fn tell(&self, worker: usize, reason: String, halts_all: bool) {
        (self.hear)(Death {
            run: self.run,
            worker,
            reason,
            halts_all,
        });
    }

    /// The lifeline of a worker thread that is about to start.
    pub fn lifeline(&self, worker: usize) -> Lifeline {
        Lifeline {
            deaths: self.clone(),
            worker,
            begun: Cell::new(false),
        }
    }
}

/// What a worker thread runs on: it reports how the worker ended, unless that was orderly.
#[derive(Debug)]
pub struct Lifeline {
    deaths: Deaths,
    worker: usize,
    begun: Cell<bool>,
}

impl Lifeline {
    /// The worker has started. What fails before is an error of the start, and no death.
    pub fn begin(&self) {
        self.begun.set(true);
    }

    /// Runs the worker. An error and a panic are its death.
    pub fn hold(self, life: impl FnOnce(&Self) -> Result<(), String>) {
        let reason = match catch_unwind(AssertUnwindSafe(|| life(&self))) {
            Ok(Ok(())) => return,
            Ok(Err(reason)) => reason,
            Err(panic) => format!("its thread panicked: {}", panic_message(&*panic)),
        };
        if self.begun.get() {
            self.deaths.report(self.worker, reason);
        }
    }
}

/// What a panic says.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(message) = panic.downcast_ref::<&'static str>() {
        message
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message
    } else {
        "without a message"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn deaths() -> (Deaths, Receiver<String>) {
        let (sender, heard) = channel();
        let hear = move |death: Death| sender.send(death.to_string()).expect("it is heard");
        (Deaths::new(hear), heard)
    }

    #[test]
    fn an_error_and_a_panic_are_deaths_and_an_orderly_end_is_none() {
        let (deaths, heard) = deaths();
        let hold = |worker, life: fn() -> Result<(), String>| {
            deaths.lifeline(worker).hold(|lifeline| {
                lifeline.begin();
                life()
            });
        };
        hold(1, || Ok(()));
        hold(2, || Err("the ring is gone".to_owned()));
        hold(3, || panic!("a {}", "bug"));
        let heard: Vec<_> = heard.try_iter().collect();
        assert_eq!(
            heard,
            [
                "worker 2 died: the ring is gone",
                "worker 3 died: its thread panicked: a bug"
            ]
        );
    }

    #[test]
    fn what_fails_before_the_worker_has_started_is_no_death() {
        let (deaths, heard) = deaths();
        deaths.lifeline(0).hold(|_| Err("no thread".to_owned()));
        deaths.lifeline(0).hold(|_| panic!("no ring"));
        assert_eq!(heard.try_iter().count(), 0);
    }
}
