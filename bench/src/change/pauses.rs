//! The longest pauses of connections.

use std::time::Duration;

/// The longest pauses of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pauses {
    /// All connections but a hundredth had no longer one.
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Pauses {
    /// Of each connection's longest one, the shortest first.
    pub(super) fn of(longest: &[Duration]) -> Self {
        let rank = (longest.len() as f64 * 0.99).ceil() as usize;
        let at = |rank: usize| longest.get(rank.saturating_sub(1)).copied();
        Self {
            p99: at(rank).unwrap_or_default(),
            max: at(longest.len()).unwrap_or_default(),
        }
    }
}

/// Of each connection's longest ones before the change and from then on: those of either time, the shortest first.
pub(super) fn shortest_first(longest: impl Iterator<Item = [Duration; 2]>) -> [Vec<Duration>; 2] {
    let (before, during): (Vec<_>, Vec<_>) =
        longest.map(|[before, during]| (before, during)).unzip();
    [before, during].map(|mut longest| {
        longest.sort_unstable();
        longest
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_of_the_connections_is_over_the_p99() {
        let longest: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(
            Pauses::of(&longest),
            Pauses {
                p99: Duration::from_millis(198),
                max: Duration::from_millis(200)
            }
        );
        assert_eq!(Pauses::of(&[]).max, Duration::ZERO);
        assert_eq!(Pauses::of(&longest[..1]).p99, Duration::from_millis(1));
    }
}
