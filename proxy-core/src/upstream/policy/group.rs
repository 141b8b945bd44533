//! Servers that stand in for each other, and how one of them is picked: the primary ones of a pool, or its backups.

use crate::upstream::policy::hash::mix;
use crate::upstream::policy::maglev::{Maglev, PROBES_MAX};
use crate::upstream::policy::random::Lots;
use crate::upstream::policy::turns::{Turn, Turns, smooth_order};
use crate::upstream::policy::{Balance, CompareBy, Places, Try, pressure};

/// Turns that a pick passes over before it deals by weight among those that are available: each is a write that all
/// workers share.
const TURNS_PASSED_MAX: usize = 4;

/// Draws that random-two makes until two servers are available.
const DRAWS_MAX: u64 = 8;

/// Some of a pool's places, none of them of weight zero.
#[derive(Debug)]
pub(crate) struct Group {
    places: Box<[u16]>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The order in which servers take turns.
    InTurn(Box<[u16]>),
    Random(Lots, CompareBy),
    Hashed(Maglev),
    Least,
    First,
}

/// A server that may be in a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) place: u16,
    pub(crate) name: &'a str,
    pub(crate) weight: u16,
}

impl Group {
    /// Of these servers; those of weight zero are left out.
    pub(crate) fn new<'a>(
        balance: Balance,
        compare_by: CompareBy,
        of: impl Iterator<Item = Candidate<'a>>,
    ) -> Self {
        let of: Vec<_> = of.filter(|one| one.weight > 0).collect();
        let weights: Vec<_> = of.iter().map(|one| one.weight).collect();
        let names = || of.iter().map(|one| (one.name, one.weight));
        Self {
            places: of.iter().map(|one| one.place).collect(),
            kind: match balance {
                Balance::RoundRobin => Kind::InTurn(smooth_order(&weights)),
                Balance::LeastConnections => Kind::Least,
                Balance::RandomTwo => Kind::Random(Lots::new(&weights), compare_by),
                Balance::SourceHash => Kind::Hashed(Maglev::new(&names().collect::<Vec<_>>())),
                Balance::First => Kind::First,
            },
        }
    }

    /// The next server that can serve; `hash` is that of what is known of the connection.
    pub(crate) fn pick(
        &self,
        places: &impl Places,
        turns: &Turns,
        hash: u64,
        try_number: Try,
    ) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        match &self.kind {
            Kind::InTurn(order) if try_number == Try::First => {
                let mut in_turn = (0..=TURNS_PASSED_MAX)
                    .map(|_| self.place(order[turns.first.next() % order.len()].into()));
                let in_time =
                    in_turn.find(|&place| places.can_serve(place) && places.takes_turn(place));
                in_time.or_else(|| self.deal(places, &turns.another))
            }
            Kind::InTurn(_) => self.deal(places, &turns.another),
            Kind::Random(lots, by) => self.better_of_two(places, lots, *by, turns),
            Kind::Hashed(maglev) => {
                let probe = |probe: u32| {
                    let place = self.place(maglev.server(hash, probe));
                    // Each probe of a client has a hash of its own, so that who keeps less has its part of all.
                    let of_probe = hash ^ mix(u64::from(probe) + u64::from(PROBES_MAX));
                    (places.can_serve(place) && places.keeps(place, of_probe)).then_some(place)
                };
                let probed = (0..PROBES_MAX).find_map(probe);
                probed.or_else(|| self.nth(places, hash))
            }
            Kind::Least => self.least(places, &turns.another),
            Kind::First => self.able(places).next(),
        }
    }

    fn place(&self, index: usize) -> usize {
        self.places[index].into()
    }

    fn able(&self, places: &impl Places) -> impl Iterator<Item = usize> {
        let all = self.places.iter().map(|&place| usize::from(place));
        all.filter(|&place| places.can_serve(place))
    }

    /// One of those that can serve, by weight.
    fn deal(&self, places: &impl Places, turn: &Turn) -> Option<usize> {
        let total: u64 = self.able(places).map(|place| places.weight(place)).sum();
        // A multiple of the usual weights' unit, so that each turn is one of a whole unit.
        let unit = crate::upstream::warmth::WHOLE as u64;
        if total == 0 {
            return None;
        }
        let mut at = turn.next() as u64 * unit % total;
        self.able(places)
            .find(|&place| match at.checked_sub(places.weight(place)) {
                Some(beyond) => {
                    at = beyond;
                    false
                }
                None => true,
            })
    }

    /// Any of those that can serve, the same one for the same number.
    fn nth(&self, places: &impl Places, number: u64) -> Option<usize> {
        let count = self.able(places).count() as u64;
        let nth = number.checked_rem(count)?;
        self.able(places).nth(nth as usize)
    }

    fn better_of_two(
        &self,
        places: &impl Places,
        lots: &Lots,
        by: CompareBy,
        turns: &Turns,
    ) -> Option<usize> {
        let number = mix(turns.seed ^ turns.random.next() as u64);
        let mut drawn: Option<usize> = None;
        for draw in 0..DRAWS_MAX {
            let place = self.place(lots.draw(mix(number ^ draw)));
            if drawn == Some(place) || !places.can_serve(place) || !places.takes_turn(place) {
                continue;
            }
            let Some(first) = drawn else {
                drawn = Some(place);
                continue;
            };
            // One that is new has fewer draws, and is as good as the others when it is drawn.
            let pressure = |place| pressure(places.connections(place), places.whole_weight(place));
            let times = match by {
                CompareBy::Connections => None,
                CompareBy::ConnectTime => {
                    places.connect_time(place).zip(places.connect_time(first))
                }
            };
            let (time, time_of_first) = times.unwrap_or((1, 1));
            let cost = |place, time| u128::from(pressure(place)) * u128::from(time);
            let is_better = cost(place, time) < cost(first, time_of_first);
            return Some(if is_better { place } else { first });
        }
        drawn.or_else(|| self.deal(places, &turns.another))
    }

    /// The one with the fewest connections for its weight.
    fn least(&self, places: &impl Places, turn: &Turn) -> Option<usize> {
        let count = self.able(places).count();
        if count == 0 {
            return None;
        }
        let first = turn.next() % count;
        let in_turn = self
            .able(places)
            .skip(first)
            .chain(self.able(places).take(first));
        in_turn.min_by_key(|&place| pressure(places.connections(place), places.weight(place)))
    }
}
