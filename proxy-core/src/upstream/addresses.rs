//! The addresses of a server, and the order in which a connection tries them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::upstream::address::ServerAddress;
use crate::upstream::rest::Rest;

/// Addresses that one name may have; more are left out.
pub const ADDRESSES_MAX: usize = u64::BITS as usize;

/// The addresses of a name, as of the last time it was resolved. Read once for each connection that goes to it.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    places: RwLock<Arc<[Arc<Place>]>>,
    /// Connections that went to it: each begins with another address.
    turn: AtomicUsize,
}

/// One address.
#[derive(Debug)]
struct Place {
    address: SocketAddr,
    rest: Rest,
}

/// One connection's way over the addresses of a server: each once, those that failed a moment ago last.
#[derive(Debug)]
pub struct Walk(Way);

#[derive(Debug)]
enum Way {
    /// None once it was tried.
    Fixed(Option<ServerAddress>),
    Named {
        places: Arc<[Arc<Place>]>,
        turn: usize,
        /// A bit for each place.
        tried: u64,
        current: usize,
    },
}

impl Addresses {
    /// What the name resolves to now. What is known of an address that stays is kept. True when one is new.
    pub(crate) fn set(&self, addresses: &[SocketAddr]) -> bool {
        let before = self.places();
        let mut any_new = false;
        let mut places: Vec<Arc<Place>> = Vec::with_capacity(addresses.len().min(ADDRESSES_MAX));
        for &address in addresses {
            let is_it = |place: &&Arc<Place>| place.address == address;
            // The system's resolver may say the same one twice.
            if places.iter().any(|place| is_it(&place)) {
                continue;
            }
            let known = before.iter().find(is_it).cloned();
            any_new |= known.is_none();
            places.push(known.unwrap_or_else(|| {
                Arc::new(Place {
                    address,
                    rest: Rest::default(),
                })
            }));
            if places.len() == ADDRESSES_MAX {
                break;
            }
        }
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = places.into();
        any_new
    }

    /// All that there are now.
    pub(crate) fn all(&self) -> Vec<SocketAddr> {
        self.places().iter().map(|place| place.address).collect()
    }

    /// A way that begins with another address than the last one did.
    pub(crate) fn walk(&self) -> Walk {
        self.walk_from(self.turn.fetch_add(1, Relaxed))
    }

    /// A way that leaves the turns alone.
    pub(crate) fn walk_aside(&self) -> Walk {
        self.walk_from(self.turn.load(Relaxed))
    }

    fn walk_from(&self, turn: usize) -> Walk {
        Walk(Way::Named {
            places: self.places(),
            turn,
            tried: 0,
            current: 0,
        })
    }

