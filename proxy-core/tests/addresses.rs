//! A name with several addresses: connects race where some are silent (RFC 8305).

use std::time::Duration;

use conformance::{
    Flow, Peer, Received, Scripted, ScriptedPeer, ServerKind, Setup, Stage, elapse, pump, run,
    settle, wait_within,
};
use proxy_core::metrics::{ConnectFailure, ServerCells};
use proxy_core::{ADDRESS_DELAY, ADDRESSES_TRIED_AT_ONCE_MAX, REST};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection has to do besides waiting.
const MOMENT: Duration = Duration::from_millis(20);

fn name(servers: Vec<ServerKind>) -> Setup {
    Setup {
        servers,
        one_name: true,
        connect_timeout: TIMEOUT,
        ..Setup::default()
    }
}

fn silent(count: usize) -> Vec<ServerKind> {
    vec![ServerKind::Silent; count]
}

fn of_server(stage: &Scripted, read: fn(&ServerCells) -> u64) -> u64 {
    stage.pool().server(0).cells.sum(read)
}

fn opened(stage: &Scripted) -> u64 {
    of_server(stage, |cells| cells.opened.get())
}

fn failures(stage: &Scripted) -> u64 {
    let timeouts = |cells: &ServerCells| cells.failures[ConnectFailure::Timeout as usize].get();
    of_server(stage, timeouts)
}

/// A client, the end of its connection that a server has, and how long that took.
fn served(stage: &Scripted, by: usize) -> (ScriptedPeer, ScriptedPeer, Duration) {
    let begun_at = stage.now();
    let client = stage.connect();
    let server = wait_within(stage, TIMEOUT, "it is served", || stage.accept(by));
    (client, server, stage.now() - begun_at)
}

/// The next address is tried a quarter of a second later, and the silent one is passed over for a while.
#[test]
fn a_silent_address_is_outrun() {
    run::<Scripted>(|| {
        let stage = Scripted::start(name(vec![ServerKind::Silent, ServerKind::Listening]));
        let (client, server, took) = served(&stage, 1);
        assert!(
            (ADDRESS_DELAY..ADDRESS_DELAY + MOMENT).contains(&took),
            "{took:?}"
        );
        pump(
            &stage,
            &mut [Flow::new(&client, &server, 1, 1000).with_end()],
        );
        drop((client, server));
        for _ in 0..4 {
            let (_client, _server, took) = served(&stage, 1);
            assert!(took < MOMENT, "{took:?}");
        }
        assert_eq!((opened(&stage), failures(&stage)), (6, 0));
        elapse(&stage, REST);
        // Of those that follow one tries it again.
        let slow = (0..4).filter(|_| served(&stage, 1).2 >= ADDRESS_DELAY);
        assert_eq!(slow.count(), 1);
        assert!(stage.pool().server(0).is_up());
        settle(&stage);
    });
}

/// The first one that answers has the connection, though it was asked first and another one after it.
#[test]
fn one_that_answers_late_still_wins() {
    run::<Scripted>(|| {
        let stage = Scripted::start(name(silent(2)));
        let client = stage.connect();
        elapse(&stage, ADDRESS_DELAY + MOMENT);
        assert_eq!(opened(&stage), 2);
        stage.answer(0);
        let server = wait_within(&stage, MOMENT, "it is served", || stage.accept(0));
        pump(
            &stage,
            &mut [Flow::new(&client, &server, 1, 1000).with_end()],
        );
        // The other one was given up: nobody is there to be answered.
        stage.answer(1);
        assert!(stage.accept(1).is_none());
        assert_eq!(failures(&stage), 0);
        drop((client, server));
        settle(&stage);
    });
}

