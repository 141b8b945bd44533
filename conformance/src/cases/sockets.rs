//! What only the kernel's sockets can do.

use proxy_core::listen::BindAddress;
use proxy_core::metrics::Cause;

use super::{Counts, expect_end};
use crate::flow::{Flow, pump};
use crate::real::RealStage;
use crate::stage::Setup;
use crate::wait::settle;

/// Unix sockets on both sides.
pub fn unix_sockets<S: RealStage>() {
    let path = crate::process::fresh_path("listener");
    let stage = S::start_on(&BindAddress::Unix(path.clone()), Setup::default());
    for round in 1..=3 {
        let (client, server) = stage.pair();
        pump(
            &stage,
            &mut [Flow::new(&client, &server, 1, 1_000_000).with_end()],
        );
        pump(
            &stage,
            &mut [Flow::new(&server, &client, 2, 3_000_000).with_end()],
        );
        Counts(&stage).expect_ended(Cause::Finished, round);
    }
    let (client, server) = stage.pair();
    drop(client);
    expect_end(&stage, &server);
    drop(server);
    settle(&stage);
    stage.stop();
    // The file is left, as a restart replaces it.
    let _ = std::fs::remove_file(path);
}
