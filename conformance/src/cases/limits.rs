//! `max_connections`, and an end that doesn't wait.

use proxy_core::metrics::{Cause, Rejection};

use super::{Counts, expect_reset};
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, Setup, Stage};
use crate::wait::{settle, wait};

/// A client beyond the limit is closed at once; when another has left, the next one is served.
pub fn max_connections<S: Stage>() {
    let stage = S::start(Setup {
        max_connections: Some(2),
        ..Setup::default()
    });
    let (first, _first_server) = stage.pair();
    let (second, second_server) = stage.pair();
    let refused = stage.connect();
    let last = wait(&stage, "the third client is closed", || {
        match refused.receive(&mut [0; 16]) {
            Received::Nothing => None,
            last => Some(last),
        }
    });
    assert!(matches!(last, Received::End | Received::Reset), "{last:?}");
    let counts = Counts(&stage);
    assert_eq!(counts.rejected(Rejection::MaxConnections), 1);
    assert_eq!(counts.accepted(), 2);
    assert!(stage.accept(0).is_none(), "nothing was connected for it");
    pump(&stage, &mut [Flow::new(&second, &second_server, 1, 1000)]);

    first.reset();
    counts.expect_ended(Cause::ClientReset, 1);
    let (third, third_server) = stage.pair();
    pump(&stage, &mut [Flow::new(&third, &third_server, 1, 1000)]);
    assert_eq!(counts.rejected(Rejection::MaxConnections), 1);
    drop((second, second_server, third, third_server));
    settle(&stage);
}

/// Connections that a stop cuts are reset on both sides, at whatever they are, and counted.
pub fn stop_cuts_connections<S: Stage>() {
    let stage = S::start(Setup::default());
    let (idle, idle_server) = stage.pair();
    let (busy, busy_server) = stage.pair();
    pump(&stage, &mut [Flow::new(&busy, &busy_server, 1, 1000)]);
    let (half, half_server) = stage.pair();
    pump(
        &stage,
        &mut [Flow::new(&half, &half_server, 1, 1000).with_end()],
    );
    stage.stop();
    for peer in [&idle, &idle_server, &busy, &busy_server, &half] {
        expect_reset(&stage, peer);
    }
    // To a side that has its end already, only the silence is cut.
    wait(&stage, "the server learns of it", || {
        half_server.is_reset().then_some(())
    });
    Counts(&stage).expect_ended(Cause::Drain, 3);
    settle(&stage);
}
