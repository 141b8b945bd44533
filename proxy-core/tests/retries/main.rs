//! Connects beyond the first one, in virtual time: exactly as many as the budget says, and when.

mod half_connected;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use conformance::cases::{SSL_REQUEST, hello};
use conformance::{
    Flow, Peer, Received, Scripted, ScriptedPeer, ServerKind, Setup, Stage, elapse, pump, run,
    settle, wait, wait_within,
};
use proxy_core::metrics::{Cause, ConnectFailure, UpstreamCells};
use proxy_core::prologue::starttls::Protocol;
use proxy_core::prologue::{
    AcceptProxy, Expected, HelloSettings, NotTls, PrologueSettings, Untrusted,
};
use proxy_core::{
    CLIENT_CHECK_INTERVAL, Ends, QueueSettings, RETRIES_AT_ONCE_MIN, RETRIES_PER_SECOND_MIN,
    RETRY_PAUSE, RETRY_PAUSE_MAX, SERVERS_TRIED_MAX,
};

fn sum(stage: &Scripted, read: fn(&UpstreamCells) -> u64) -> u64 {
    stage.pool().upstream().cells.sum(read)
}

fn retries(stage: &Scripted) -> u64 {
    sum(stage, |cells| cells.retries.get())
}

fn refused(stage: &Scripted) -> u64 {
    sum(stage, |cells| cells.retries_refused.get())
}

fn failures(stage: &Scripted, server: usize, reason: ConnectFailure) -> u64 {
    let cells = &stage.pool().server(server).cells;
    cells.sum(|cells| cells.failures[reason as usize].get())
}

fn ended(stage: &Scripted, cause: Cause) -> u64 {
    let cells = &stage.listener().cells;
    cells.sum(|cells| cells.ended[cause as usize].get())
}

fn expect_end(stage: &Scripted, client: &ScriptedPeer) {
    let last = wait(stage, "the end of the stream", || {
        match client.receive(&mut [0; 16]) {
            Received::Nothing => None,
            last => Some(last),
        }
    });
    assert_eq!(last, Received::End);
}

/// No time passes, and no connection begins again: the budget alone says how many retries there are.
#[test]
fn each_budget_allows_its_share_and_the_minimum() {
    for (percent, connections, share) in [(20, 100, 20), (0, 50, 0), (50, 31, 15), (100, 40, 30)] {
        run::<Scripted>(|| {
            let stage = Scripted::start(Setup {
                servers: vec![ServerKind::Refusing; 2],
                connect_timeout: Duration::from_nanos(1),
                retry_budget: Some(percent),
                ..Setup::default()
            });
            let clients: Vec<_> = (0..connections)
                .map(|_| {
                    let client = stage.connect();
                    expect_end(&stage, &client);
                    client
                })
                .collect();
            assert_eq!(ended(&stage, Cause::ConnectFailed), connections);
            let wanted = share + RETRIES_AT_ONCE_MIN;
            assert_eq!(retries(&stage), wanted, "{percent} % of {connections}");
            // Who had its retry is not refused another one: it has no time for it.
            assert_eq!(refused(&stage), connections - wanted);
            let all = [0, 1].map(|server| failures(&stage, server, ConnectFailure::Refused));
            assert_eq!(all.iter().sum::<u64>(), connections + wanted);
            // The minimum comes back.
            elapse(&stage, Duration::from_secs(1));
            let before = retries(&stage);
            for _ in 0..3 * RETRIES_PER_SECOND_MIN {
                expect_end(&stage, &stage.connect());
            }
            let since = retries(&stage) - before;
            assert!(since >= RETRIES_PER_SECOND_MIN.min(connections), "{since}");
            drop(clients);
            settle(&stage);
        });
    }
}

/// Another address of a name is another connect.
#[test]
fn addresses_of_a_name_are_paid_for() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Refusing; 2],
            one_name: true,
            connect_timeout: Duration::from_nanos(1),
            retry_budget: Some(10),
            ..Setup::default()
        });
        for _ in 0..50 {
            expect_end(&stage, &stage.connect());
        }
        let wanted = 5 + RETRIES_AT_ONCE_MIN;
        assert_eq!((retries(&stage), refused(&stage)), (wanted, 50 - wanted));
        assert_eq!(
            failures(&stage, 0, ConnectFailure::Refused),
            50 + wanted,
            "each connection tries one address, and another one where that is paid for"
        );
        settle(&stage);
    });
}

/// A connect that worked and came to nothing is none that worked.
#[test]
fn who_is_left_by_its_only_server_was_never_connected() {
    run::<Scripted>(|| {
        let (ends, told) = Ends::new(64);
        let stage = Scripted::start(Setup {
            connect_timeout: Duration::from_millis(200),
            retry_budget: Some(100),
            ends: Some(Arc::new(ends)),
            ..Setup::default()
        });
        let client = stage.connect();
        let server = wait(&stage, "its server", || stage.accept(0));
        while stage.step() {}
        stage.turn_into(0, ServerKind::Refusing);
        drop(server);
        wait_within(&stage, Duration::from_millis(200), "the end", || {
            (ended(&stage, Cause::ConnectFailed) == 1).then_some(())
        });
        drop(client);
        settle(&stage);
        let end = told.try_recv().ok().flatten().expect("an end was told");
        assert_eq!(end.connect, None);
        assert_eq!(
            end.server.map(|server| server.id),
            Some(stage.pool().server(0).id)
        );
        assert_eq!(failures(&stage, 0, ConnectFailure::Closed), 1);
    });
}

