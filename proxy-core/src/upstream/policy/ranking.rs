//! Which of many places has the smallest key, at a cost that hardly grows with their number.

/// A tournament of places: the winner is known, and a key that changes is played again on its way up, which is ten matches
/// for a thousand places.
#[derive(Debug)]
pub(crate) struct Ranking<K> {
    keys: Vec<K>,
    /// The winner of the matches below each node. The root is node 1, and a place's own node is `keys.len() + place`.
    winners: Vec<u16>,
}

impl<K: Ord + Copy> Ranking<K> {
    /// Of these places.
    pub(crate) fn new(keys: Vec<K>) -> Self {
        let count = keys.len();
        let mut winners = vec![0; count];
        winners.extend((0..count).map(|place| place as u16));
        let mut ranking = Self { keys, winners };
        for node in (1..count).rev() {
            ranking.winners[node] = ranking.play(node);
        }
        ranking
    }

    /// The place with the smallest key; the key of none is that of another.
    pub(crate) fn first(&self) -> Option<(usize, K)> {
        let place = usize::from(*self.winners.get(1)?);
        Some((place, self.keys[place]))
    }

    /// A place has another key now.
    pub(crate) fn set(&mut self, place: usize, key: K) {
        self.keys[place] = key;
        let mut node = (self.keys.len() + place) / 2;
        while node > 0 {
            let (before, winner) = (self.winners[node], self.play(node));
            self.winners[node] = winner;
            // Above here only other places have played.
            if before == winner && usize::from(winner) != place {
                break;
            }
            node /= 2;
        }
    }

    fn play(&self, node: usize) -> u16 {
        let (a, b) = (self.winners[2 * node], self.winners[2 * node + 1]);
        // Of equals the one before wins.
        let key = |place: u16| (self.keys[usize::from(place)], place);
        if key(b) < key(a) { b } else { a }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_place_wins_alone_and_none_has_no_winner() {
        assert_eq!(Ranking::new(vec![7]).first(), Some((0, 7)));
        assert_eq!(Ranking::<u8>::new(Vec::new()).first(), None);
        let mut one = Ranking::new(vec![7]);
        one.set(0, 9);
        assert_eq!(one.first(), Some((0, 9)));
    }

    proptest! {
        #[test]
        fn the_winner_is_the_smallest_whatever_changes(
            first in prop::collection::vec(0_u32..50, 1..70),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..50), 0..200),
        ) {
            let unique = |place: usize, key: u32| (key, place);
            let mut keys: Vec<_> = first.iter().enumerate().map(|(place, &key)| unique(place, key)).collect();
            let mut ranking = Ranking::new(keys.clone());
            for (index, key) in changes {
                let place = index.index(keys.len());
                keys[place] = unique(place, key);
                ranking.set(place, keys[place]);
                let smallest = *keys.iter().min().expect("there are some");
                prop_assert_eq!(ranking.first(), Some((smallest.1, smallest)));
            }
        }
    }
}
