//! Connects beyond the first one, in virtual time: exactly as many as the budget says, and when.

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

/// Two servers that take every connection and end it: each retry is paid for, and then clients see what the server did.
#[test]
fn liars_cost_no_more_than_the_budget() {
    const CLIENTS: u64 = 12;
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            retry_budget: Some(0),
            ..Setup::default()
        });
        let clients: Vec<_> = (0..CLIENTS).map(|_| stage.connect()).collect();
        while stage.step() {}
        let mut dropped = 0;
        while dropped < CLIENTS + RETRIES_AT_ONCE_MIN {
            let server = wait(&stage, "a server to be dropped", || {
                (0..2).find_map(|server| stage.accept(server))
            });
            dropped += 1;
            drop(server);
        }
        clients.iter().for_each(|client| expect_end(&stage, client));
        drop(clients);
        settle(&stage);
        assert_eq!(retries(&stage), RETRIES_AT_ONCE_MIN);
        assert_eq!(refused(&stage), CLIENTS);
        let all = [0, 1].map(|server| failures(&stage, server, ConnectFailure::Closed));
        assert_eq!(all.iter().sum::<u64>(), dropped);
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

/// An end that comes after the last look is not passed on either.
#[test]
fn an_end_that_a_turn_receives_is_kept_from_the_client() {
    run::<Scripted>(|| {
        let (ends, told) = Ends::new(64);
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            retry_budget: Some(100),
            ends: Some(Arc::new(ends)),
            ..Setup::default()
        });
        let client = stage.connect();
        let (liar, server) = wait(&stage, "a server", || {
            (0..2).find_map(|server| Some((server, stage.accept(server)?)))
        });
        stage.end_at_receive(&server);
        let other = wait(&stage, "the other one", || stage.accept(1 - liar));
        pump(
            &stage,
            &mut [
                Flow::new(&client, &other, 1, 10_000).with_end(),
                Flow::new(&other, &client, 2, 10_000).with_end(),
            ],
        );
        drop((client, server, other));
        settle(&stage);
        assert_eq!(failures(&stage, liar, ConnectFailure::Closed), 1);
        let end = told.try_recv().ok().flatten().expect("an end was told");
        assert_eq!((end.retries, end.cause), (1, Cause::Finished));
        let server = end.server.expect("it had one");
        assert_eq!(server.id, stage.pool().server(1 - liar).id);
        assert_eq!((end.bytes_in, end.bytes_out), (10_000, 10_000));
    });
}

/// Bytes of the client's that were received and that the server did not take any more are gone: no other server may go on.
#[test]
fn bytes_that_were_lost_are_the_end() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            retry_budget: Some(100),
            ..Setup::default()
        });
        let client = stage.connect();
        let (place, server) = wait(&stage, "a server", || {
            (0..2).find_map(|server| Some((server, stage.accept(server)?)))
        });
        while stage.step() {}
        stage.cut_at_send(&server);
        client.send(&[7; 100]).expect("there is room");
        let last = wait_within(&stage, Duration::from_secs(5), "a reset", || {
            match client.receive(&mut [0; 16]) {
                Received::Nothing => None,
                last => Some(last),
            }
        });
        assert_eq!(last, Received::Reset);
        assert!(stage.accept(1 - place).is_none());
        assert_eq!(retries(&stage), 0);
        drop((client, server));
        settle(&stage);
    });
}

/// A connection that looks for another server is listed without one, and then with the one that it has.
#[test]
fn what_others_see_of_it_is_the_server_that_it_has() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            connect_timeout: Duration::from_secs(60),
            retry_budget: Some(100),
            ..Setup::default()
        });
        let seen = || {
            let mut seen = None;
            let live = &stage.listener().live;
            live.each(|one| seen = Some((one.id, one.server.map(|server| server.id))));
            seen.expect("it is listed")
        };
        let id = |place: usize| stage.pool().server(place).id;
        let client = stage.connect();
        let (liar, server) = wait(&stage, "a server", || {
            (0..2).find_map(|server| Some((server, stage.accept(server)?)))
        });
        while stage.step() {}
        let (number, first) = seen();
        assert_eq!(first, Some(id(liar)));
        stage.turn_into(1 - liar, ServerKind::Refusing);
        drop(server);
        while stage.step() {}
        assert_eq!(seen(), (number, None));
        assert_eq!(stage.pool().upstream().queue(), 1);
        assert_eq!(stage.pool().server(liar).connections(), 0);
        let patience = Duration::from_secs(60);
        let server = wait_within(&stage, patience, "it again", || stage.accept(liar));
        while stage.step() {}
        assert_eq!(seen(), (number, Some(id(liar))));
        drop((client, server));
        settle(&stage);
    });
}