/// One that fails makes room for the next one at once, and those that are silent go on.
#[test]
fn a_refusal_hurries_the_next_one() {
    run::<Scripted>(|| {
        let kinds = vec![
            ServerKind::Silent,
            ServerKind::Refusing,
            ServerKind::Listening,
        ];
        let stage = Scripted::start(name(kinds));
        let (client, server, took) = served(&stage, 2);
        assert!(
            (ADDRESS_DELAY..ADDRESS_DELAY + MOMENT).contains(&took),
            "{took:?}"
        );
        assert_eq!((of_server(&stage, refused), failures(&stage)), (1, 0));
        drop((client, server));
        settle(&stage);
    });
    fn refused(cells: &ServerCells) -> u64 {
        cells.failures[ConnectFailure::Refused as usize].get()
    }
}

/// All are silent: each has its whole time, and the client is closed when the last one has had it.
#[test]
fn where_all_are_silent_the_client_is_closed_in_time() {
    run::<Scripted>(|| {
        let stage = Scripted::start(name(silent(3)));
        let begun_at = stage.now();
        let client = stage.connect();
        let end = wait_within(&stage, 2 * TIMEOUT, "the client is closed", || match client
            .receive(&mut [0; 16])
        {
            Received::Nothing => None,
            last => Some(last),
        });
        assert_eq!(end, Received::End);
        let (took, wanted) = (stage.now() - begun_at, TIMEOUT + 2 * ADDRESS_DELAY);
        assert!((wanted..wanted + MOMENT).contains(&took), "{took:?}");
        assert_eq!((opened(&stage), failures(&stage)), (3, 3));
        assert!(!stage.pool().server(0).is_up());
        settle(&stage);
    });
}

/// So many connects are under way at a time, and no more.
#[test]
fn connects_at_a_time_are_bounded() {
    run::<Scripted>(|| {
        let most = ADDRESSES_TRIED_AT_ONCE_MAX;
        let mut kinds = silent(most);
        kinds.push(ServerKind::Listening);
        let stage = Scripted::start(name(kinds));
        let client = stage.connect();
        elapse(&stage, TIMEOUT - MOMENT);
        assert_eq!(opened(&stage), most as u64);
        // The first one has had its time.
        let server = wait_within(&stage, 2 * MOMENT, "it is served", || stage.accept(most));
        assert_eq!((opened(&stage), failures(&stage)), (most as u64 + 1, 1));
        drop((client, server));
        settle(&stage);
    });
}

/// A connect beside another one is paid for; where the budget is spent, there is none, and the first one goes on.
#[test]
fn a_race_is_paid_for() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            retry_budget: Some(0),
            ..name(silent(2))
        });
        // What there is without a budget's share.
        let clients: Vec<_> = (0..40).map(|_| stage.connect()).collect();
        elapse(&stage, TIMEOUT / 2);
        let begun = opened(&stage);
        assert!((40..80).contains(&begun), "{begun} connects");
        // Who has none beside it is served by the only one.
        stage.answer(0);
        stage.answer(1);
        elapse(&stage, MOMENT);
        assert_eq!(stage.pool().server(0).connections(), 40);
        assert_eq!(failures(&stage), 0);
        drop(clients);
        elapse(&stage, ADDRESS_DELAY);
        while let Some(server) = stage.accept(0).or_else(|| stage.accept(1)) {
            drop(server);
        }
        settle(&stage);
    });
}

/// A name with one address, and an address, have no race: their timer is set as often as ever.
#[test]
fn one_address_has_no_race() {
    run::<Scripted>(|| {
        let arms = |one_name| {
            let stage = Scripted::start(Setup {
                one_name,
                ..name(silent(1))
            });
            stage.keep_still();
            let client = stage.connect();
            elapse(&stage, TIMEOUT / 2);
            assert_eq!(opened(&stage), 1);
            let arms = stage.timer_arms();
            drop(client);
            elapse(&stage, proxy_core::CLIENT_CHECK_INTERVAL);
            settle(&stage);
            arms
        };
        let looks = TIMEOUT.as_millis() / proxy_core::CLIENT_CHECK_INTERVAL.as_millis();
        for one_name in [false, true] {
            let count = arms(one_name);
            assert!(u128::from(count) <= looks, "set {count} times");
        }
    });
}
