//! A bug in the turn of one connection.

use std::time::Duration;

use proxy_core::QueueSettings;

use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, Setup, Stage};
use crate::wait::{settle, wait};

/// A time that no clock has: who would wait so long panics. No configuration can have it.
const NEVER: Duration = Duration::MAX;

/// A connection that panics is cut, and counted; the others of its worker, and those that come after it, are served.
pub fn panic_is_the_end_of_one_connection<S: Stage>() {
    let stage = S::start(Setup {
        workers: 1,
        server_connections: Some(1),
        queue: Some(QueueSettings {
            max: 10,
            timeout: NEVER,
        }),
        ..Setup::default()
    });
    // The next one has to wait for its place.
    let (client, server) = pair_before_a_panic(&stage);
    pump(&stage, &mut [Flow::new(&client, &server, 1, 1000)]);
    drop((client, server));
    settle(&stage);
    let (next, next_server) = stage.pair();
    pump(&stage, &mut [Flow::new(&next, &next_server, 1, 1000)]);
    drop((next, next_server));
    settle(&stage);
}

/// A connection that lasts, whose next one has panicked and is cut. The stage is set up so that this one does.
pub fn pair_before_a_panic<S: Stage>(stage: &S) -> (S::Peer, S::Peer) {
    let panics = || stage.generation().cores.sum(|core| core.panics.get());
    let pair = stage.pair();
    assert_eq!(panics(), 0);
    let unlucky = stage.connect();
    wait(stage, "a reset", || {
        (unlucky.receive(&mut [0; 16]) == Received::Reset).then_some(())
    });
    assert_eq!(panics(), 1);
    pair
}
