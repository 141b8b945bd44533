//! Workers that die: those who run them hear of it.

use std::collections::BTreeMap;
use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use proxy_core::lifeline::{Death, Deaths, panic_message};
use tokio::sync::Notify;

use proxy_console::errln;

use crate::scheduler;

/// What Rust exits with when its main thread panics.
const PANIC_EXIT_CODE: i32 = 101;

/// Hears of workers that died.
pub(crate) struct Died(Arc<Heard>);

#[derive(Default)]
struct Heard {
    /// Those that nobody was told of yet, and whether a worker was reported: by run and index. There are few runs at a time.
    deaths: Mutex<BTreeMap<(u64, usize), Option<Death>>>,
    more: Notify,
}

/// Where deaths are reported, and who hears of them.
pub(crate) fn channel() -> (Deaths, Died) {
    let heard = Arc::new(Heard::default());
    let died = Died(heard.clone());
    (Deaths::new(move |death| heard.add(death)), died)
}

/// For commands in which nobody waits for deaths: the process ends at once.
pub(crate) fn fatal() -> Deaths {
    Deaths::new(|death| {
        errln!("corelane: {death}; the process ends, as nobody takes this worker's connections");
        proxy_console::flush();
        std::process::exit(1);
    })
}

impl Heard {
    fn add(&self, death: Death) {
        let key = (death.run, death.worker);
        let mut deaths = self.lock();
        // One that goes on failing was heard of.
        if deaths.contains_key(&key) {
            return;
        }
        tracing::error!(
            worker = death.worker,
            reason = death.reason,
            "a worker died"
        );
        deaths.insert(key, Some(death));
        drop(deaths);
        self.more.notify_one();
    }

    fn is_any(&self) -> bool {
        self.lock().values().any(Option::is_some)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u64, usize), Option<Death>>> {
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Died {
    /// Waits for a worker that dies. Each is told once.
    pub(crate) async fn next(&mut self) -> Death {
        loop {
            if let Some(death) = self.try_next() {
                return death;
            }
            // One that came in between has left a permit.
            self.0.more.notified().await;
        }
    }

    /// Waits until there is one that dies, and takes it from nobody: [`Died::next`] tells of it.
    pub(crate) async fn come(&self) {
        while !self.0.is_any() {
            self.0.more.notified().await;
        }
        // The permit is for who takes it.
        self.0.more.notify_one();
    }

    /// One that has died already.
    pub(crate) fn try_next(&mut self) -> Option<Death> {
        self.0.lock().values_mut().find_map(Option::take)
    }

    /// Runs before this one have ended: nothing more is heard of them.
    pub(crate) fn forget_before(&self, run: u64) {
        self.0
            .lock()
            .retain(|&(of, _), death| of >= run || death.is_some());
    }
}

/// Has a panic of a worker, which is logged already, reported as its death, and one of the main thread end the process.
pub(crate) fn report_panics() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        if scheduler::becomes_error(panic_message(panicked.payload())) {
            return;
        }
        report(panicked);
        if thread::current().name() == Some("main") {
            // To unwind would wait for threads that may wait for this one.
            proxy_console::flush();
            std::process::exit(PANIC_EXIT_CODE);
        }
        if scheduler::on_panic(panic_message(panicked.payload())) {
            // It stays here until the process ends.
            loop {
                thread::park();
            }
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_heard_of_once() {
        let (deaths, mut died) = channel();
        let next = deaths.of_run(1);
        deaths.report(0, "first");
        deaths.report(0, "again");
        next.report(0, "another run's");
        deaths.report_halt(1, "second");
        let mut heard = std::iter::from_fn(|| died.try_next());
        let told = |death: Option<Death>| death.map(|death| (death.run, death.worker));
        assert_eq!(told(heard.next()), Some((0, 0)));
        assert_eq!(told(heard.next()), Some((0, 1)));
        assert_eq!(told(heard.next()), Some((1, 0)));
        assert_eq!(told(heard.next()), None);
        deaths.report(1, "again");
        assert_eq!(told(died.try_next()), None);
        died.forget_before(1);
        assert_eq!(died.0.lock().len(), 1);
    }
}
