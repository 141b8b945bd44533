//! What has changed lately, and who changed it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use proxy_core::{Judge, Witness};
use serde::Serialize;

/// Events that are kept; the oldest go first.
pub const EVENTS_MAX: usize = 1000;

/// Bytes of an event's words that are kept; the log has all of them.
const WORDS_BYTES_MAX: usize = 400;

/// The last events.
#[derive(Debug, Default)]
pub struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    /// How many there ever were.
    count: u64,
}

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Its number since the start, from 1.
    pub number: u64,
    /// When, as Unix time in seconds.
    pub at: f64,
    /// What it is about.
    pub kind: EventKind,
    /// What has changed, in words.
    pub what: String,
    /// Who changed it.
    pub by: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The process: another one takes over, or a worker was replaced.
    Process,
    /// The configuration was read again, or refused.
    Reload,
    /// A server.
    Server,
    /// A listener.
    Listener,
    /// A connection.
    Connection,
    /// The scheduler.
    Scheduler,
    /// What is logged.
    Log,
}

impl Events {
    /// Keeps an event, which happened now.
    pub fn note(&self, kind: EventKind, by: &str, what: &str) {
        let short = |words: &str| words[..words.floor_char_boundary(WORDS_BYTES_MAX)].to_owned();
        let mut ring = self.lock();
        ring.count += 1;
        if ring.events.len() == EVENTS_MAX {
            ring.events.pop_front();
        }
        let event = Event {
            number: ring.count,
            at: now(),
            kind,
            what: short(what),
            by: short(by),
        };
        ring.events.push_back(event);
    }

    /// Those with numbers above `after`, the oldest first; of more than `max` the newest.
    pub fn after(&self, after: u64, max: usize) -> Vec<Event> {
        let ring = self.lock();
        let newer = ring.events.iter().filter(|event| event.number > after);
        let skipped = newer.clone().count().saturating_sub(max);
        newer.skip(skipped).cloned().collect()
    }

    /// The number of the last one; zero: there was none.
    pub fn last(&self) -> u64 {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Events {
    fn on_verdict(&self, judge: Judge, upstream: &str, server: &str, words: &str) {
        let what = format!("{upstream} {server} {words}");
        self.note(EventKind::Server, judge.label(), &what);
    }
}

#[expect(clippy::disallowed_methods, reason = "when it was, for people")]
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // Milliseconds are enough for people, and exact in JSON.
    since.map_or(0.0, |since| since.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_numbers_go_on() {
        let events = Events::default();
        assert_eq!((events.last(), events.after(0, 9)), (0, Vec::new()));
        for number in 0..EVENTS_MAX + 5 {
            events.note(EventKind::Server, "user 0", &format!("{number}"));
        }
        let all = events.after(0, usize::MAX);
        assert_eq!(all.len(), EVENTS_MAX);
        assert_eq!((all[0].number, &all[0].what[..]), (6, "5"));
        let last = events.last();
        assert_eq!(last, EVENTS_MAX as u64 + 5);
        let numbers = |after, max| -> Vec<u64> {
            let events = events.after(after, max).into_iter();
            events.map(|event| event.number).collect()
        };
        assert_eq!(numbers(last - 3, 10), [last - 2, last - 1, last]);
        assert_eq!(numbers(0, 2), [last - 1, last], "of many the newest");
        assert_eq!(numbers(last, 10), [0; 0]);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let events = Events::default();
        events.note(EventKind::Reload, "SIGHUP", &"ä".repeat(WORDS_BYTES_MAX));
        let what = &events.after(0, 1)[0].what;
        assert_eq!(*what, "ä".repeat(WORDS_BYTES_MAX / 2));
    }
}
