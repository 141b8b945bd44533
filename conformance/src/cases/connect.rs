//! Servers that don't answer.

use std::time::Duration;

use proxy_core::REST;
use proxy_core::listen::BindAddress;
use proxy_core::metrics::{Cause, ConnectFailure};

use super::{ACKNOWLEDGEMENT, Counts, expect_end};
use crate::flow::{Flow, pump};
use crate::process::fresh_path;
use crate::real::RealStage;
use crate::stage::{Peer, Received, ServerKind, Setup, Stage};
use crate::wait::{elapse, settle, wait, wait_within};

/// The next server is tried, whichever comes first.
pub fn refused_server_is_passed_over<S: Stage>() {
    let stage = S::start(Setup {
        servers: vec![
            ServerKind::Refusing,
            ServerKind::Listening,
            ServerKind::Refusing,
        ],
        ..Setup::default()
    });
    for seed in 0..6 {
        let client = stage.connect();
        let server = wait(&stage, "a server that answers", || stage.accept(1));
        pump(
            &stage,
            &mut [
                Flow::new(&client, &server, seed, 1000).with_end(),
                Flow::new(&server, &client, !seed, 1000).with_end(),
            ],
        );
    }
    let counts = Counts(&stage);
    counts.expect_ended(Cause::Finished, 6);
    let refused = ConnectFailure::Refused;
    let failures = counts.failures(0, refused) + counts.failures(2, refused);
    assert!(failures > 0);
    assert_eq!(
        counts.retries(),
        failures,
        "each failure led to another server"
    );
    assert_eq!(counts.failures(1, refused), 0);
    assert!(!stage.pool().server(0).is_up());
    assert!(stage.pool().server(1).is_up());
    settle(&stage);
}

/// No server answers: the client is closed, and the counters say why.
pub fn all_refused<S: Stage>() {
    nobody_answers::<S>(ServerKind::Refusing, ConnectFailure::Refused);
}

/// A server that says nothing is given up after `connect_timeout`.
pub fn connect_timeout<S: Stage>() {
    nobody_answers::<S>(ServerKind::Silent, ConnectFailure::Timeout);
}

/// A name without an address is a failure of its own kind.
pub fn unresolved_name<S: Stage>() {
    nobody_answers::<S>(ServerKind::Unresolved, ConnectFailure::Resolve);
}

fn nobody_answers<S: Stage>(kind: ServerKind, failure: ConnectFailure) {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let stage = S::start(Setup {
        servers: vec![kind, kind],
        connect_timeout: TIMEOUT,
        ..Setup::default()
    });
    let begun_at = stage.now();
    let client = stage.connect();
    let limit = S::PATIENCE + 2 * TIMEOUT;
    let last = wait_within(&stage, limit, "the client is closed", || {
        match client.receive(&mut [0; 16]) {
            Received::Nothing => None,
            last => Some(last),
        }
    });
    assert_eq!(last, Received::End);
    if kind == ServerKind::Silent {
        assert!(
            stage.now() - begun_at > TIMEOUT * 3 / 2,
            "each server has its time"
        );
    }
    let counts = Counts(&stage);
    counts.expect_ended(Cause::ConnectFailed, 1);
    for server in [0, 1] {
        assert_eq!(counts.failures(server, failure), 1, "server {server}");
        let all: u64 = ConnectFailure::ALL
            .map(|any| counts.failures(server, any))
            .iter()
            .sum();
        assert_eq!(all, 1, "server {server} failed for other reasons");
        assert!(!stage.pool().server(server).is_up());
    }
    assert_eq!(counts.retries(), 1);
    settle(&stage);
}

/// A client that goes away without having said anything, while its server doesn't answer, is noticed long before the
/// connect is given up.
pub fn client_gone_while_connecting<S: Stage>() {
    const NOTICED_WITHIN: Duration = Duration::from_secs(30);
    let stage = S::start(Setup {
        servers: vec![ServerKind::Silent],
        connect_timeout: 4 * NOTICED_WITHIN,
        ..Setup::default()
    });
    stage.connect().reset();
    drop(stage.connect());
    let stays = stage.connect();
    // The kernel may take the third one only after the others.
    wait_within(&stage, NOTICED_WITHIN, "the clients are counted", || {
        (Counts(&stage).accepted() == 3).then_some(())
    });
    wait_within(&stage, NOTICED_WITHIN, "two connections end", || {
        (stage.listener().connections() == 1).then_some(())
    });
    Counts(&stage).expect_ended(Cause::ClientReset, 2);
    drop(stays);
    wait_within(&stage, NOTICED_WITHIN, "the third one ends", || {
        (stage.listener().connections() == 0).then_some(())
    });
    settle(&stage);
}

