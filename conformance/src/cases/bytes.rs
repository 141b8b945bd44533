//! Bytes, both ways.

use proxy_core::metrics::Cause;

use super::{Counts, expect_end};
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Setup, Stage};
use crate::wait::settle;

/// A question and its answer, many times, then an orderly end.
pub fn echo<S: Stage>() {
    let stage = S::start(Setup::default());
    let counts = Counts(&stage);
    for connection in 0..3 {
        let (client, server) = stage.pair();
        for trip in 0..20 {
            pump(&stage, &mut [Flow::new(&client, &server, trip, 64)]);
            pump(&stage, &mut [Flow::new(&server, &client, !trip, 200)]);
        }
        pump(&stage, &mut [Flow::new(&client, &server, 0, 0).with_end()]);
        pump(&stage, &mut [Flow::new(&server, &client, 0, 0).with_end()]);
        counts.expect_ended(Cause::Finished, connection + 1);
    }
    assert_eq!(counts.accepted(), 3);
    assert_eq!(counts.bytes(), (3 * 20 * 64, 3 * 20 * 200));
    settle(&stage);
}

/// Megabytes both ways at the same time.
pub fn full_duplex_bulk<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    pump(
        &stage,
        &mut [
            Flow::new(&client, &server, 1, S::BULK_BYTES).with_end(),
            Flow::new(&server, &client, 2, S::BULK_BYTES / 3).with_end(),
        ],
    );
    let counts = Counts(&stage);
    counts.expect_ended(Cause::Finished, 1);
    assert_eq!(counts.bytes(), (S::BULK_BYTES, S::BULK_BYTES / 3));
    settle(&stage);
}

/// Bulk in bursts, both ways, with nothing after a burst that would push its end.
pub fn bursts_arrive_whole<S: Stage>() {
    const BURSTS: u64 = 3;
    let bytes = S::BULK_BYTES + 4_711;
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    for seed in 0..BURSTS {
        pump(
            &stage,
            &mut [
                Flow::new(&client, &server, seed, bytes),
                Flow::new(&server, &client, seed + BURSTS, bytes),
            ],
        );
    }
    drop((client, server));
    settle(&stage);
    assert_eq!(Counts(&stage).bytes(), (BURSTS * bytes, BURSTS * bytes));
}

/// Urgent marks (`MSG_OOB`) among small messages: each byte before and behind one arrives, though a receive stops at the
/// mark. The worker is busy meanwhile, so that it learns of everything at once.
pub fn urgent_marks<S: Stage>() {
    let stage = S::start(Setup {
        workers: 1,
        ..Setup::default()
    });
    let (source, sink) = stage.pair();
    let flood = stage.flood(source, sink);
    let (client, server) = stage.pair();
    for seed in 0..5 {
        let mut flow = Flow::new(&client, &server, seed, 6).with_chunk(3);
        flow.send();
        client.send_mark();
        pump(&stage, &mut [flow]);
        let mut flow = Flow::new(&server, &client, seed, 6).with_chunk(3);
        flow.send();
        server.send_mark();
        pump(&stage, &mut [flow]);
    }
    pump(
        &stage,
        &mut [
            Flow::new(&client, &server, 1, 10).with_end(),
            Flow::new(&server, &client, 2, 10).with_end(),
        ],
    );
    drop((client, server, flood));
    settle(&stage);
}

/// The same in bulk, which is spliced, with one mark right before the last bytes and the end.
pub fn urgent_marks_in_bulk<S: Stage>() {
    let stage = S::start(Setup::default());
    for reversed in [false, true] {
        let (client, server) = stage.pair();
        let (source, sink) = if reversed {
            (&server, &client)
        } else {
            (&client, &server)
        };
        for seed in 0..3 {
            pump(&stage, &mut [Flow::new(source, sink, seed, S::BULK_BYTES)]);
            source.send_mark();
        }
        let mut last = Flow::new(source, sink, 4, S::BULK_BYTES + 1_000);
        while last.sent() < S::BULK_BYTES {
            if !(last.send() | last.receive()) {
                stage.pass(stage.now() + S::PATIENCE);
            }
        }
        source.send_mark();
        pump(&stage, &mut [last.with_end()]);
        pump(&stage, &mut [Flow::new(sink, source, 5, 10).with_end()]);
    }
    Counts(&stage).expect_ended(Cause::Finished, 2);
    settle(&stage);
}

/// The smallest messages there are, one after the other in both directions.
pub fn one_byte_writes<S: Stage>() {
    const LENGTH: u64 = 3_000;
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    pump(
        &stage,
        &mut [
            Flow::new(&client, &server, 1, LENGTH)
                .with_chunk(1)
                .with_end(),
            Flow::new(&server, &client, 2, LENGTH)
                .with_chunk(1)
                .with_end(),
        ],
    );
    assert_eq!(Counts(&stage).bytes(), (LENGTH, LENGTH));
    settle(&stage);
}

/// A client connects, says nothing and closes: the server sees just that.
pub fn empty_connection<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    drop(client);
    expect_end(&stage, &server);
    drop(server);
    Counts(&stage).expect_ended(Cause::Finished, 1);
    assert_eq!(Counts(&stage).bytes(), (0, 0));
    settle(&stage);
}

/// A client sends and leaves, all before the proxy has connected to the server: the server gets every byte.
pub fn connection_that_only_talks<S: Stage>() {
    let stage = S::start(Setup::default());
    let client = stage.connect();
    let mut text = [0; 1000];
    crate::fill(7, 0, &mut text);
    assert_eq!(client.send(&text).unwrap(), text.len());
    client.shutdown_write();
    let server = crate::wait(&stage, "the proxy connects", || stage.accept(0));
    let mut received: Vec<u8> = Vec::new();
    crate::wait(&stage, "all bytes, and the end", || {
        let mut chunk = [0; 300];
        loop {
            match server.receive(&mut chunk) {
                crate::Received::Bytes(count) => received.extend(&chunk[..count]),
                crate::Received::End => return Some(()),
                crate::Received::Nothing => return None,
                crate::Received::Reset => panic!("reset after {} bytes", received.len()),
            }
        }
    });
    assert_eq!(received, text);
    drop(server);
    expect_end(&stage, &client);
    Counts(&stage).expect_ended(Cause::Finished, 1);
    settle(&stage);
}
