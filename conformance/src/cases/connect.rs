//! Servers that don't answer.

use std::time::Duration;

use proxy_core::metrics::{Cause, ConnectFailure};

use super::{Counts, expect_end};
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, ServerKind, Setup, Stage};
use crate::wait::{settle, wait, wait_within};

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
    assert!(!stage.upstream().servers()[0].is_up());
    assert!(stage.upstream().servers()[1].is_up());
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
            stage.now() - begun_at >= 2 * TIMEOUT,
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
        assert!(!stage.upstream().servers()[server].is_up());
    }
    assert_eq!(counts.retries(), 1);
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
    let limit = S::PATIENCE + 2 * TIMEOUT;
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
