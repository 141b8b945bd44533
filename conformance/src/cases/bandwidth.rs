//! How fast connections may be.

use std::time::Duration;

use proxy_core::BandwidthSettings;
use proxy_core::metrics::Cause;

use super::Counts;
use crate::flow::{Flow, pump};
use crate::stage::{Setup, Stage};
use crate::wait::settle;

const BYTES_A_SECOND: u64 = 4 << 20;

/// Takes half a second.
const BYTES: u64 = 2 << 20;

/// Each way, at least so long: a burst, and what is on its way, come before their time.
const AT_LEAST: Duration = Duration::from_millis(300);

fn both_ways<S: Stage>(bandwidth: BandwidthSettings) {
    let stage = S::start(Setup {
        bandwidth,
        ..Setup::default()
    });
    let (client, server) = stage.pair();
    let begun_at = stage.now();
    pump(
        &stage,
        &mut [
            Flow::new(&client, &server, 1, BYTES).with_end(),
            Flow::new(&server, &client, 2, BYTES).with_end(),
        ],
    );
    let lasted = stage.now() - begun_at;
    assert!(lasted >= AT_LEAST, "{lasted:?}");
    Counts(&stage).expect_ended(Cause::Finished, 1);
    settle(&stage);
}

/// Both directions at once are each as fast as the listener may be, and arrive whole.
pub fn bandwidth_of_the_listener<S: Stage>() {
    both_ways::<S>(BandwidthSettings {
        listener: Some(BYTES_A_SECOND),
        connection: None,
    });
}

/// The same of a connection.
pub fn bandwidth_of_a_connection<S: Stage>() {
    both_ways::<S>(BandwidthSettings {
        listener: None,
        connection: Some(BYTES_A_SECOND),
    });
}
