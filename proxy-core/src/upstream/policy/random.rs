//! Places at random, by weight, at a cost that doesn't depend on their number.

/// Walker's table of aliases: one throw names a column, and which of its two places.
#[derive(Debug)]
pub(crate) struct Lots(Box<[Column]>);

#[derive(Clone, Copy, Debug)]
struct Column {
    /// Of [`WHOLE`], how much of it is the own place's.
    own: u32,
    alias: u16,
}

const WHOLE: u64 = 1 << 32;

impl Lots {
    /// Of places with these weights, not all of them zero.
    pub(crate) fn new(weights: &[u16]) -> Self {
        let count = weights.len() as u64;
        let all: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        // In parts of `all`, each column has `all`, and there are `count` times a place's weight for it.
        let mut parts: Vec<u64> = weights
            .iter()
            .map(|&weight| u64::from(weight) * count)
            .collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) =
            (0..weights.len()).partition(|&place| parts[place] < all);
        let mut columns: Vec<_> = (0..weights.len())
            .map(|place| Column {
                own: u32::MAX,
                alias: place as u16,
            })
            .collect();
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            columns[low] = Column {
                own: (parts[low] * WHOLE / all.max(1)) as u32,
                alias: high as u16,
            };
            parts[high] -= all - parts[low];
            if parts[high] < all {
                large.pop();
                small.push(high);
            }
        }
        Self(columns.into())
    }

    /// The place that a random number stands for.
    pub(crate) fn draw(&self, random: u64) -> usize {
        let place = (((random >> 32) * self.0.len() as u64) >> 32) as usize;
        let column = self.0[place];
        if (random as u32) < column.own || usize::from(column.alias) == place {
            place
        } else {
            column.alias.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::policy::hash::mix;

    #[test]
    fn parts_are_as_the_weights_by_chi_square() {
        let weights = [1, 2, 0, 256, 40, 1, 100];
        let lots = Lots::new(&weights);
        const DRAWS: u64 = 400_000;
        let mut counts = [0_u64; 7];
        for number in 0..DRAWS {
            counts[lots.draw(mix(number))] += 1;
        }
        let all = 400.0;
        let mut chi_square = 0.0;
        for (count, weight) in counts.into_iter().zip(weights) {
            if weight == 0 {
                assert_eq!(count, 0);
                continue;
            }
            let wanted = DRAWS as f64 * f64::from(weight) / all;
            chi_square += (count as f64 - wanted).powi(2) / wanted;
        }
        // Five degrees of freedom: once in a thousand is 20.5 exceeded. The numbers are always the same ones.
        assert!(chi_square < 20.5, "{chi_square}: {counts:?}");
    }
}
