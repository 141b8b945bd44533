//! What one look at the load says.

use proxy_core::backend::Evening;

use super::Id;
use proxy_state::Imbalance;

/// λ from which a load is uneven. Moving connections leaves what is under 0.25.
const UNEVEN_MIN: f64 = 0.3;

/// Utilization of the busiest core under which unevenness costs nobody anything.
const HOT_MIN: f64 = 0.7;

/// Utilization over ten seconds from which a core has no time left.
const FULL_MIN: f64 = 0.9;

/// Part of the time that a worker waits for its CPU, from which that is worth a word.
const STARVED_MIN: f64 = 0.1;

/// The load at one look. One entry a core where it says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// Utilization over the last ten seconds, a core.
    pub(super) utilization: Vec<f64>,
    /// Part of the last ten seconds that the worker could have run and waited for its CPU, a core.
    pub(super) waiting: Vec<f64>,
    /// Connections, a core.
    pub(super) connections: Vec<u64>,
    /// Live connections that moved in the last ten seconds.
    pub(super) moves: u64,
}

/// What one look says, with the reason for each.
pub(super) fn findings(evening: Evening, figures: &Figures) -> Vec<(Id, String)> {
    let mut found = Vec::new();
    if let Some((core, &waiting)) = greatest(&figures.waiting)
        && waiting >= STARVED_MIN
    {
        let why = format!(
            "the worker of core {core} waits for its CPU {} of the time",
            percent(waiting)
        );
        found.push((Id::CpuStarved, why));
    }
    let Some((hottest, &max)) = greatest(&figures.utilization) else {
        return found;
    };
    let least = figures
        .utilization
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min);
    if least >= FULL_MIN {
        let cores = figures.utilization.len();
        let why = format!("all {cores} cores are over {}", percent(FULL_MIN));
        found.push((Id::AddCores, why));
    }
    let ratio = Imbalance::of(&figures.utilization).ratio;
    if ratio < UNEVEN_MIN || max < HOT_MIN {
        return found;
    }
    let alone = figures.connections.get(hottest) == Some(&1);
    let id = match evening {
        _ if alone => Id::LoneElephant,
        Evening::CouldMove(_) => Id::EnableRebalance,
        Evening::Nothing => Id::UseStealing,
        // What still moves is not evened out by moving: the loads change sooner than they can be measured.
        Evening::Moves if figures.moves > 0 => Id::UseStealing,
        // Whatever could be moved, or stolen, was.
        Evening::Moves | Evening::Steals => Id::LoneElephant,
    };
    // An elephant that has room left is in nobody's way.
    if id != Id::LoneElephant || max >= FULL_MIN {
        let why = format!(
            "imbalance {ratio:.1}, core {hottest} at {} and the mean at {}",
            percent(max),
            percent(max / (1.0 + ratio))
        );
        found.push((id, why));
    }
    found
}

fn greatest(values: &[f64]) -> Option<(usize, &f64)> {
    values
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(utilization: &[f64], connections: &[u64]) -> Figures {
        Figures {
            utilization: utilization.to_vec(),
            connections: connections.to_vec(),
            ..Figures::default()
        }
    }

    fn ids(evening: Evening, figures: &Figures) -> Vec<Id> {
        let found = findings(evening, figures).into_iter();
        found.map(|(id, _)| id).collect()
    }

    #[test]
    fn each_load_has_its_advice() {
        use Evening::*;
        const OFF: Evening = CouldMove("do");
        // (utilization, connections, moves) under each scheduler
        type Case<'a> = (&'a [f64], &'a [u64], u64, Evening, &'a [Id]);
        let table: &[Case<'_>] = &[
            (&[0.9, 0.1], &[9, 9], 0, OFF, &[Id::EnableRebalance]),
            (&[0.9, 0.1], &[9, 9], 0, Nothing, &[Id::UseStealing]),
            (&[0.9, 0.1], &[9, 9], 0, Moves, &[Id::LoneElephant]),
            (&[0.9, 0.1], &[9, 9], 3, Moves, &[Id::UseStealing]),
            // Where workers steal, connections move all the time.
            (&[0.9, 0.1], &[9, 9], 3, Steals, &[Id::LoneElephant]),
            // One connection can't be moved anywhere better.
            (&[1.0, 0.1], &[1, 9], 0, OFF, &[Id::LoneElephant]),
            (&[1.0, 0.1], &[1, 9], 0, Nothing, &[Id::LoneElephant]),
            // An elephant with room left.
            (&[0.8, 0.1], &[1, 9], 0, Nothing, &[]),
            (&[0.8, 0.1], &[9, 9], 0, Steals, &[]),
            // Even, idle, hardly uneven, one core.
            (&[0.8, 0.8], &[9, 9], 0, OFF, &[]),
            (&[0.3, 0.0], &[9, 9], 0, OFF, &[]),
            (&[0.85, 0.6], &[9, 9], 0, OFF, &[]),
            (&[0.8], &[9], 0, Nothing, &[]),
            (&[], &[], 0, Nothing, &[]),
            (&[0.97, 0.95], &[9, 9], 0, Moves, &[Id::AddCores]),
            (&[0.97], &[9], 0, Steals, &[Id::AddCores]),
        ];
        for &(utilization, connections, moves, evening, wanted) in table {
            let figures = Figures {
                moves,
                ..figures(utilization, connections)
            };
            assert_eq!(ids(evening, &figures), wanted, "{evening:?} {figures:?}");
        }
    }

    #[test]
    fn a_worker_that_waits_is_starved() {
        let mut figures = figures(&[0.5, 0.5], &[1, 1]);
        figures.waiting = vec![0.02, 0.25];
        let found = findings(Evening::Steals, &figures);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Id::CpuStarved);
        assert!(
            found[0].1.contains("core 1 waits for its CPU 25 %"),
            "{}",
            found[0].1
        );
        figures.waiting = vec![0.02, 0.09];
        assert_eq!(ids(Evening::Steals, &figures), []);
    }
}
