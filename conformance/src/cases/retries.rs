//! Connects beyond the first one, where there is a budget for them: servers that take a connection and end it, and servers that
//! have all failed.

use std::num::NonZeroU32;
use std::time::Duration;

use proxy_core::metrics::{Cause, ConnectFailure};
use proxy_core::prologue::proxy_protocol::Version;
use proxy_core::{
    EjectionSettings, HALF_CONNECTED_FOR, RETRIES_AT_ONCE_MIN, RETRIES_PER_SECOND_MIN,
    SERVERS_TRIED_MAX, SendProxy, SendTlvs,
};

use super::prologue::hear;
use super::{Counts, expect_end, expect_reset};
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, ServerKind, Setup, Stage};
use crate::wait::{elapse, settle, wait, wait_within};

/// Enough for every retry of a case that isn't about it.
const ALL: Option<u8> = Some(100);

fn two_servers(retry_budget: Option<u8>) -> Setup {
    Setup {
        servers: vec![ServerKind::Listening; 2],
        retry_budget,
        ..Setup::default()
    }
}

/// The same, where every end is at once that comes before a byte, however slow the machine is.
fn two_servers_on_any_machine() -> Setup {
    const LONG: Duration = Duration::from_secs(600);
    Setup {
        ejection: Some(EjectionSettings {
            consecutive_failures: NonZeroU32::MAX,
            early: Some(LONG),
            slow_factor: NonZeroU32::MAX,
            interval: LONG,
            base: LONG,
            max: LONG,
            largest_share: 10,
            panic_threshold: 50,
        }),
        ..two_servers(ALL)
    }
}

/// The next client's server, and which one it is.
fn next_server<S: Stage>(stage: &S) -> (usize, S::Peer) {
    wait(stage, "a server takes the connection", || {
        (0..2).find_map(|server| Some((server, stage.accept(server)?)))
    })
}

/// The server that the connection comes to next is this one.
fn expect_server<S: Stage>(stage: &S, place: usize) -> S::Peer {
    wait(stage, "the other server takes it", || stage.accept(place))
}

/// A server that ends the connection, orderly or by a reset, and has said nothing.
fn end<S: Stage>(stage: &S, server: S::Peer, by_reset: bool) {
    if by_reset {
        // It must not come while the connect is being decided.
        elapse(stage, Duration::from_millis(20));
        server.reset();
    }
}

fn exchange<S: Stage>(stage: &S, client: &S::Peer, server: &S::Peer, seed: u64) {
    pump(
        stage,
        &mut [
            Flow::new(client, server, seed, 100_000).with_end(),
            Flow::new(server, client, !seed, 100_000).with_end(),
        ],
    );
}

/// A server that takes a connection and ends it, orderly or by a reset: its client has another one, and hears nothing of it.
pub fn half_connected_server_is_passed_over<S: Stage>() {
    for by_reset in [false, true] {
        let stage = S::start(two_servers_on_any_machine());
        let client = stage.connect();
        let (liar, server) = next_server(&stage);
        end(&stage, server, by_reset);
        let server = expect_server(&stage, 1 - liar);
        exchange(&stage, &client, &server, 7);
        drop((client, server));
        settle(&stage);
        let counts = Counts(&stage);
        counts.expect_ended(Cause::Finished, 1);
        assert_eq!(counts.failures(liar, ConnectFailure::Closed), 1);
        assert_eq!(counts.retries(), 1);
        assert_eq!(counts.bytes(), (100_000, 100_000));
        // It rests like one that could not be connected to.
        assert!(!stage.pool().server(liar).is_up());
        for seed in 0..4 {
            let client = stage.connect();
            let server = expect_server(&stage, 1 - liar);
            exchange(&stage, &client, &server, seed);
        }
        settle(&stage);
    }
}

/// Without a budget it is the end that it always was.
pub fn half_connected_server_without_a_budget_is_the_end<S: Stage>() {
    for by_reset in [false, true] {
        let stage = S::start(two_servers(None));
        let client = stage.connect();
        let (liar, server) = next_server(&stage);
        end(&stage, server, by_reset);
        if by_reset {
            expect_reset(&stage, &client);
        } else {
            expect_end(&stage, &client);
        }
        drop(client);
        settle(&stage);
        assert!(stage.accept(1 - liar).is_none());
        assert_eq!(Counts(&stage).failures(liar, ConnectFailure::Closed), 0);
        assert!(stage.pool().server(liar).is_up());
    }
}

/// What a server was sent may have been done: no other server gets it.
pub fn server_that_got_a_byte_is_not_left<S: Stage>() {
    for by_reset in [false, true] {
        let stage = S::start(two_servers(ALL));
        let client = stage.connect();
        let (place, server) = next_server(&stage);
        pump(&stage, &mut [Flow::new(&client, &server, 1, 1)]);
        if by_reset {
            server.reset();
            expect_reset(&stage, &client);
        } else {
            drop(server);
            expect_end(&stage, &client);
        }
        expect_no_retry(&stage, client, place);
    }
}

/// So may what it said have been heard.
pub fn server_that_speaks_and_ends_is_not_left<S: Stage>() {
    let stage = S::start(two_servers(ALL));
    let client = stage.connect();
    let (place, server) = next_server(&stage);
    pump(&stage, &mut [Flow::new(&server, &client, 1, 1).with_end()]);
    expect_no_retry(&stage, client, place);
}

/// A client that has ended its stream may have come for nothing else.
pub fn server_whose_client_ended_first_is_not_left<S: Stage>() {
    let stage = S::start(two_servers(ALL));
    let client = stage.connect();
    let (place, server) = next_server(&stage);
    // The proxy has a server, and sees that the client is there.
    elapse(&stage, Duration::from_millis(20));
    client.shutdown_write();
    expect_end(&stage, &server);
    drop(server);
    expect_end(&stage, &client);
    expect_no_retry(&stage, client, place);
}

