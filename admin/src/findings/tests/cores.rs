//! What the cores' load means.

use proxy_core::View;
use proxy_core::backend::Evening;

use super::*;
use crate::fixture::STEALING;

#[test]
fn a_hot_core_is_told_with_its_cause() {
    let crowded = [
        (0.2, 10, 1e6),
        (0.2, 10, 1e6),
        (0.2, 10, 1e6),
        (0.97, 90, 8e6),
    ];
    let found = only(&state(&crowded));
    assert_eq!(found.level, Level::Alarm);
    assert_eq!(
        found.what,
        "core 3 is at 97 % over ten seconds, the others at 20 %"
    );
    assert_eq!(found.why, "it has 90 of the 120 connections");
    assert!(found.remedy.contains(STEALING.keys), "{}", found.remedy);

    let heavy = [(0.97, 4, 9e8), (0.1, 40, 1e6)];
    let found = only(&state(&heavy));
    assert_eq!(
        found.what,
        "core 0 is at 97 % over ten seconds, the other at 10 %"
    );
    assert_eq!(
        found.why,
        "it moved 100 % of the last second's bytes with 9 % of the connections: a few heavy ones"
    );

    let elephant = [(0.97, 1, 9e8), (0.0, 0, 0.0)];
    let found = only(&state(&elephant));
    assert!(
        found.remedy.starts_with("one connection can't"),
        "{}",
        found.remedy
    );
}

#[test]
fn a_remedy_fits_what_runs() {
    let heavy = state(&[(0.97, 4, 9e8), (0.1, 40, 1e6)]);
    let remedy = |evening| {
        let observed = fixture::proxy_with(evening);
        found(&heavy, &observed)[0].remedy.clone()
    };
    assert!(remedy(Evening::CouldMove("set enabled = true")).contains("set enabled = true"));
    assert!(!remedy(Evening::Steals).contains(STEALING.keys));
    let on = remedy(Evening::Moves);
    assert!(on.starts_with("rebalancing is on"), "{on}");
    assert!(!on.contains("enabled"), "{on}");

    let busy = state(&[(0.95, 4, 1e6), (0.96, 4, 1e6)]);
    let remedy = |has_spare_cpus| {
        let scene = Scene {
            state: &busy,
            observed: &fixture::proxy(),
            view: &View::default(),
            recent: &Recent::default(),
            origin: origin(),
            at: SECOND,
            has_spare_cpus,
        };
        of(&scene, &mut Held::default())[0].remedy.clone()
    };
    assert!(remedy(true).contains("[runtime] cores"));
    assert!(!remedy(false).contains("[runtime] cores"), "it has all");
}

#[test]
fn what_is_not_hot_is_no_alarm() {
    // Utilization, the level, and how it begins.
    let table: &[(&[f64], Level, &str)] = &[
        (&[0.0, 0.01], Level::Good, "all cores are idle"),
        (
            &[0.5, 0.45],
            Level::Good,
            "the load is even: cores are at 45 % to 50 % over ten seconds",
        ),
        (
            &[0.3, 0.1],
            Level::Good,
            "the load is uneven, but light: cores are at 10 % to 30 % over ten seconds",
        ),
        (
            &[0.6, 0.1],
            Level::Warning,
            "core 0 is at 60 % over ten seconds, the other at 10 %",
        ),
        (
            &[0.95, 0.9],
            Level::Alarm,
            "all cores are busy: 92 % on average over ten seconds",
        ),
        (
            &[0.5],
            Level::Good,
            "the only core is at 50 % over ten seconds",
        ),
        (
            &[0.97],
            Level::Alarm,
            "the only core is at 97 % over ten seconds",
        ),
    ];
    for &(used, level, what) in table {
        let cores: Vec<_> = used.iter().map(|&used| (used, 5, 1e3)).collect();
        let found = only(&state(&cores));
        assert_eq!((found.level, &found.what[..]), (level, what));
    }
}
