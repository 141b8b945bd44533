//! What comes first, and what is over.

use super::*;

#[test]
fn what_is_over_is_told_in_the_past() {
    let origin = origin();
    let servers = [REFUSED];
    let observed = observed(&[("aa", &servers)], origin.instant, true);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    cells.rejected[0].add(1);
    let mut busy = state(&[(0.97, 4, 9e8), (0.1, 40, 1e3)]);
    busy.cores[0].waits = 0.4;
    let (mut recent, mut held) = (Recent::default(), Held::default());
    let mut look = |state: &State, second: u32| -> Vec<String> {
        let at = SECOND * second;
        let view = observed.view();
        recent.on_sample(Counts::read(&view), at);
        let scene = Scene {
            state,
            observed: &observed,
            view: &view,
            recent: &recent,
            origin,
            at,
            has_spare_cpus: false,
        };
        let findings = of(&scene, &mut held).into_iter();
        findings
            .map(|one| format!("{} ({})", one.what, one.why))
            .collect()
    };
    let now = look(&busy, 1).join("; ");
    for told in [
        "listener aa turns clients away: it has its max_connections",
        "core 0 waited 40 % of the last second for its CPU (something else runs there",
        "core 0 is at 97 % over ten seconds, the other at 10 % (it moved 100 % of the last second's bytes",
        "server 10.0.0.1:1 is down, the only one of upstream aa",
    ] {
        assert!(now.contains(told), "{told:?} is missing in: {now}");
    }
    fixture::server(&observed, 0).set_up(true, origin.instant);
    let then = look(&idle(), 5).join("; ");
    for told in [
        "listener aa turned clients away: it had its max_connections",
        "core 0 waited 40 % of a second for its CPU (something else ran there",
        "core 0 was at 97 % over ten seconds, the other at 10 % (it moved 100 % of a second's bytes",
        "server 10.0.0.1:1 was down, the only one of upstream aa",
    ] {
        assert!(then.contains(told), "{told:?} is missing in: {then}");
    }
    assert!(!then.contains("last second"), "{then}");
}

#[test]
fn trouble_is_told_by_urgency() {
    let mut state = state(&[(0.5, 5, 1e3), (0.5, 5, 1e3)]);
    state.cores[1].waits = 0.4;
    state.cores[1].cpu = Some(7);
    state.draining = true;
    let observed = observed(&[("pool", &[None, REFUSED])], origin().instant, false);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    cells.rejected[0].add(1);
    let what: Vec<_> = found(&state, &observed)
        .into_iter()
        .map(|finding| finding.what)
        .collect();
    assert_eq!(
        what,
        [
            "listener pool turns clients away: it has its max_connections (5)",
            "core 1 (CPU 7) waited 40 % of the last second for its CPU",
            "server 10.0.0.1:2 of upstream pool is down (1 of 2)",
            "it drains: no new connections are taken",
            "the load is even: cores are at 50 % to 50 % over ten seconds",
        ]
    );
}