/// One that ends a connection that was silent for long has kept it.
pub fn server_that_kept_a_connection_is_not_left<S: Stage>() {
    let stage = S::start(two_servers(ALL));
    let client = stage.connect();
    let (place, server) = next_server(&stage);
    elapse(&stage, HALF_CONNECTED_FOR + Duration::from_millis(500));
    drop(server);
    expect_end(&stage, &client);
    expect_no_retry(&stage, client, place);
}

fn expect_no_retry<S: Stage>(stage: &S, client: S::Peer, place: usize) {
    drop(client);
    settle(stage);
    let counts = Counts(stage);
    assert_eq!(counts.retries(), 0);
    assert_eq!(counts.failures(place, ConnectFailure::Closed), 0);
    assert!(
        stage.accept(1 - place).is_none(),
        "the other server has a connection"
    );
}

/// A header is the proxy's own: each server gets one, and the client's bytes after it once.
pub fn half_connected_servers_each_get_a_header<S: Stage>() {
    let stage = S::start(Setup {
        send_proxy: Some(SendProxy {
            version: Version::V2,
            tlvs: SendTlvs::default(),
            instance: 1,
        }),
        ..two_servers_on_any_machine()
    });
    let client = stage.connect();
    let (liar, server) = next_server(&stage);
    let header = receive_header(&stage, &server);
    drop(server);
    let server = expect_server(&stage, 1 - liar);
    assert_eq!(receive_header(&stage, &server), header);
    exchange(&stage, &client, &server, 7);
    drop((client, server));
    settle(&stage);
    assert_eq!(Counts(&stage).bytes(), (100_000, 100_000));
}

/// A header of version 2, of which the 15th and 16th byte say how long the rest is.
fn receive_header<S: Stage>(stage: &S, server: &S::Peer) -> Vec<u8> {
    let mut header = hear(stage, server, 16);
    let rest = u16::from_be_bytes([header[14], header[15]]);
    header.extend(hear(stage, server, rest.into()));
    header
}

/// However many connections fail: their retries are the part of them that the budget says, and the minimum.
pub fn retries_stay_within_the_budget<S: Stage>() {
    const CONNECTIONS: u64 = 200;
    const PERCENT: u8 = 20;
    let stage = S::start(Setup {
        servers: vec![ServerKind::Refusing; 3],
        retry_budget: Some(PERCENT),
        ..Setup::default()
    });
    let begun_at = stage.now();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| stage.connect()).collect();
    let limit = S::PATIENCE + Duration::from_secs(60);
    for client in &clients {
        let last = wait_within(&stage, limit, "each client is closed", || {
            match client.receive(&mut [0; 16]) {
                Received::Nothing => None,
                last => Some(last),
            }
        });
        assert_eq!(last, Received::End);
    }
    let took = stage.now() - begun_at;
    drop(clients);
    settle(&stage);
    let counts = Counts(&stage);
    counts.expect_ended(Cause::ConnectFailed, CONNECTIONS);
    let share = CONNECTIONS * u64::from(PERCENT) / 100;
    let time = took.as_millis() as u64 * RETRIES_PER_SECOND_MIN / 1000;
    let most = share + RETRIES_AT_ONCE_MIN + time + 1;
    let retries = counts.retries();
    assert!(
        (share..=most).contains(&retries),
        "{retries} retries in {took:?}, at most {most} are allowed"
    );
    assert!(counts.retries_refused() > 0);
    let failures = |server| counts.failures(server, ConnectFailure::Refused);
    assert_eq!((0..3).map(failures).sum::<u64>(), CONNECTIONS + retries);
}

/// The only server refuses: it is tried again, until the time of a connect is over.
pub fn refusing_server_is_tried_again<S: Stage>() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let stage = S::start(Setup {
        servers: vec![ServerKind::Refusing],
        connect_timeout: TIMEOUT,
        retry_budget: ALL,
        ..Setup::default()
    });
    let begun_at = stage.now();
    let client = stage.connect();
    let limit = S::PATIENCE + TIMEOUT;
    let last = wait_within(&stage, limit, "the client is closed", || {
        match client.receive(&mut [0; 16]) {
            Received::Nothing => None,
            last => Some(last),
        }
    });
    assert_eq!(last, Received::End);
    assert!(stage.now() - begun_at <= limit);
    drop(client);
    settle(&stage);
    let counts = Counts(&stage);
    counts.expect_ended(Cause::ConnectFailed, 1);
    let tries = counts.failures(0, ConnectFailure::Refused);
    assert!(
        (2..=SERVERS_TRIED_MAX as u64).contains(&tries),
        "{tries} tries"
    );
    assert_eq!(counts.retries(), tries - 1);
}

/// A client that leaves while its server is to be tried again is noticed.
pub fn client_gone_between_tries<S: Stage>() {
    let stage = S::start(Setup {
        servers: vec![ServerKind::Refusing],
        connect_timeout: Duration::from_secs(3600),
        retry_budget: ALL,
        ..Setup::default()
    });
    let client = stage.connect();
    wait_within(
        &stage,
        S::PATIENCE + Duration::from_secs(1),
        "a retry",
        || (Counts(&stage).retries() > 0).then_some(()),
    );
    client.reset();
    wait_within(
        &stage,
        S::PATIENCE + Duration::from_secs(1),
        "its end",
        || (stage.listener().connections() == 0).then_some(()),
    );
    Counts(&stage).expect_ended(Cause::ClientReset, 1);
    settle(&stage);
}
