//! A worker that dies ends the process with an error. Otherwise its listening sockets would stay, and nobody would accept
//! from them.

use std::panic;
use std::thread;
use std::time::Duration;

use proxy_core::lifeline::{Death, Deaths, panic_message};
use tokio::sync::mpsc;

use proxy_console::errln;

use crate::scheduler;

/// How long a worker that panicked waits for the process to end, before it goes on to unwind.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What Rust exits with when its main thread panics.
const PANIC_EXIT_CODE: i32 = 101;

/// Deaths that wait to be heard of: the first is enough to end the process.
const UNHEARD_MAX: usize = 1;

/// Hears of workers that died.
pub(crate) struct Died(mpsc::Receiver<Death>);

/// Where deaths are reported, and who hears of them.
pub(crate) fn channel() -> (Deaths, Died) {
    let (sender, died) = mpsc::channel(UNHEARD_MAX);
    let deaths = Deaths::new(move |death| {
        tracing::error!(
            worker = death.worker,
            reason = death.reason,
            "a worker died"
        );
        // One is heard already, or the process is ending.
        let _ = sender.try_send(death);
    });
    (deaths, Died(died))
}

/// For commands in which nobody waits for deaths: the process ends at once.
pub(crate) fn fatal() -> Deaths {
    Deaths::new(|death| {
        errln!("corelane: {}", ending(&death));
        proxy_console::flush();
        std::process::exit(1);
    })
}

impl Died {
    /// Waits for a worker that dies.
    pub(crate) async fn next(&mut self) -> Death {
        match self.0.recv().await {
            Some(death) => death,
            // No worker is left that could die.
            None => std::future::pending().await,
        }
    }

    /// One that has died already.
    pub(crate) fn try_next(&mut self) -> Option<Death> {
        self.0.try_recv().ok()
    }
}

/// Why the process ends.
pub(crate) fn ending(death: &Death) -> String {
    format!("{death}; the process ends, as nobody would take this worker's connections any more")
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
            // The main thread ends the process meanwhile. To unwind could end it without a word: Tokio aborts in a
            // debug build.
            thread::park_timeout(END_PATIENCE);
        }
    }));
}
