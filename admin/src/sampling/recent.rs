//! Trouble that clients had lately: connects that all fail, and listeners that reject them.
//!
//! A rate of the last second misses what happens between two reads; this remembers it for a while.

use std::collections::HashMap;
use std::time::Duration;

use proxy_core::metrics::{PrologueResult, Rejection};
use proxy_core::{Id, ListenerView, UpstreamView, View};

/// How long something is remembered after it last happened.
pub(crate) const RECENT: Duration = Duration::from_secs(10);

/// What came of a header that says more of the one who sends it, or should, than of a stranger.
pub(crate) const HEADER_REFUSALS: [PrologueResult; 4] = [
    PrologueResult::NoHeader,
    PrologueResult::Untrusted,
    PrologueResult::BadHeader,
    PrologueResult::Checksum,
];

/// Clients that said it.
const HEARD: [PrologueResult; 4] = [
    PrologueResult::Header,
    PrologueResult::Local,
    PrologueResult::Plain,
    PrologueResult::Hello,
];

/// What came of clients that don't say what their listener wants to hear. Anybody may be slow or speak something else, but not
/// everybody.
pub(crate) const UNHEARD: [PrologueResult; 5] = [
    PrologueResult::Timeout,
    PrologueResult::Closed,
    PrologueResult::TooLong,
    PrologueResult::NoHello,
    PrologueResult::BadHello,
];

/// What happened, by upstream and by listener.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    counts: Counts,
    /// Clients that no server could be found for, while no connect of the upstream worked.
    unserved: HashMap<Id, Episode>,
    /// By [`Rejection`].
    rejected: HashMap<Id, [Option<Episode>; Rejection::ALL.len()]>,
    /// Clients whose header of the PROXY protocol was missing or wrong, by listener.
    unannounced: HashMap<Id, Option<Episode>>,
    /// Clients that were not heard, while no other client of the listener was.
    unheard: HashMap<Id, Episode>,
}

/// A run of events without a pause of [`RECENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Episode {
    /// When the first one was seen, since the start.
    pub(crate) since: Duration,
    /// When the last one was.
    pub(crate) last: Duration,
    pub(crate) count: u64,
}

/// Counters, which only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// By upstream: connects that worked, and clients that no server could be found for.
    upstreams: HashMap<Id, (u64, u64)>,
    /// By listener and [`Rejection`].
    rejected: HashMap<Id, [u64; Rejection::ALL.len()]>,
    /// By listener: clients whose header was missing or wrong.
    unannounced: HashMap<Id, u64>,
    /// By listener: clients that said what it wants to hear, and those of [`UNHEARD`].
    heard: HashMap<Id, (u64, u64)>,
}

impl Counts {
    /// The counters now.
    pub(crate) fn read(view: &View) -> Self {
        let upstreams = view.upstreams.iter().map(|UpstreamView { upstream, .. }| {
            let unserved = upstream.cells.sum(|cells| cells.unserved.get());
            // Read after the failures: a connect that works meanwhile must not be missed.
            let worked = upstream.cells.sum(|cells| cells.connect.counts().sum());
            (upstream.id, (worked, unserved))
        });
        let rejected = view.listeners.iter().map(|ListenerView { listener, .. }| {
            let rejected = Rejection::ALL.map(|reason| {
                listener
                    .cells
                    .sum(|cells| cells.rejected[reason as usize].get())
            });
            (listener.id, rejected)
        });
        let unannounced = view.listeners.iter().map(|ListenerView { listener, .. }| {
            let counts = HEADER_REFUSALS.map(|result| {
                let cells = &listener.cells;
                cells.sum(|cells| cells.prologue[result as usize].get())
            });
            (listener.id, counts.iter().sum())
        });
        let heard = view.listeners.iter().map(|ListenerView { listener, .. }| {
            let sum = |results: &[PrologueResult]| -> u64 {
                let cells = &listener.cells;
                let one = |result: &PrologueResult| {
                    cells.sum(|cells| cells.prologue[*result as usize].get())
                };
                results.iter().map(one).sum()
            };
            // Read after the failures, as above.
            let unheard = sum(&UNHEARD);
            (listener.id, (sum(&HEARD), unheard))
        });
        Self {
            upstreams: upstreams.collect(),
            rejected: rejected.collect(),
            unannounced: unannounced.collect(),
            heard: heard.collect(),
        }
    }
}

