//! systemd's watchdog (`WatchdogSec=`), or that of who does as it does: fed only while every core turns.
//!
//! Twice in its time each worker is asked for a sign of life, which even one that sleeps gives at once. The watchdog is fed when all
//! have answered. A worker that hangs for as long as the watchdog waits so has the process ended, and started again.

use std::env;
use std::process;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::notify::Notify;
use crate::pulses::{Pulses, Stuck};

/// How long the watchdog waits, in microseconds.
const TIME_VARIABLE: &str = "WATCHDOG_USEC";

/// Which process it is for; where that isn't said, whoever reads it.
const PROCESS_VARIABLE: &str = "WATCHDOG_PID";

/// How often it is looked whether all have answered, at first and at last.
const LOOK_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Who feeds it.
pub(crate) struct Watchdog {
    notify: Notify,
    pulses: Pulses,
    /// Half of the time that it waits.
    every: Duration,
}

impl Watchdog {
    /// The one of the environment. None: there is none, or it is for another process, or nobody hears of it.
    pub(crate) fn of_environment(notify: &Notify, pulses: &Pulses) -> Option<Self> {
        let read = |name| env::var(name).ok();
        let time = time(read(TIME_VARIABLE)?, read(PROCESS_VARIABLE), process::id())?;
        notify.is_heard().then(|| Self {
            notify: notify.clone(),
            pulses: pulses.clone(),
            every: time / 2,
        })
    }

    /// Feeds it for ever.
    pub(crate) async fn feed(self) {
        loop {
            let at = now();
            self.await_all(at).await;
            self.notify.turns();
            sleep(self.every.saturating_sub(now() - at)).await;
        }
    }

    /// Waits until each worker has turned once more. What doesn't is logged before the watchdog ends the process.
    async fn await_all(&self, at: Instant) {
        let asked = self.pulses.ask();
        let (mut interval, longest) = LOOK_INTERVALS;
        let mut told = Vec::new();
        loop {
            let stuck = asked.stuck();
            if stuck.is_empty() {
                break;
            }
            let waited = now() - at;
            if waited >= self.every / 2 && stuck != told {
                tracing::error!(
                    ?waited,
                    "{} doesn't turn: the watchdog is not fed, and ends the process if that lasts",
                    list(&stuck)
                );
                told = stuck;
            }
            sleep(interval).await;
            interval = longest.min(2 * interval);
        }
        if !told.is_empty() {
            tracing::warn!(waited = ?now() - at, "all cores turn again: the watchdog is fed");
        }
    }
}

/// How long a watchdog waits that is for this process.
fn time(microseconds: String, process: Option<String>, own: u32) -> Option<Duration> {
    if process.is_some_and(|process| process != own.to_string()) {
        return None;
    }
    match microseconds.parse() {
        Ok(microseconds) if microseconds > 0 => Some(Duration::from_micros(microseconds)),
        _ => {
            tracing::warn!(
                "{TIME_VARIABLE} is {microseconds:?}, which is no time: no watchdog is fed"
            );
            None
        }
    }
}

fn list(stuck: &[Stuck]) -> String {
    let words: Vec<_> = stuck.iter().map(Stuck::to_string).collect();
    words.join(", ")
}

#[expect(clippy::disallowed_methods, reason = "a watchdog, not a worker")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_of_another_process_is_not_fed() {
        let time = |time: &str, process: Option<&str>| {
            super::time(time.to_owned(), process.map(str::to_owned), 7)
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(time("1000000", None), second);
        assert_eq!(time("1000000", Some("7")), second);
        assert_eq!(time("1000000", Some("8")), None);
        for wrong in ["0", "", "-1", "soon"] {
            assert_eq!(time(wrong, None), None);
        }
    }
}
