//! What one sample of the load calls for.

use proxy_core::backend::Evening;

use super::id::Id;
use proxy_state::limits::{HOT_MIN, UNEVEN_MIN, WAITS_MIN, WARM_MIN};
use proxy_state::{Balance, Judgement, greatest};

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
        && waiting >= WAITS_MIN
    {
        let why = format!(
            "the worker of core {core} waits for its CPU {} of the time",
            percent(waiting)
        );
        found.push((Id::CpuStarved, why));
    }
    let Some(judged) = Judgement::of(&figures.utilization) else {
        return found;
    };
    let Judgement {
        hottest,
        most,
        mean,
        ratio,
        ..
    } = judged;
    if judged.balance == Balance::Full {
        let cores = figures.utilization.len();
        let why = format!("all {cores} cores are over {}", percent(HOT_MIN));
        found.push((Id::AddCores, why));
    }
    if ratio < UNEVEN_MIN || most < WARM_MIN {
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
    if id != Id::LoneElephant || most >= HOT_MIN {
        let why = format!(
            "imbalance {ratio:.1}, core {hottest} at {} and the mean at {}",
            percent(most),
            percent(mean)
        );
        found.push((id, why));
    }
    found
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
