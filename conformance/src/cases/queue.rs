//! Servers that are full.

use std::time::Duration;

use proxy_core::QueueSettings;
use proxy_core::metrics::{Cause, ConnectFailure, Rejection};

use super::{Counts, expect_reset};
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, ServerKind, Setup, Stage};
use crate::wait::{settle, wait, wait_within};

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(600);

/// A server with one connection at a time, before which `max` wait for so long.
fn setup(max: u64, timeout: Duration) -> Setup {
    Setup {
        server_connections: Some(1),
        queue: Some(QueueSettings { max, timeout }),
        ..Setup::default()
    }
}

fn waiting<S: Stage>(stage: &S, count: u64) {
    wait(stage, "they wait", || {
        (stage.pool().upstream().slot_queue() == count).then_some(())
    });
}

/// Clients that wait, in the order in which they came. Each says its number.
fn queue<S: Stage>(stage: &S, numbers: std::ops::Range<u8>) -> Vec<S::Peer> {
    let before = stage.pool().upstream().slot_queue();
    let join = |(count, number)| {
        let client = stage.connect();
        client.send(&[number]).expect("there is room");
        waiting(stage, before + count);
        client
    };
    (1..).zip(numbers).map(join).collect()
}

/// The next connection to the first server, and the number of its client.
fn serve<S: Stage>(stage: &S) -> (S::Peer, u8) {
    let server = wait(stage, "the next one has its turn", || stage.accept(0));
    let mut number = [0];
    wait(stage, "it says its number", || {
        (server.receive(&mut number) == Received::Bytes(1)).then_some(())
    });
    (server, number[0])
}

/// Whoever came first is served first, one at a time, whichever workers they are on.
pub fn full_servers_are_waited_for_in_order<S: Stage>() {
    let stage = S::start(setup(100, LONG));
    let mut held = stage.pair();
    let mut clients = queue(&stage, 0..8);
    for number in 0..8 {
        assert!(stage.accept(0).is_none(), "it is full");
        drop(held);
        let (server, first) = serve(&stage);
        assert_eq!(first, number);
        assert_eq!(stage.pool().upstream().connections(), 1);
        held = (clients.remove(0), server);
    }
    // Who comes while others wait is behind them.
    let first = queue(&stage, 8..9);
    let second = queue(&stage, 9..10);
    drop(held);
    let (server, number) = serve(&stage);
    assert_eq!(number, 8);
    drop((server, first));
    let (server, number) = serve(&stage);
    assert_eq!(number, 9);
    drop((server, second));
    settle(&stage);
    Counts(&stage).expect_ended(Cause::Finished, 11);
    let waits = &stage.pool().upstream().cells;
    assert_eq!(
        waits.sum(|cells| cells.slot_waits.counts().sum::<u64>()),
        10
    );
}

/// A place that does not come in time: the client is refused, and the next one keeps its turn.
pub fn place_that_is_not_free_in_time<S: Stage>() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let stage = S::start(setup(100, TIMEOUT));
    let held = stage.pair();
    let begun_at = stage.now();
    let client = stage.connect();
    let last = wait_within(
        &stage,
        S::PATIENCE + TIMEOUT,
        "it is closed",
        || match client.receive(&mut [0; 16]) {
            Received::Nothing => None,
            last => Some(last),
        },
    );
    assert_eq!(last, Received::End);
    assert!(stage.now() - begun_at > TIMEOUT / 2);
    let counts = Counts(&stage);
    assert_eq!(counts.rejected(Rejection::QueueTimeout), 1);
    counts.expect_ended(Cause::Refused, 1);
    waiting(&stage, 0);
    let next = queue(&stage, 0..1);
    drop(held);
    let (server, _) = serve(&stage);
    drop((server, next));
    settle(&stage);
}