impl Recent {
    /// Takes a look at the counters, no earlier than the one before.
    pub(crate) fn on_sample(&mut self, counts: Counts, at: Duration) {
        in_vain(
            &mut self.unserved,
            &self.counts.upstreams,
            &counts.upstreams,
            at,
        );
        in_vain(&mut self.unheard, &self.counts.heard, &counts.heard, at);
        self.rejected
            .retain(|id, _| counts.rejected.contains_key(id));
        for (&id, counts) in &counts.rejected {
            let before = self.counts.rejected.get(&id).copied().unwrap_or_default();
            let episodes = self.rejected.entry(id).or_default();
            for ((episode, count), before) in episodes.iter_mut().zip(counts).zip(before) {
                note(episode, count.saturating_sub(before), at);
            }
        }
        self.unannounced
            .retain(|id, _| counts.unannounced.contains_key(id));
        for (&id, &count) in &counts.unannounced {
            let before = self.counts.unannounced.get(&id).copied();
            let episode = self.unannounced.entry(id).or_default();
            note(
                episode,
                count.saturating_sub(before.unwrap_or_default()),
                at,
            );
        }
        self.counts = counts;
    }

    /// Clients of an upstream that found no server, if no other did.
    pub(crate) fn unserved(&self, upstream: Id) -> Option<Episode> {
        self.unserved.get(&upstream).copied()
    }

    /// Clients of a listener that were not heard, if no other was.
    pub(crate) fn unheard(&self, listener: Id) -> Option<Episode> {
        self.unheard.get(&listener).copied()
    }

    /// Clients of a listener whose header of the PROXY protocol was missing or wrong.
    pub(crate) fn unannounced(&self, listener: Id) -> Option<Episode> {
        *self.unannounced.get(&listener)?
    }

    /// Clients that a listener turned away.
    pub(crate) fn rejected(&self, listener: Id, reason: Rejection) -> Option<Episode> {
        self.rejected.get(&listener)?[reason as usize]
    }
}

/// Notes failures of what has no success meanwhile; the counts are of successes and failures.
fn in_vain(
    episodes: &mut HashMap<Id, Episode>,
    before: &HashMap<Id, (u64, u64)>,
    now: &HashMap<Id, (u64, u64)>,
    at: Duration,
) {
    episodes.retain(|id, _| now.contains_key(id));
    for (&id, &(worked, failed)) in now {
        let before = before.get(&id).copied().unwrap_or_default();
        let mut episode = episodes.remove(&id);
        if worked > before.0 {
            continue;
        }
        note(&mut episode, failed.saturating_sub(before.1), at);
        episodes.extend(episode.map(|episode| (id, episode)));
    }
}

fn note(episode: &mut Option<Episode>, count: u64, at: Duration) {
    let is_over = |last: Duration| at.saturating_sub(last) >= RECENT;
    match episode {
        Some(known) if !is_over(known.last) => {
            if count > 0 {
                known.last = at;
                known.count += count;
            }
        }
        _ => {
            *episode = (count > 0).then_some(Episode {
                since: at,
                last: at,
                count,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn connects_that_all_fail_are_seen_at_once_and_forgotten_when_one_works() {
        let observed = fixture::proxy();
        let mut recent = Recent::default();
        let upstream = observed.view().upstreams[0].upstream.clone();
        let slot = |worker| observed.running().generation.slot(worker);
        let mut look = |second| {
            recent.on_sample(Counts::read(&observed.view()), Duration::from_secs(second));
            recent.unserved(upstream.id)
        };
        let unserved = |count| {
            let cells = upstream.cells.of(slot(1));
            cells.unserved.add(count);
        };
        unserved(2);
        let episode = |since, last, count| {
            Some(Episode {
                since: Duration::from_secs(since),
                last: Duration::from_secs(last),
                count,
            })
        };
        assert_eq!(look(1), episode(1, 1, 2));
        unserved(1);
        assert_eq!(look(5), episode(1, 5, 3));
        assert_eq!(look(14), episode(1, 5, 3));
        assert_eq!(look(15), None);
        unserved(1);
        assert_eq!(look(16), episode(16, 16, 1));
        // One that works among others that don't: it is not all of them.
        unserved(1);
        let cells = upstream.cells.of(slot(0));
        cells.connect.observe(Duration::ZERO);
        assert_eq!(look(17), None);
    }

    #[test]
    fn rejections_are_kept_by_listener_and_reason() {
        let observed = fixture::proxy();
        let mut recent = Recent::default();
        let listeners = [0, 1].map(|place| fixture::listener(&observed, place));
        let cells = listeners[1].cells.of(observed.running().generation.slot(0));
        cells.rejected[Rejection::MaxConnections as usize].add(3);
        recent.on_sample(Counts::read(&observed.view()), RECENT);
        let count = |listener: usize, reason| {
            let listener = listeners[listener].id;
            recent
                .rejected(listener, reason)
                .map(|episode| episode.count)
        };
        assert_eq!(count(1, Rejection::MaxConnections), Some(3));
        assert_eq!(count(1, Rejection::Descriptors), None);
        assert_eq!(count(0, Rejection::MaxConnections), None);
    }
}
