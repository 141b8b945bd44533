//! `idle_timeout`.

use std::time::Duration;

use proxy_core::metrics::Cause;

use super::Counts;
use super::counters::expect_reset_within;
use crate::flow::{Flow, pump, push_until_stuck};
use crate::stage::{Peer, Received, Setup, Stage};
use crate::wait::{elapse, settle, wait_within};

fn with_timeout<S: Stage>(timeout: Duration) -> S {
    S::start(Setup {
        idle_timeout: Some(timeout),
        ..Setup::default()
    })
}

/// Both sides are closed, not before the timeout.
pub fn idle_connection_ends<S: Stage>() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let stage = with_timeout::<S>(TIMEOUT);
    let (client, server) = stage.pair();
    let talks_at = stage.now();
    pump(&stage, &mut [Flow::new(&client, &server, 1, 100)]);
    for peer in [&client, &server] {
        let last = wait_within(
            &stage,
            S::PATIENCE + TIMEOUT,
            "both sides are closed",
            || match peer.receive(&mut [0; 16]) {
                Received::Nothing => None,
                last => Some(last),
            },
        );
        assert_eq!(last, Received::End);
    }
    let lasted = stage.now() - talks_at;
    assert!(lasted > TIMEOUT / 2, "closed after {lasted:?} already");
    Counts(&stage).expect_ended(Cause::IdleTimeout, 1);
    settle(&stage);
}

/// A byte now and then, from one side only, keeps a connection.
pub fn idle_timeout_spares_the_busy<S: Stage>() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let stage = with_timeout::<S>(TIMEOUT);
    let (client, server) = stage.pair();
    let end = stage.now() + 2 * TIMEOUT;
    let mut seed = 0;
    while stage.now() < end {
        elapse(&stage, TIMEOUT / 20);
        pump(&stage, &mut [Flow::new(&server, &client, seed, 1)]);
        seed += 1;
    }
    pump(
        &stage,
        &mut [
            Flow::new(&client, &server, 1, 10).with_end(),
            Flow::new(&server, &client, 2, 10).with_end(),
        ],
    );
    Counts(&stage).expect_ended(Cause::Finished, 1);
    settle(&stage);
}

/// A connection that is given up with bytes still held is cut: the side that they were for must not take what
/// it got for all there is.
pub fn idle_timeout_while_stalled_is_a_reset<S: Stage>() {
    // Long enough for a busy machine to fill all buffers without a pause of that length.
    const TIMEOUT: Duration = Duration::from_secs(5);
    let stage = with_timeout::<S>(TIMEOUT);
    let (client, server) = stage.pair();
    push_until_stuck(&stage, &mut Flow::new(&client, &server, 1, 1 << 40));
    wait_within(
        &stage,
        S::PATIENCE + TIMEOUT,
        "the connection is given up",
        || (stage.listener().connections() == 0).then_some(()),
    );
    expect_reset_within(&stage, S::PATIENCE, &server);
    Counts(&stage).expect_ended(Cause::IdleTimeout, 1);
    settle(&stage);
}