/// A client that sends and vanishes while the proxy still waits for a server affects nobody else.
pub fn client_that_leaves_while_connecting<S: Stage>() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let stage = S::start(Setup {
        servers: vec![ServerKind::Silent, ServerKind::Listening],
        connect_timeout: TIMEOUT,
        ..Setup::default()
    });
    for _ in 0..2 {
        let client = stage.connect();
        // What doesn't fit is not the point.
        let _ = client.send(&[1; 100]);
        client.reset();
    }
    let limit = S::PATIENCE + 2 * TIMEOUT + ACKNOWLEDGEMENT;
    wait_within(&stage, limit, "both connections end", || {
        (Counts(&stage).accepted() == 2 && stage.listener().connections() == 0).then_some(())
    });
    while stage.accept(1).is_some() {}
    let client = stage.connect();
    let server = wait_within(&stage, limit, "the next one is served", || stage.accept(1));
    pump(
        &stage,
        &mut [Flow::new(&client, &server, 1, 1000).with_end()],
    );
    drop(server);
    expect_end(&stage, &client);
    settle(&stage);
}

/// A server that refuses is tried once and then left alone for a while, without checks too.
pub fn refusing_server_gets_one_try_in_a_while<S: Stage>() {
    let stage = S::start(Setup {
        servers: vec![
            ServerKind::Refusing,
            ServerKind::Listening,
            ServerKind::Listening,
        ],
        ..Setup::default()
    });
    expect_one_try_in_a_while(&stage, 1..3);
}

/// So is an address of a name.
pub fn refusing_address_gets_one_try_in_a_while<S: Stage>() {
    let stage = S::start(Setup {
        servers: vec![
            ServerKind::Refusing,
            ServerKind::Listening,
            ServerKind::Listening,
        ],
        one_name: true,
        ..Setup::default()
    });
    expect_one_try_in_a_while(&stage, 1..3);
    assert!(stage.pool().server(0).is_up());
}

/// Connections one after the other, of which `served` have their parts, and the first server has a try each [`REST`].
fn expect_one_try_in_a_while<S: Stage>(stage: &S, served: std::ops::Range<usize>) {
    const CONNECTIONS: usize = 20;
    let counts = Counts(stage);
    let failures = || counts.failures(0, ConnectFailure::Refused);
    for round in 0..2 {
        let (begun_at, before) = (stage.now(), failures());
        let mut parts = vec![0; served.end];
        for seed in 0..CONNECTIONS as u64 {
            let client = stage.connect();
            let (index, server) = wait(stage, "a server that answers", || {
                served
                    .clone()
                    .find_map(|index| Some((index, stage.accept(index)?)))
            });
            parts[index] += 1;
            pump(
                stage,
                &mut [Flow::new(&client, &server, seed, 100).with_end()],
            );
            drop(server);
            expect_end(stage, &client);
        }
        // More than one only on a machine that takes seconds for this.
        let rests = (stage.now() - begun_at).as_secs_f64() / REST.as_secs_f64();
        let tries = failures() - before;
        assert!(
            (1..=1 + rests.ceil() as u64).contains(&tries),
            "{tries} tries of the server that refuses"
        );
        let fair = CONNECTIONS / served.len();
        let close = |part: usize| part.abs_diff(fair) <= 2 + rests as usize;
        assert!(
            parts[served.clone()].iter().all(|&part| close(part)),
            "{parts:?}"
        );
        if round == 0 {
            elapse(stage, REST);
        }
    }
    settle(stage);
}

/// Every client is served by the one address that works, however many connect at once.
pub fn each_client_tries_each_address<S: Stage>() {
    for first in [ServerKind::Refusing, ServerKind::Silent] {
        const TIMEOUT: Duration = Duration::from_millis(300);
        let stage = S::start(Setup {
            servers: vec![first, ServerKind::Listening, first],
            one_name: true,
            connect_timeout: TIMEOUT,
            ..Setup::default()
        });
        let limit = S::PATIENCE + 3 * TIMEOUT;
        let clients: Vec<_> = (0..60).map(|_| stage.connect()).collect();
        let servers: Vec<_> = clients
            .iter()
            .map(|_| wait_within(&stage, limit, "each is served", || stage.accept(1)))
            .collect();
        assert_eq!(stage.listener().connections(), 60);
        drop((clients, servers));
        settle(&stage);
        Counts(&stage).expect_ended(Cause::Finished, 60);
    }
}

