//! Servers whose connects take much longer than those of the others.

use std::cmp::Reverse;
use std::num::NonZeroU32;
use std::time::Duration;

/// Connects that must have worked in an interval for a server's connect time to be compared.
pub(crate) const CONNECTS_COMPARED_MIN: u64 = 10;

/// Other servers that there must be with as many, so that their median says something.
pub(crate) const OTHERS_COMPARED_MIN: usize = 2;

/// By how much more than the median of the others a server's connects take at least when they count as slow: among servers that
/// answer in microseconds, several times as long is still nothing.
pub(crate) const SLOW_BY_MIN: Duration = Duration::from_millis(20);

/// The places of those whose mean is more than `factor` times the median of the others', and more by [`SLOW_BY_MIN`]; the
/// slowest first. Who has no mean is not compared.
///
/// The median of an even number is the mean of the two in the middle.
pub(crate) fn outliers(means: &[Option<u64>], factor: NonZeroU32) -> Vec<usize> {
    let mut sorted: Vec<u64> = means.iter().copied().flatten().collect();
    if sorted.len() <= OTHERS_COMPARED_MIN {
        return Vec::new();
    }
    sorted.sort_unstable();
    let median_without = |mean: u64| {
        // One of those that are equal to it is left out: it makes no difference which.
        let left_out = sorted.partition_point(|&other| other < mean);
        let at = |place: usize| sorted[if place < left_out { place } else { place + 1 }];
        let others = sorted.len() - 1;
        u64::midpoint(at((others - 1) / 2), at(others / 2))
    };
    let slow_by = SLOW_BY_MIN.as_micros() as u64;
    let is_slow = |mean: u64| {
        let median = median_without(mean);
        mean > median.saturating_mul(u64::from(factor.get())) && mean > median + slow_by
    };
    let means = means.iter().enumerate();
    let mut slow: Vec<_> = means
        .filter_map(|(place, mean)| mean.filter(|&mean| is_slow(mean)).map(|mean| (place, mean)))
        .collect();
    slow.sort_by_key(|&(_, mean)| Reverse(mean));
    slow.into_iter().map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slow(means: &[Option<u64>], factor: u32) -> Vec<usize> {
        outliers(means, NonZeroU32::new(factor).expect("not zero"))
    }

    #[test]
    fn one_that_is_slower_than_the_others_is_found() {
        let ms = |ms: u64| Some(ms * 1000);
        assert_eq!(slow(&[ms(1), ms(2), ms(3), ms(100)], 10), [3]);
        assert_eq!(
            slow(&[ms(1), ms(2), ms(3), ms(21)], 10),
            [0; 0],
            "by 19 ms only"
        );
        assert_eq!(
            slow(&[ms(10), ms(10), ms(99)], 10),
            [0; 0],
            "less than ten times"
        );
        assert_eq!(slow(&[ms(10), ms(10), ms(101)], 10), [2]);
        assert_eq!(
            slow(&[ms(1), ms(101)], 10),
            [0; 0],
            "one other says nothing"
        );
        assert_eq!(slow(&[ms(1), None, ms(101)], 10), [0; 0]);
        assert_eq!(slow(&[ms(200), ms(1), ms(1), ms(1), ms(300)], 10), [4, 0]);
        assert_eq!(
            slow(&[Some(10), Some(10), Some(9000)], 10),
            [0; 0],
            "9 ms are nothing"
        );
    }

    proptest! {
        /// As one would say it, for each by itself.
        #[test]
        fn it_is_what_the_rule_says(
            means in prop::collection::vec(prop::option::of(0_u64..200_000), 0..12),
            factor in 2_u32..20,
        ) {
            let wanted = (0..means.len()).filter(|&place| {
                let mut others: Vec<_> = means.iter().enumerate().filter(|&(other, _)| other != place)
                    .filter_map(|(_, mean)| *mean).collect();
                others.sort_unstable();
                let (Some(mean), false) = (means[place], others.len() < OTHERS_COMPARED_MIN) else { return false };
                let middle = others.len() / 2;
                let median = if others.len() % 2 == 1 { others[middle] } else { u64::midpoint(others[middle - 1], others[middle]) };
                mean > u64::from(factor) * median && mean > median + 20_000
            });
            let mut found = slow(&means, factor);
            prop_assert!(found.is_sorted_by_key(|&place| Reverse(means[place])));
            found.sort_unstable();
            prop_assert_eq!(found, wanted.collect::<Vec<_>>());
        }
    }
}
