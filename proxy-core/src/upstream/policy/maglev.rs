//! A table from hashes to servers that every proxy with the same servers makes alike (Maglev: Eisenbud and others, NSDI 2016).

use crate::upstream::policy::hash::{hash, mix};

/// Entries of a table: the first prime that has [`ENTRIES_PER_SHARE`] of them for each share of weight, or else the last.
pub(crate) const MAGLEV_ENTRIES: [u32; 3] = [65_537, 655_373, 5_000_011];

/// What a server of weight 1 has at least, where the largest table suffices: then parts differ from weights by about one in
/// a hundred.
const ENTRIES_PER_SHARE: u64 = 100;

/// Entries that are looked at until one is that can be used; then any does that can.
pub(crate) const PROBES_MAX: u32 = 32;

/// Parts of the table, in proportion to weights. It depends on the servers' names and weights and on nothing else: not on their
/// order, not on who is up, and not on the process.
#[derive(Debug)]
pub(crate) struct Maglev(Box<[u16]>);

impl Maglev {
    /// A table of servers by name and weight, of which its entries are the places. At least one weight is above zero.
    pub(crate) fn new(servers: &[(&str, u16)]) -> Self {
        let mut weighed: Vec<usize> = (0..servers.len())
            .filter(|&place| servers[place].1 > 0)
            .collect();
        // Whoever comes first in the file has no advantage.
        weighed.sort_by_key(|&place| servers[place].0);
        let size = size(weighed.iter().map(|&place| servers[place].1));
        let heaviest = weighed.iter().map(|&place| servers[place].1).max();
        let heaviest = u32::from(heaviest.unwrap_or(1));
        let mut walks: Vec<_> = weighed
            .iter()
            .map(|&place| Walk::new(place as u16, servers[place].0, size))
            .collect();
        const FREE: u16 = u16::MAX;
        let mut entries = vec![FREE; size as usize].into_boxed_slice();
        let mut left = if walks.is_empty() { 0 } else { size };
        // In each round a server has a turn as often as its weight is of the heaviest's.
        while left > 0 {
            for walk in &mut walks {
                walk.credit += u32::from(servers[usize::from(walk.place)].1);
                if walk.credit < heaviest {
                    continue;
                }
                walk.credit -= heaviest;
                while entries[walk.at as usize] != FREE {
                    walk.step(size);
                }
                entries[walk.at as usize] = walk.place;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Self(entries)
    }

    /// The server of a hash; at the next probes, others that stand in for it where it can't be used. Each of its hashes has
    /// others, so that all share what it leaves.
    pub(crate) fn server(&self, hash: u64, probe: u32) -> usize {
        let hash = match probe {
            0 => hash,
            _ => mix(hash ^ mix(probe.into())),
        };
        usize::from(self.0[(hash % self.0.len() as u64) as usize])
    }
}

/// A server's way over all entries.
struct Walk {
    place: u16,
    at: u32,
    skip: u32,
    credit: u32,
}

impl Walk {
    fn new(place: u16, name: &str, size: u32) -> Self {
        let hash = hash(name.as_bytes());
        let size = u64::from(size);
        Self {
            place,
            at: (hash % size) as u32,
            skip: (mix(hash) % (size - 1) + 1) as u32,
            credit: 0,
        }
    }

    fn step(&mut self, size: u32) {
        self.at += self.skip;
        if self.at >= size {
            self.at -= size;
        }
    }
}

fn size(weights: impl Iterator<Item = u16> + Clone) -> u32 {
    let lightest = weights.clone().min().unwrap_or(1);
    let all: u64 = weights.map(u64::from).sum();
    let shares = all.div_ceil(lightest.max(1).into());
    let fits = |size: &&u32| u64::from(**size) >= shares * ENTRIES_PER_SHARE;
    let [.., last] = &MAGLEV_ENTRIES;
    *MAGLEV_ENTRIES.iter().find(fits).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count)
            .map(|number| format!("10.0.{}.{}:80", number / 250, number % 250))
            .collect()
    }

    fn table(names: &[String], weight: impl Fn(usize) -> u16) -> Maglev {
        let servers = names.iter().enumerate();
        let servers: Vec<_> = servers
            .map(|(place, name)| (&name[..], weight(place)))
            .collect();
        Maglev::new(&servers)
    }