/// Who is left by its server while the other one is full waits for a place there, for longer than a connect may take.
#[test]
fn who_is_left_by_its_server_waits_for_a_place_at_another_one() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            server_connections: Some(1),
            queue: Some(QueueSettings {
                max: 10,
                timeout: Duration::from_secs(600),
            }),
            connect_timeout: Duration::from_secs(1),
            retry_budget: Some(100),
            ..Setup::default()
        });
        let served = |client: &ScriptedPeer, server: &ScriptedPeer, seed| {
            pump(
                &stage,
                &mut [
                    Flow::new(client, server, seed, 10_000),
                    Flow::new(server, client, !seed, 10_000),
                ],
            );
        };
        let accept = || {
            wait(&stage, "a server", || {
                (0..2).find_map(|server| Some((server, stage.accept(server)?)))
            })
        };
        let talker = stage.connect();
        let (other, its_server) = accept();
        served(&talker, &its_server, 1);
        let left = stage.connect();
        let (liar, server) = accept();
        assert_ne!(liar, other);
        drop(server);
        while stage.step() {}
        assert_eq!(failures(&stage, liar, ConnectFailure::Closed), 1);
        elapse(&stage, Duration::from_secs(60));
        assert_eq!(stage.pool().upstream().queue(), 1);
        drop((talker, its_server));
        let (place, server) = accept();
        assert_eq!(place, other);
        served(&left, &server, 2);
        assert_eq!(retries(&stage), 1);
        drop((left, server));
        settle(&stage);
    });
}

#[test]
fn half_connected_server_is_asked_for_tls_again() {
    run::<Scripted>(conformance::cases::half_connected_server_is_asked_for_tls_again::<Scripted>);
}

/// So is one whose end comes behind the last look.
#[test]
fn an_end_that_is_received_while_asking_for_tls_is_followed_by_another_server() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            retry_budget: Some(100),
            prologue: Some(PrologueSettings {
                timeout: Duration::from_secs(1),
                hello: Some(HelloSettings {
                    starttls: Some(Protocol::Postgres),
                    not_tls: NotTls::Route,
                }),
                accept_proxy: None,
            }),
            ..Setup::default()
        });
        let client = stage.connect();
        let said = [SSL_REQUEST, &hello("a.example", 0, 16_384)].concat();
        client.send(&said).expect("there is room");
        let (liar, server) = wait(&stage, "a server", || {
            (0..2).find_map(|server| Some((server, stage.accept(server)?)))
        });
        stage.end_at_receive(&server);
        let other = wait(&stage, "the other one", || stage.accept(1 - liar));
        other.send(b"S").expect("there is room");
        while stage.step() {}
        let mut heard = vec![0; said.len() + 1];
        let mut count = 0;
        while let Received::Bytes(more) = other.receive(&mut heard[count..]) {
            count += more;
            while stage.step() {}
        }
        assert!(heard[..count] == said, "other bytes");
        assert_eq!(failures(&stage, liar, ConnectFailure::Closed), 1);
        client.reset();
        elapse(&stage, Duration::from_secs(120));
        drop((server, other));
        settle(&stage);
    });
}

/// What a client said before a server was looked for: its data, a header before it, or a header alone.
#[test]
fn what_was_heard_of_a_client_goes_to_one_server() {
    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";
    const DATA: &[u8] = b"the first words";
    for (first, second) in [(DATA, &b""[..]), (b"", DATA), (b"the", b" first words")] {
        let retried = Cell::new(0);
        run::<Scripted>(|| {
            let stage = Scripted::start(Setup {
                servers: vec![ServerKind::Listening; 2],
                retry_budget: Some(100),
                prologue: Some(PrologueSettings {
                    timeout: Duration::from_secs(1),
                    hello: None,
                    accept_proxy: Some(AcceptProxy {
                        expected: Expected::Required,
                        trusted: None,
                        untrusted: Untrusted::Refuse,
                    }),
                }),
                ..Setup::default()
            });
            let client = stage.connect();
            client
                .send(&[HEADER, first].concat())
                .expect("there is room");
            let next = || {
                let accept = |server| Some((server, stage.accept(server)?));
                wait(&stage, "a server", || (0..2).find_map(accept))
            };
            let (liar, server) = next();
            let hear = |server: &ScriptedPeer| {
                let mut heard = Vec::new();
                let mut buffer = [0; 100];
                while let Received::Bytes(count) = server.receive(&mut buffer) {
                    heard.extend_from_slice(&buffer[..count]);
                }
                heard
            };
            let has_heard = !hear(&server).is_empty();
            // What it doesn't hear from now on is lost with it.
            drop(server);
            if !has_heard {
                while stage.step() {}
                if let Some(server) = stage.accept(1 - liar) {
                    retried.set(retried.get() + 1);
                    client.send(second).expect("there is room");
                    while stage.step() {}
                    assert_eq!(hear(&server), DATA);
                    assert_eq!(retries(&stage), 1);
                    drop(server);
                }
            }
            drop(client);
            // Who is lost has a while.
            elapse(&stage, Duration::from_secs(120));
            settle(&stage);
            assert!(retries(&stage) <= 1);
        });
        assert!(retried.get() > 0, "after {first:?}");
    }
}
