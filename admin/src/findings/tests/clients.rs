//! Clients that are turned away, and why.

use proxy_core::metrics::{PrologueResult, Rejection};

use super::*;

#[test]
fn clients_that_are_turned_away_are_told_by_the_reason() {
    let observed = observed(&[("aa", &[None]), ("bb", &[None])], origin().instant, false);
    let reject = |listener: usize, reason: Rejection, count| {
        let listener = fixture::listener(&observed, listener);
        let cells = listener.cells.of(observed.running().generation.slot(0));
        cells.rejected[reason as usize].add(count);
    };
    reject(0, Rejection::MaxConnections, 2);
    reject(1, Rejection::MaxConnections, 12);
    reject(1, Rejection::Descriptors, 1);
    let found = found(&idle(), &observed);
    let told: Vec<_> = found
        .iter()
        .map(|found| (found.level, &found.what[..], &found.why[..]))
        .collect();
    assert_eq!(
        told[..2],
        [
            (
                Level::Alarm,
                "listener bb turns clients away: it has its max_connections (5); so does 1 other listener",
                "12 clients were closed at once since 12:00:01 UTC"
            ),
            (
                Level::Alarm,
                "listener bb can't take clients on: there is no descriptor or memory left",
                "accepting paused once since 12:00:01 UTC; clients wait meanwhile"
            ),
        ]
    );
    assert!(found[0].remedy.contains("[listeners.bb]"));
}

#[test]
fn peers_that_announce_nobody_are_told_of() {
    let observed = observed(&[("aa", &[None])], origin().instant, false);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    cells.prologue[PrologueResult::NoHeader as usize].add(3);
    cells.prologue[PrologueResult::Untrusted as usize].add(1);
    // Anybody may be slow, and a check is none's fault.
    cells.prologue[PrologueResult::Timeout as usize].add(30);
    cells.prologue[PrologueResult::Probe as usize].add(30);
    let found = found(&idle(), &observed);
    assert_eq!(found[0].level, Level::Warning);
    assert_eq!(
        found[0].what,
        "listener aa refuses clients: they begin with no header of the PROXY protocol"
    );
    assert_eq!(found[0].why, "4 clients were refused since 12:00:01 UTC");
}

/// What of the last second is told as past once another second has come.

#[test]
fn every_limit_is_told_but_not_who_is_denied() {
    let observed = observed(&[("aa", &[None])], origin().instant, false);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    for reason in [
        Rejection::Denied,
        Rejection::ProcessConnections,
        Rejection::SourceConnections,
        Rejection::PeerHeaders,
        Rejection::Rate,
        Rejection::SourceRate,
    ] {
        cells.rejected[reason as usize].add(3);
    }
    let found = found(&idle(), &observed);
    let told: Vec<_> = found
        .iter()
        .filter(|found| found.what.starts_with("listener aa"))
        .map(|found| (found.level, &found.what[..]))
        .collect();
    assert_eq!(
        told,
        [
            (
                Level::Alarm,
                "listener aa turns clients away: the process has its max_connections"
            ),
            (
                Level::Alarm,
                "listener aa turns clients away: more come than its max_rate"
            ),
            (
                Level::Warning,
                "listener aa turns clients away: a source has its max_connections_per_source"
            ),
            (
                Level::Warning,
                "listener aa turns clients away: a peer has its max_headers_per_peer of connections without a PROXY header"
            ),
            (
                Level::Warning,
                "listener aa turns clients away: a source is beyond its max_rate_per_source"
            ),
        ]
    );
}

#[test]
fn a_list_that_is_not_in_order_is_told() {
    let observed = observed(&[("aa", &[None])], origin().instant, false);
    let told = |problem: Option<&str>| {
        let list = crate::observed::client_lists::ClientList {
            file: "/etc/deny.txt".to_owned(),
            entries: 3,
            problem: problem.map(str::to_owned),
        };
        observed.client_lists.set(vec![list]);
        let found = found(&idle(), &observed);
        found
            .into_iter()
            .find(|found| found.what.starts_with("the list"))
    };
    let told_of = told(Some("line 2: no")).expect("it is told");
    assert_eq!(
        told_of.what,
        "the list /etc/deny.txt is not in order: what was read before stays in force"
    );
    assert_eq!(told_of.why, "line 2: no");
    assert_eq!(told(None).map(|found| found.what), None);
}

#[test]
fn a_listener_that_hears_nobody_is_told_with_what_its_clients_do() {
    let observed = observed(&[("aa", &[None])], origin().instant, false);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    let count = |result: PrologueResult, count| cells.prologue[result as usize].add(count);
    let mut recent = Recent::default();
    let mut look = |second| {
        let found = found_at(&idle(), &observed, origin(), &mut recent, SECOND * second);
        found
            .into_iter()
            .find(|found| found.what.starts_with("listener aa"))
    };
    // A scanner or two are nobody's fault.
    count(PrologueResult::NoHello, 2);
    assert_eq!(look(1), None);
    count(PrologueResult::Timeout, 5);
    let told = look(2).expect("it is told");
    assert_eq!(told.level, Level::Warning);
    assert_eq!(
        (&told.what[..], &told.why[..]),
        (
            "listener aa refuses every client: they say nothing for prologue_timeout",
            "7 clients were refused since 12:00:01 UTC, and none was heard"
        )
    );
    assert!(
        told.remedy.contains("the server is to speak first"),
        "{}",
        told.remedy
    );
    // Once somebody is heard, those that are not are their own fault.
    count(PrologueResult::Hello, 1);
    count(PrologueResult::Timeout, 5);
    assert_eq!(look(3), None);
}