    #[test]
    fn sizes_are_primes() {
        for size in MAGLEV_ENTRIES {
            let has_divisor = (2..=size.isqrt()).any(|divisor| size % divisor == 0);
            assert!(!has_divisor, "{size}");
        }
        assert_eq!(size([1; 655].into_iter()), 65_537);
        assert_eq!(size([1; 656].into_iter()), 655_373);
        assert_eq!(size([256; 656].into_iter()), 655_373);
        assert_eq!(size([1, 256].into_iter()), 65_537);
        assert_eq!(size([1, 256, 256, 256].into_iter()), 655_373);
        assert_eq!(size([256; 1024].into_iter().chain([1])), 5_000_011);
    }

    #[test]
    fn parts_are_as_the_weights() {
        let names = names(10);
        let weight = |place: usize| [1, 2, 3, 4, 5, 6, 7, 8, 256, 0][place];
        let maglev = table(&names, weight);
        let all: u64 = (0..10).map(|place| u64::from(weight(place))).sum();
        for place in 0..10 {
            let has = maglev.0.iter().filter(|&&one| usize::from(one) == place);
            let wanted = maglev.0.len() as u64 * u64::from(weight(place)) / all;
            let has = has.count() as u64;
            assert!(
                has.abs_diff(wanted) <= 1 + wanted / 50,
                "{place}: {has} of {wanted}"
            );
        }
    }

    #[test]
    fn the_order_in_the_file_does_not_matter() {
        let names = names(7);
        let weight = |name: &String| (hash(name.as_bytes()) % 3 + 1) as u16;
        let one = table(&names, |place| weight(&names[place]));
        let mut other_names = names.clone();
        other_names.reverse();
        let other = table(&other_names, |place| weight(&other_names[place]));
        for key in 0..100_000 {
            for probe in 0..3 {
                let key = mix(key);
                let (a, b) = (one.server(key, probe), other.server(key, probe));
                assert_eq!(names[a], other_names[b]);
            }
        }
    }

    /// Every proxy of every version agrees: this says if one wouldn't.
    #[test]
    fn the_table_is_what_it_always_was() {
        let maglev = table(&names(5), |_| 1);
        let served: Vec<_> = (0..20).map(|key| maglev.server(mix(key), 0)).collect();
        assert_eq!(served, KNOWN);
    }

    const KNOWN: [usize; 20] = [4, 4, 1, 1, 1, 2, 1, 4, 4, 0, 2, 1, 2, 1, 0, 0, 0, 0, 4, 2];

    #[test]
    fn one_of_n_that_leaves_takes_little_of_the_others_along() {
        for count in [10, 100, 1000] {
            let all = names(count);
            let before = table(&all, |_| 1);
            let left: Vec<_> = all[1..].to_vec();
            let after = table(&left, |_| 1);
            const KEYS: u64 = 200_000;
            let (mut own, mut others) = (0, 0);
            for key in (0..KEYS).map(mix) {
                let (was, is) = (&all[before.server(key, 0)], &left[after.server(key, 0)]);
                if *was == all[0] {
                    own += 1;
                } else if was != is {
                    others += 1;
                }
            }
            let part = f64::from(others) / KEYS as f64;
            println!("{count} servers: {own} keys of its own moved, and {others} of {KEYS} others");
            assert!(part < 0.02, "{count}: {others}");
        }
    }

    #[test]
    fn who_is_down_moves_only_its_own_keys_and_to_all_others() {
        let names = names(10);
        let maglev = table(&names, |_| 1);
        let down = 3;
        let serve = |key| {
            let mut probes = (0..PROBES_MAX).map(|probe| maglev.server(key, probe));
            probes.find(|&place| place != down).expect("others are up")
        };
        let mut taken = [0; 10];
        for key in (0..100_000).map(mix) {
            let own = maglev.server(key, 0);
            if own == down {
                taken[serve(key)] += 1;
            } else {
                assert_eq!(serve(key), own);
            }
        }
        let others = (0..10).filter(|&place| place != down);
        assert!(
            others.into_iter().all(|place| taken[place] > 900),
            "{taken:?}"
        );
    }
}