/// Who comes when as many wait as may is refused at once.
pub fn queue_that_is_full<S: Stage>() {
    let stage = S::start(setup(2, LONG));
    let held = stage.pair();
    let clients = queue(&stage, 0..2);
    let refused = stage.connect();
    let last = wait(&stage, "it is closed", || {
        match refused.receive(&mut [0; 16]) {
            Received::Nothing => None,
            last => Some(last),
        }
    });
    assert_eq!(last, Received::End);
    assert_eq!(Counts(&stage).rejected(Rejection::ServersFull), 1);
    drop(held);
    let (server, _) = serve(&stage);
    waiting(&stage, 1);
    // One has its place, so that there is room for one more.
    let next = queue(&stage, 2..3);
    drop((server, clients, next));
    wait(&stage, "the rest are served", || {
        stage.accept(0);
        (stage.listener().connections() == 0).then_some(())
    });
    settle(&stage);
}

/// A client that goes away leaves the queue at once, and what it would have had goes to the next one.
pub fn client_gone_while_it_waits_for_a_place<S: Stage>() {
    let stage = S::start(setup(100, LONG));
    let held = stage.pair();
    let [closes, resets] = [1, 2].map(|count| {
        let client = stage.connect();
        waiting(&stage, count);
        client
    });
    let stays = queue(&stage, 7..8);
    // No timer has to pass for it.
    closes.shutdown_write();
    waiting(&stage, 2);
    resets.reset();
    waiting(&stage, 1);
    Counts(&stage).expect_ended(Cause::ClientReset, 2);
    drop(held);
    let (server, number) = serve(&stage);
    assert_eq!(number, 7);
    drop((server, stays, closes));
    settle(&stage);
}

/// A client that has said something and ended its stream still waits for its answer.
pub fn client_that_has_spoken_keeps_its_turn<S: Stage>() {
    let stage = S::start(setup(100, LONG));
    let held = stage.pair();
    let clients = queue(&stage, 3..4);
    clients[0].shutdown_write();
    // The one behind it comes after that.
    let behind = queue(&stage, 4..5);
    drop(held);
    let (server, number) = serve(&stage);
    assert_eq!(number, 3);
    wait(&stage, "it has the end, too", || {
        (server.receive(&mut [0; 1]) == Received::End).then_some(())
    });
    server.send(b"answer").expect("there is room");
    server.shutdown_write();
    let mut answered = 0;
    wait(&stage, "the answer", || {
        if let Received::Bytes(count) = clients[0].receive(&mut [0; 16]) {
            answered += count;
        }
        (answered == 6).then_some(())
    });
    let (other, number) = serve(&stage);
    assert_eq!(number, 4);
    drop((server, clients, other, behind));
    settle(&stage);
}

/// A server that refuses while the other one is full: its client waits for the other one.
pub fn next_server_is_waited_for_after_a_refusal<S: Stage>() {
    let stage = S::start(Setup {
        servers: vec![ServerKind::Listening, ServerKind::Refusing],
        ..setup(100, LONG)
    });
    let held = stage.pair();
    let clients = queue(&stage, 0..3);
    let failures = Counts(&stage).failures(1, ConnectFailure::Refused);
    assert!(failures > 0, "the first one had tried it");
    drop(held);
    for number in 0..3 {
        let (server, first) = serve(&stage);
        assert_eq!(first, number);
        drop(server);
        clients[usize::from(number)].shutdown_write();
    }
    drop(clients);
    settle(&stage);
}

/// A stop cuts those who wait, too.
pub fn stop_cuts_those_who_wait<S: Stage>() {
    let stage = S::start(setup(100, LONG));
    let (client, server) = stage.pair();
    pump(&stage, &mut [Flow::new(&client, &server, 1, 1000)]);
    let waits = queue(&stage, 0..2);
    stage.stop();
    for peer in waits.iter().chain([&client, &server]) {
        expect_reset(&stage, peer);
    }
    Counts(&stage).expect_ended(Cause::Drain, 3);
    assert_eq!(stage.pool().upstream().slot_queue(), 0);
    settle(&stage);
}