    fn places(&self) -> Arc<[Arc<Place>]> {
        self.places
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Walk {
    pub(crate) fn fixed(address: ServerAddress) -> Self {
        Self(Way::Fixed(Some(address)))
    }

    /// The next address; none when all were tried.
    pub fn next(&mut self, now: Instant) -> Option<ServerAddress> {
        match &mut self.0 {
            Way::Fixed(address) => address.take(),
            Way::Named {
                places,
                turn,
                tried,
                current,
            } => {
                let last = (*tried != 0).then(|| places[*current].address.is_ipv4());
                let place = choose(places, *turn, *tried, last, now)?;
                *current = place;
                *tried |= 1 << place;
                Some(ServerAddress::Tcp(places[place].address))
            }
        }
    }

    /// Whether all were tried.
    pub(crate) fn is_over(&self) -> bool {
        match &self.0 {
            Way::Fixed(address) => address.is_none(),
            Way::Named { places, tried, .. } => tried.count_ones() as usize >= places.len(),
        }
    }

    /// Whether there is another address that is worth a try.
    pub fn has_more(&self, now: Instant) -> bool {
        match &self.0 {
            Way::Fixed(_) => false,
            Way::Named { places, tried, .. } => {
                let mut left = (0..places.len()).filter(|place| tried & (1 << place) == 0);
                left.any(|place| !places[place].rest.is_resting(now))
            }
        }
    }

    /// The address that came last, to be told of later.
    pub(crate) fn spot(&self) -> usize {
        match &self.0 {
            Way::Fixed(_) => 0,
            Way::Named { current, .. } => *current,
        }
    }

    /// The connect to an address of before failed, or was outrun by one that began later.
    pub(crate) fn on_failure_at(&self, spot: usize, now: Instant) {
        if let Way::Named { places, .. } = &self.0
            && let Some(place) = places.get(spot)
        {
            place.rest.on_failure(now);
        }
    }

    /// The connect to an address of before worked: it is the last one from now on.
    pub(crate) fn on_success_at(&mut self, spot: usize) {
        if let Way::Named { current, .. } = &mut self.0 {
            *current = spot;
        }
        self.on_success();
    }

    /// The connect to the last address failed.
    pub fn on_failure(&self, now: Instant) {
        if let Some(place) = self.place() {
            place.rest.on_failure(now);
        }
    }

    /// The connect to the last address worked.
    pub fn on_success(&self) {
        if let Some(place) = self.place() {
            place.rest.on_success();
        }
    }

    /// The addresses that were tried, the last one last; of a server with a name.
    pub(crate) fn tried(&self) -> Vec<SocketAddr> {
        let Way::Named {
            places,
            tried,
            current,
            ..
        } = &self.0
        else {
            return Vec::new();
        };
        let mut all: Vec<_> = (0..places.len())
            .filter(|place| tried & (1 << place) != 0)
            .collect();
        all.sort_by_key(|place| place == current);
        all.iter().map(|&place| places[place].address).collect()
    }

    /// The same way where these were tried, as far as they are known here.
    #[must_use]
    pub(crate) fn after(mut self, addresses: &[SocketAddr]) -> Self {
        match &mut self.0 {
            Way::Fixed(address) => *address = None,
            Way::Named {
                places,
                tried,
                current,
                ..
            } => {
                for address in addresses {
                    let mut known = places.iter();
                    if let Some(place) = known.position(|place| place.address == *address) {
                        *tried |= 1 << place;
                        *current = place;
                    }
                }
            }
        }
        self
    }

    fn place(&self) -> Option<&Place> {
        match &self.0 {
            Way::Fixed(_) => None,
            Way::Named {
                places, current, ..
            } => places.get(*current).map(Arc::as_ref),
        }
    }
}

/// The place whose turn it is of those that are not `tried`: one that rests only when all of them do. After one of a family, one of
/// the other comes if there is any (RFC 8305, section 4): where a network carries only one of them, each connection finds it soon.
fn choose(
    places: &[Arc<Place>],
    turn: usize,
    tried: u64,
    last_is_ipv4: Option<bool>,
    now: Instant,
) -> Option<usize> {
    let is_left = |place: &usize| tried & (1 << place) == 0;
    let is_of_other =
        |place: &usize| last_is_ipv4.is_some_and(|last| places[*place].address.is_ipv4() != last);
    let is_rested = |place: &usize| !places[*place].rest.is_resting(now);
    let all = || (0..places.len()).filter(is_left);
    let has_other = all().any(|place| is_of_other(&place) && is_rested(&place));
    let left = || all().filter(|place| !has_other || is_of_other(place));
    // Another connection may take a place's try in between; it rests then.
    for _ in 0..ADDRESSES_MAX {
        let rested = || left().filter(is_rested);
        let Some(nth) = turn.checked_rem(rested().count()) else {
            break;
        };
        if let Some(place) = rested().nth(nth)
            && places[place].rest.claim(now)
        {
            return Some(place);
        }
    }
    let nth = turn.checked_rem(all().count())?;
    all().nth(nth)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::epoch::origin;
    use crate::upstream::rest::REST;

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 80).into()
    }

    fn addresses(count: u8) -> Addresses {
        let all: Vec<_> = (0..count).map(address).collect();
        let addresses = Addresses::default();
        addresses.set(&all);
        addresses
    }