/// A silent address holds nobody up for as long as a connect may take: another one is tried beside it, and wins.
pub fn silent_address_is_outrun<S: Stage>() {
    const TIMEOUT: Duration = Duration::from_secs(120);
    let stage = S::start(Setup {
        servers: vec![
            ServerKind::Silent,
            ServerKind::Listening,
            ServerKind::Silent,
        ],
        one_name: true,
        connect_timeout: TIMEOUT,
        ..Setup::default()
    });
    let counts = Counts(&stage);
    for seed in 0..3 {
        let client = stage.connect();
        let limit = S::PATIENCE + TIMEOUT / 4;
        let server = wait_within(&stage, limit, "it is served", || stage.accept(1));
        pump(
            &stage,
            &mut [
                Flow::new(&client, &server, seed, 1000).with_end(),
                Flow::new(&server, &client, !seed, 1000).with_end(),
            ],
        );
    }
    counts.expect_ended(Cause::Finished, 3);
    // They were given up, and have not failed.
    assert_eq!(counts.failures(0, ConnectFailure::Timeout), 0);
    assert!(counts.retries() >= 1, "another address was tried");
    assert!(stage.pool().server(0).is_up());
    settle(&stage);
}

/// A name's addresses take turns.
pub fn connections_are_spread_over_a_names_addresses<S: Stage>() {
    let stage = S::start(Setup {
        servers: vec![ServerKind::Listening; 3],
        one_name: true,
        ..Setup::default()
    });
    for _ in 0..4 {
        let clients = [(); 3].map(|()| stage.connect());
        let servers = [0, 1, 2].map(|index| {
            wait(&stage, "a connection to each address", || {
                stage.accept(index)
            })
        });
        drop((clients, servers));
    }
    settle(&stage);
}

/// A unix socket's queue that is full is no refusal: the connect is made again until there is room.
pub fn full_unix_server_is_waited_for<S: RealStage>() {
    let path = fresh_path("listener");
    let stage = S::start_on(
        &BindAddress::Unix(path.clone()),
        Setup {
            servers: vec![ServerKind::Silent],
            ..Setup::default()
        },
    );
    let clients = [(); 5].map(|()| stage.connect());
    for client in &clients {
        client.send(&[7; 100]).expect("the proxy takes it");
    }
    elapse(&stage, Duration::from_millis(200));
    for client in &clients {
        assert_eq!(client.receive(&mut [0; 1]), Received::Nothing, "it waits");
    }
    assert_eq!(stage.pool().server(0).connections(), 5);
    // Those that fill the queue come first, and say nothing.
    let mut silent = Vec::new();
    let mut served = Vec::new();
    wait(&stage, "the queue moves on", || {
        silent.extend(stage.accept(0));
        silent.retain(|server| match server.receive(&mut [0; 100]) {
            Received::Bytes(100) => {
                served.push(server.send(&[8]));
                false
            }
            Received::Nothing => true,
            other => panic!("{other:?}"),
        });
        (served.len() == clients.len()).then_some(())
    });
    for reason in ConnectFailure::ALL {
        assert_eq!(Counts(&stage).failures(0, reason), 0, "{reason:?}");
    }
    drop((clients, silent));
    settle(&stage);
    stage.stop();
    let _ = std::fs::remove_file(path);
}

/// A queue that stays full is given up after `connect_timeout`.
pub fn full_unix_server_times_out<S: RealStage>() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let path = fresh_path("listener");
    let stage = S::start_on(
        &BindAddress::Unix(path.clone()),
        Setup {
            servers: vec![ServerKind::Silent, ServerKind::Silent],
            connect_timeout: TIMEOUT,
            ..Setup::default()
        },
    );
    let client = stage.connect();
    expect_end(&stage, &client);
    let counts = Counts(&stage);
    counts.expect_ended(Cause::ConnectFailed, 1);
    for server in [0, 1] {
        assert_eq!(counts.failures(server, ConnectFailure::Timeout), 1);
        assert_eq!(counts.failures(server, ConnectFailure::Refused), 0);
    }
    settle(&stage);
    stage.stop();
    let _ = std::fs::remove_file(path);
}
