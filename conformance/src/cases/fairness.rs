//! One connection can't hold a worker.

use crate::flow::{Flow, pump};
use crate::stage::{Flood, Setup, Stage};
use crate::wait::wait;

/// A connection's round trips go on while another, on the same worker, always has bytes to receive and room to
/// send. The flood ends only after the trips, so nothing here depends on how fast the machine is.
pub fn fairness<S: Stage>() {
    let stage = S::start(Setup {
        workers: 1,
        ..Setup::default()
    });
    let (bulk_client, bulk_server) = stage.pair();
    let flood = stage.flood(bulk_client, bulk_server);
    wait(&stage, "the flood flows", || {
        (flood.bytes() > 0).then_some(())
    });
    let (client, server) = stage.pair();
    let before = flood.bytes();
    for trip in 0..100 {
        pump(&stage, &mut [Flow::new(&client, &server, trip, 64)]);
        pump(&stage, &mut [Flow::new(&server, &client, trip, 64)]);
    }
    wait(&stage, "the flood was not held up either", || {
        (flood.bytes() > before).then_some(())
    });
}