    /// The last parts of all addresses that a walk has left.
    fn rest_of(walk: &mut Walk, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| walk.next(now))
            .map(|next| match next {
                ServerAddress::Tcp(SocketAddr::V4(address)) => address.ip().octets()[3],
                other => panic!("{other}"),
            })
            .collect()
    }

    #[test]
    fn each_connection_begins_with_another_one_and_tries_each_once() {
        let (addresses, now) = (addresses(3), origin());
        let mut firsts = Vec::new();
        for _ in 0..6 {
            let order = rest_of(&mut addresses.walk(), now);
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 3, "{order:?}");
            assert_eq!(order.len(), 3);
            firsts.push(order[0]);
        }
        assert_eq!(firsts, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn checks_leave_the_turns_alone() {
        let (addresses, now) = (addresses(2), origin());
        for _ in 0..3 {
            assert_eq!(rest_of(&mut addresses.walk_aside(), now)[0], 0);
        }
        assert_eq!(rest_of(&mut addresses.walk(), now)[0], 0);
        assert_eq!(rest_of(&mut addresses.walk(), now)[0], 1);
    }

    #[test]
    fn others_that_connect_meanwhile_do_not_change_what_one_tries() {
        let (addresses, now) = (addresses(2), origin());
        let mut slow = addresses.walk();
        let first = slow.next(now);
        for _ in 0..5 {
            let mut other = addresses.walk();
            other.next(now);
            other.on_failure(now);
            other.next(now);
            other.on_success();
        }
        slow.on_failure(now);
        let second = slow.next(now);
        assert!(second.is_some() && second != first);
        assert_eq!(slow.next(now), None);
    }

    #[test]
    fn one_that_failed_comes_last_and_the_others_share_its_turns() {
        let (addresses, now) = (addresses(3), origin());
        let mut walk = addresses.walk();
        walk.next(now);
        walk.on_failure(now);
        let orders: Vec<_> = (0..4)
            .map(|_| rest_of(&mut addresses.walk(), now))
            .collect();
        assert!(orders.iter().all(|order| order.len() == 3 && order[2] == 0));
        let first = |name| orders.iter().filter(|order| order[0] == name).count();
        assert_eq!((first(1), first(2)), (2, 2));
    }

    #[test]
    fn after_a_rest_one_connection_tries_it() {
        let (addresses, now) = (addresses(2), origin());
        let mut walk = addresses.walk();
        walk.next(now);
        walk.on_failure(now);
        let over = now + REST;
        let firsts = (0..10).map(|_| addresses.walk().next(over));
        let it = Some(ServerAddress::Tcp(address(0)));
        assert_eq!(firsts.filter(|first| *first == it).count(), 1);
    }

    #[test]
    fn what_is_known_of_an_address_outlives_a_new_answer() {
        let (addresses, now) = (addresses(2), origin());
        let mut walk = addresses.walk();
        walk.next(now);
        walk.on_failure(now);
        addresses.set(&[address(7), address(0), address(7)]);
        for _ in 0..4 {
            assert_eq!(rest_of(&mut addresses.walk(), now), [7, 0]);
        }
        addresses.set(&[]);
        assert_eq!(rest_of(&mut addresses.walk(), now), []);
    }

    #[test]
    fn families_take_turns() {
        let now = origin();
        let six = |last| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 80));
        let addresses = Addresses::default();
        addresses.set(&[address(1), address(2), address(3), six(1), six(2)]);
        for _ in 0..5 {
            let mut walk = addresses.walk();
            let mut families = Vec::new();
            while let Some(ServerAddress::Tcp(next)) = walk.next(now) {
                families.push(next.is_ipv4());
            }
            assert_eq!(families.len(), 5);
            // As long as there are both.
            let alternates = families.windows(2).take(2).all(|pair| pair[0] != pair[1]);
            assert!(alternates, "{families:?}");
        }
        // One that rests is not preferred for its family.
        let mut walk = addresses.walk();
        while let Some(ServerAddress::Tcp(next)) = walk.next(now) {
            if next.is_ipv6() {
                walk.on_failure(now);
            }
        }
        let mut walk = addresses.walk();
        let order: Vec<_> = std::iter::from_fn(|| walk.next(now)).collect();
        let is_four = |address: &ServerAddress| matches!(address, ServerAddress::Tcp(address) if address.is_ipv4());
        assert!(
            order[..3].iter().all(is_four) && order.len() == 5,
            "{order:?}"
        );
    }

    #[test]
    fn another_address_is_worth_a_try_unless_it_rests() {
        let (addresses, now) = (addresses(2), origin());
        let (mut one, mut other) = (addresses.walk(), addresses.walk());
        one.next(now);
        assert!(one.has_more(now));
        other.next(now);
        other.on_failure(now);
        assert!(!one.has_more(now) && one.has_more(now + REST));
        one.next(now);
        assert!(!one.has_more(now + REST));
    }

    #[test]
    fn addresses_are_bounded() {
        let addresses = addresses(200);
        let tried = rest_of(&mut addresses.walk(), origin());
        assert_eq!(tried.len(), ADDRESSES_MAX);
    }
}
