//! A side that doesn't read stops the other side's sender, and loses nothing.

use proxy_core::metrics::Cause;

use super::Counts;
use crate::flow::{Flow, pump, push_until_stuck};
use crate::stage::{Setup, Stage};
use crate::wait::settle;

/// The server doesn't read.
pub fn back_pressure_from_server<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    let mut up = Flow::new(&client, &server, 1, S::UNDER_WAY_MAX + S::UNDER_WAY_MAX / 4).with_end();
    push_until_stuck(&stage, &mut up);
    assert!(
        up.sent <= S::UNDER_WAY_MAX,
        "{} bytes are under way",
        up.sent
    );
    // The other direction is not held up by it.
    pump(&stage, &mut [Flow::new(&server, &client, 2, 1000)]);
    pump(
        &stage,
        &mut [up, Flow::new(&server, &client, 3, 0).with_end()],
    );
    Counts(&stage).expect_ended(Cause::Finished, 1);
    assert_eq!(
        Counts(&stage).bytes(),
        (S::UNDER_WAY_MAX + S::UNDER_WAY_MAX / 4, 1000)
    );
    settle(&stage);
}

/// The client doesn't read.
pub fn back_pressure_from_client<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    let mut down =
        Flow::new(&server, &client, 1, S::UNDER_WAY_MAX + S::UNDER_WAY_MAX / 4).with_end();
    push_until_stuck(&stage, &mut down);
    assert!(
        down.sent <= S::UNDER_WAY_MAX,
        "{} bytes are under way",
        down.sent
    );
    pump(&stage, &mut [Flow::new(&client, &server, 2, 1000)]);
    pump(
        &stage,
        &mut [down, Flow::new(&client, &server, 3, 0).with_end()],
    );
    Counts(&stage).expect_ended(Cause::Finished, 1);
    assert_eq!(
        Counts(&stage).bytes(),
        (1000, S::UNDER_WAY_MAX + S::UNDER_WAY_MAX / 4)
    );
    settle(&stage);
}
