//! What has changed lately, and who changed it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use proxy_core::{Judge, Witness};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Events that are kept; the oldest go first.
pub const EVENTS_MAX: usize = 1000;

/// Bytes of an event's words that are kept; the log has all of them.
const WORDS_BYTES_MAX: usize = 400;

/// The highest number of another process's that makes sense: up to here they are exact for whoever reads JSON.
const NUMBER_MAX: u64 = 1 << 53;

/// The last events.
#[derive(Debug, Default)]
pub struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    /// How many there ever were.
    count: u64,
}

/// What a process hands on to the one that takes over from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handed {
    /// How many there ever were.
    count: u64,
    /// Those that are kept, the oldest first. Another version may have other ones.
    events: Vec<Value>,
}

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number since the start, from 1. It goes on over upgrades.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        self.lock().push(Event {
            number: 0,
            at: now(),
            kind,
            what: what.to_owned(),
            by: by.to_owned(),
        });
    }

    /// All that are kept, for the process that takes over.
    pub fn hand_on(&self) -> Handed {
        let ring = self.lock();
        let events = ring.events.iter();
        Handed {
            count: ring.count,
            // One that can't be written is none that anybody sees.
            events: events.flat_map(serde_json::to_value).collect(),
        }
    }

    /// Goes on after those of the process before. Nobody may have seen this one's: their numbers follow on.
    ///
    /// What makes no sense here is left out, as it may to another version.
    pub fn follow(&self, before: Handed) {
        if before.count > NUMBER_MAX {
            return;
        }
        let mut ring = self.lock();
        let own = std::mem::take(&mut *ring);
        let known = before.events.into_iter();
        for event in known.filter_map(|event| serde_json::from_value::<Event>(event).ok()) {
            if (ring.count + 1..=before.count).contains(&event.number) {
                ring.count = event.number - 1;
                ring.push(event);
            }
        }
        ring.count = before.count;
        own.events.into_iter().for_each(|event| ring.push(event));
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

impl Ring {
    /// Keeps one as the next.
    fn push(&mut self, event: Event) {
        let short = |words: String| {
            let end = words.floor_char_boundary(WORDS_BYTES_MAX);
            words[..end].to_owned()
        };
        self.count += 1;
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            number: self.count,
            what: short(event.what),
            by: short(event.by),
            ..event
        });
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

    fn numbers(events: &Events) -> Vec<(u64, String)> {
        let all = events.after(0, usize::MAX).into_iter();
        all.map(|event| (event.number, event.what)).collect()
    }

    /// As the other process gets it.
    fn sent(before: &Events) -> Handed {
        let text = serde_json::to_vec(&before.hand_on()).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn those_of_the_process_before_come_first_and_numbers_go_on() {
        let (before, after) = (Events::default(), Events::default());
        for what in ["one", "two"] {
            before.note(EventKind::Server, "user 0", what);
        }
        after.note(EventKind::Reload, "check", "own");
        after.follow(sent(&before));
        let all = after.after(0, 9);
        assert_eq!(all[..2], before.after(0, 9));
        after.note(EventKind::Log, "user 0", "next");
        let told = ["one", "two", "own", "next"].map(str::to_owned);
        let told: Vec<_> = (1..).zip(told).collect();
        assert_eq!(numbers(&after), told);
        // Of one that knows of none.
        after.follow(Handed::default());
        assert_eq!((after.last(), numbers(&after).len()), (4, 4));
    }

    #[test]
    fn of_many_that_are_handed_on_the_newest_are_kept() {
        let (before, after) = (Events::default(), Events::default());
        for _ in 0..EVENTS_MAX + 3 {
            before.note(EventKind::Log, "user 0", "old");
        }
        let mut handed = sent(&before);
        // More than there may be, with words that are too long.
        let mut more = handed.events.clone();
        for (number, event) in (1..).zip(&mut more) {
            event["number"] = (EVENTS_MAX as u64 + 3 + number).into();
            event["what"] = "x".repeat(WORDS_BYTES_MAX + 1).into();
        }
        handed.events.extend(more);
        handed.count = 2 * EVENTS_MAX as u64 + 3;
        after.note(EventKind::Log, "user 0", "own");
        after.follow(handed);
        let all = after.after(0, usize::MAX);
        assert_eq!(all.len(), EVENTS_MAX);
        assert_eq!(after.last(), 2 * EVENTS_MAX as u64 + 4);
        assert!(all.iter().all(|event| event.what.len() <= WORDS_BYTES_MAX));
        assert_eq!(all[EVENTS_MAX - 1].what, "own");
    }

    #[test]
    fn what_makes_no_sense_of_another_version_is_left_out() {
        let event = |number: u64, kind: &str| {
            serde_json::json!({
                "number": number, "at": 1.5, "kind": kind, "what": number.to_string(), "by": "b", "more": [1],
            })
        };
        let handed = |count, events| Handed { count, events };
        let after = Events::default();
        after.follow(handed(
            9,
            vec![
                event(3, "server"),
                event(4, "weather"),
                event(3, "server"),
                Value::Null,
                event(5, "listener"),
                event(10, "server"),
                event(0, "server"),
            ],
        ));
        let told = [3, 5].map(|number: u64| (number, number.to_string()));
        assert_eq!((numbers(&after), after.last()), (told.to_vec(), 9));
        // Nobody has ever had so many.
        after.follow(handed(u64::MAX, vec![event(u64::MAX, "server")]));
        assert_eq!((numbers(&after), after.last()), (told.to_vec(), 9));
    }

    #[test]
    fn all_that_are_kept_fit_into_a_message() {
        let events = Events::default();
        // Each byte takes six in JSON.
        let words = "\u{1}".repeat(WORDS_BYTES_MAX);
        for _ in 0..EVENTS_MAX {
            events.note(EventKind::Connection, &words, &words);
        }
        let text = serde_json::to_vec(&events.hand_on()).unwrap();
        assert!(text.len() < 6 << 20, "{}", text.len());
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let events = Events::default();
        events.note(EventKind::Reload, "SIGHUP", &"ä".repeat(WORDS_BYTES_MAX));
        let what = &events.after(0, 1)[0].what;
        assert_eq!(*what, "ä".repeat(WORDS_BYTES_MAX / 2));
    }
}