/// Without a budget each server is tried once, and that at once.
#[test]
fn without_a_budget_nobody_is_tried_again() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Refusing; 3],
            ..Setup::default()
        });
        for _ in 0..50 {
            expect_end(&stage, &stage.connect());
        }
        assert_eq!((retries(&stage), refused(&stage)), (100, 0));
        settle(&stage);
    });
}

/// Pauses double at most, from the first one to the longest; together they take no longer than one connect may.
#[test]
fn pauses_between_tries_grow_and_end_with_the_time_of_a_connect() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    const STEP: Duration = Duration::from_millis(1);
    run::<Scripted>(|| {
        let (ends, told) = Ends::new(64);
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Refusing],
            connect_timeout: TIMEOUT,
            retry_budget: Some(100),
            ends: Some(Arc::new(ends)),
            ..Setup::default()
        });
        let begun_at = stage.now();
        let client = stage.connect();
        let mut tries_at = Vec::new();
        while ended(&stage, Cause::ConnectFailed) == 0 {
            elapse(&stage, STEP);
            while (tries_at.len() as u64) < failures(&stage, 0, ConnectFailure::Refused) {
                tries_at.push(stage.now() - begun_at);
            }
            assert!(stage.now() - begun_at <= TIMEOUT + STEP);
        }
        assert!((2..=SERVERS_TRIED_MAX).contains(&tries_at.len()));
        for (round, pair) in tries_at.windows(2).enumerate() {
            let most = (RETRY_PAUSE * (1 << round.min(10))).min(RETRY_PAUSE_MAX);
            let pause = pair[1] - pair[0];
            assert!(pause <= most + STEP, "{pause:?} after try {round}");
        }
        settle(&stage);
        drop(client);
        let end = told.try_recv().ok().flatten().expect("an end was told");
        assert_eq!(usize::from(end.retries), tries_at.len() - 1);
        assert_eq!((end.cause, end.connect), (Cause::ConnectFailed, None));
        assert_eq!(end.termination.to_string(), "SC");
    });
}

/// A server that is back while a client waits serves it.
#[test]
fn a_server_that_restarts_is_met_between_two_tries() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Refusing],
            connect_timeout: Duration::from_secs(60),
            retry_budget: Some(0),
            ..Setup::default()
        });
        let client = stage.connect();
        wait_within(&stage, RETRY_PAUSE * 4, "a retry", || {
            (retries(&stage) > 0).then_some(())
        });
        while stage.step() {}
        assert_eq!(stage.pool().upstream().queue(), 1);
        assert_eq!(stage.pool().server(0).connections(), 0);
        stage.turn_into(0, ServerKind::Listening);
        let server = wait_within(&stage, RETRY_PAUSE_MAX, "a try", || stage.accept(0));
        pump(
            &stage,
            &mut [
                Flow::new(&client, &server, 1, 100_000).with_end(),
                Flow::new(&server, &client, 2, 100_000).with_end(),
            ],
        );
        settle(&stage);
    });
}

/// Clients that leave between two tries, by a reset or orderly, are noticed at the next look.
#[test]
fn a_client_that_leaves_between_two_tries_is_noticed_in_time() {
    for by_reset in [false, true] {
        run::<Scripted>(|| {
            let stage = Scripted::start(Setup {
                servers: vec![ServerKind::Refusing],
                connect_timeout: Duration::from_secs(3600),
                retry_budget: Some(100),
                ..Setup::default()
            });
            let client = stage.connect();
            wait_within(&stage, RETRY_PAUSE * 4, "a retry", || {
                (retries(&stage) > 0).then_some(())
            });
            if by_reset {
                client.reset();
            } else {
                drop(client);
            }
            wait_within(&stage, CLIENT_CHECK_INTERVAL, "its end", || {
                (ended(&stage, Cause::ClientReset) == 1).then_some(())
            });
            settle(&stage);
        });
    }
}

/// A black hole costs its client the time of a connect, and the next server serves it; where the budget is spent, that is its end.
#[test]
fn a_black_hole_is_left_as_long_as_the_budget_lasts() {
    const TIMEOUT: Duration = Duration::from_millis(50);
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Silent, ServerKind::Listening],
            connect_timeout: TIMEOUT,
            retry_budget: Some(0),
            ..Setup::default()
        });
        // All of them choose before anybody knows.
        let clients: Vec<_> = (0..40).map(|_| stage.connect()).collect();
        elapse(&stage, TIMEOUT * 2);
        let served: Vec<_> = std::iter::from_fn(|| stage.accept(1)).collect();
        // A retry may come with the time that has passed.
        assert_eq!(retries(&stage), RETRIES_AT_ONCE_MIN);
        let wanted = 20 + RETRIES_AT_ONCE_MIN;
        assert_eq!(served.len() as u64, wanted);
        assert_eq!(refused(&stage), 40 - wanted);
        assert_eq!(ended(&stage, Cause::ConnectFailed), 40 - wanted);
        drop((clients, served));
        settle(&stage);
    });
}

/// A server that hangs when it is tried again costs no more time than one that always did.
#[test]
fn later_tries_end_with_the_time_of_a_connect_too() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Refusing],
            connect_timeout: TIMEOUT,
            retry_budget: Some(100),
            ..Setup::default()
        });
        let begun_at = stage.now();
        let client = stage.connect();
        wait(&stage, "it fails", || {
            (failures(&stage, 0, ConnectFailure::Refused) > 0).then_some(())
        });
        stage.turn_into(0, ServerKind::Silent);
        wait_within(&stage, TIMEOUT, "the end", || {
            (ended(&stage, Cause::ConnectFailed) == 1).then_some(())
        });
        assert_eq!(stage.now() - begun_at, TIMEOUT);
        assert_eq!(failures(&stage, 0, ConnectFailure::Timeout), 1);
        drop(client);
        settle(&stage);
    });
}
