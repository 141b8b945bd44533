//! One direction ends, and the other goes on.

use proxy_core::metrics::Cause;

use super::Counts;
use crate::flow::{Flow, pump};
use crate::stage::{Setup, Stage};
use crate::wait::settle;

const QUESTION_BYTES: u64 = 1_000;

/// A client that ends its stream gets the whole answer, and only then the end.
pub fn half_close_client_first<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    pump(
        &stage,
        &mut [Flow::new(&client, &server, 1, QUESTION_BYTES).with_end()],
    );
    pump(
        &stage,
        &mut [Flow::new(&server, &client, 2, S::BULK_BYTES).with_end()],
    );
    finished(&stage, QUESTION_BYTES, S::BULK_BYTES);
}

/// A server that ends its stream gets everything that the client has to say.
pub fn half_close_server_first<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    pump(
        &stage,
        &mut [Flow::new(&server, &client, 1, QUESTION_BYTES).with_end()],
    );
    pump(
        &stage,
        &mut [Flow::new(&client, &server, 2, S::BULK_BYTES).with_end()],
    );
    finished(&stage, S::BULK_BYTES, QUESTION_BYTES);
}

/// Both sides end at the same time.
pub fn half_close_both_at_once<S: Stage>() {
    let stage = S::start(Setup::default());
    for round in 1..=20 {
        let (client, server) = stage.pair();
        let mut up = Flow::new(&client, &server, 1, 0).with_end();
        let mut down = Flow::new(&server, &client, 2, 0).with_end();
        up.send();
        down.send();
        pump(&stage, &mut [up, down]);
        Counts(&stage).expect_ended(Cause::Finished, round);
    }
    settle(&stage);
}

/// The last bytes and the end come as one event, as the worker is busy with something else meanwhile: a scheduler
/// that takes the short read for "nothing is left" must not forget the end with it.
pub fn end_that_comes_with_the_last_bytes<S: Stage>() {
    let stage = S::start(Setup {
        workers: 1,
        ..Setup::default()
    });
    let (source, sink) = stage.pair();
    let flood = stage.flood(source, sink);
    for round in 1..=100 / S::ROUNDS {
        let (client, server) = stage.pair();
        let mut up = Flow::new(&client, &server, 1, 100).with_end();
        // The bytes, and right behind them the end.
        while up.send() {}
        pump(&stage, &mut [up]);
        let mut down = Flow::new(&server, &client, 2, 100).with_end();
        while down.send() {}
        pump(&stage, &mut [down]);
        Counts(&stage).expect_ended(Cause::Finished, round);
    }
    drop(flood);
    settle(&stage);
}

fn finished<S: Stage>(stage: &S, up: u64, down: u64) {
    let counts = Counts(stage);
    counts.expect_ended(Cause::Finished, 1);
    assert_eq!(counts.bytes(), (up, down));
    settle(stage);
}
