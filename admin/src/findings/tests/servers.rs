//! Servers that are down, and upstreams that serve nobody.

use super::*;

#[test]
fn servers_that_are_down_are_one_alarm_with_reason_and_since() {
    let origin = origin();
    let since = origin.instant + SECOND * 90;
    let upstreams: [(&str, &[_]); 3] = [
        ("aa", &[TIMEOUT, None]),
        ("bb", &[REFUSED, REFUSED]),
        ("cc", &[None]),
    ];
    let observed = observed(&upstreams, since, true);
    let at = SECOND * 100;
    let found = found_at(&idle(), &observed, origin, &mut Recent::default(), at);
    let told = &found[0];
    assert_eq!(
        (told.level, &told.what[..]),
        (
            Level::Alarm,
            "3 servers are down: bb has none left (2 of 2); aa 1 of 2"
        )
    );
    assert_eq!(
        told.why,
        "10.0.0.2:1 of bb: connection refused since 12:01:30 UTC; 10.0.0.2:2 of bb: connection refused since \
         12:01:30 UTC; 10.0.0.1:1 of aa: no answer (timeout) since 12:01:30 UTC; clients of bb are closed, though all \
         servers are still tried; the other servers of aa get the connections"
    );
    assert!(told.remedy.contains("nothing listens at 10.0.0.2:1"));
    assert_eq!(told.since, Some(1_700_049_690.0));
    // Nothing else is wrong.
    assert!(found[1..].iter().all(|found| found.level == Level::Good));

    let what = |upstreams: &[(&str, &[_])]| {
        let observed = super::observed(upstreams, since, true);
        let told = found_at(&idle(), &observed, origin, &mut Recent::default(), at).remove(0);
        (told.level, told.what)
    };
    let (level, told) = what(&[("aa", &[None, REFUSED])]);
    assert_eq!(level, Level::Warning);
    assert_eq!(told, "server 10.0.0.1:2 of upstream aa is down (1 of 2)");
    let (level, told) = what(&[("aa", &[REFUSED])]);
    assert_eq!(level, Level::Alarm);
    assert_eq!(
        told,
        "server 10.0.0.1:1 is down, the only one of upstream aa"
    );
}

#[test]
fn all_servers_are_looked_at() {
    let mut servers = vec![None; 1000];
    servers[999] = REFUSED;
    let observed = observed(&[("many", &servers)], origin().instant, true);
    let told = found(&idle(), &observed).remove(0);
    assert_eq!(
        told.what,
        "server 10.0.0.1:1000 of upstream many is down (1 of 1000)"
    );
}

#[test]
fn connects_that_all_fail_are_an_alarm_before_checks_notice() {
    let origin = origin();
    let observed = observed(&[("aa", &[None, None])], origin.instant, true);
    let mut recent = Recent::default();
    let upstream = observed.view().upstreams[0].upstream.clone();
    let cells = upstream.cells.of(observed.running().generation.slot(1));
    cells.unserved.add(3);
    let mut look =
        |second| found_at(&idle(), &observed, origin, &mut recent, SECOND * second).remove(0);
    let told = look(1);
    assert_eq!(
        (told.level, &told.what[..]),
        (Level::Alarm, "every connect of upstream aa fails")
    );
    assert_eq!(
        told.why,
        "3 clients of aa found no server since 12:00:01 UTC; its health checks haven't noticed yet"
    );
    // Once they have, it is one alarm still.
    for place in [0, 1] {
        fixture::server(&observed, place).set_down();
    }
    assert_eq!(
        look(2).what,
        "2 servers are down: aa has none left (2 of 2)"
    );
}
