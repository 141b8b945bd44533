//! What only the kernel's sockets can do.

use proxy_core::listen::BindAddress;
use proxy_core::metrics::Cause;

use super::{Counts, expect_end};
use crate::flow::{Flow, pump};
use crate::real::RealStage;
use crate::stage::{Peer, Received, Setup};
use crate::wait::{settle, wait};

/// Unix sockets on both sides.
pub fn unix_sockets<S: RealStage>() {
    let path = crate::process::fresh_path("listener");
    let stage = S::start_on(&BindAddress::Unix(path.clone()), Setup::default());
    for round in 1..=3 {
        let (client, server) = stage.pair();
        pump(&stage, &mut [Flow::new(&client, &server, 1, 1_000_000).with_end()]);
        pump(&stage, &mut [Flow::new(&server, &client, 2, 3_000_000).with_end()]);
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

/// Bytes around an urgent one arrive without waiting for a later one. A receive stops at the urgent mark, which
/// makes it short although there is more.
pub fn urgent_byte<S: RealStage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    assert_eq!(client.send(b"before").unwrap(), 6);
    S::send_urgent(&client, b"!");
    assert_eq!(client.send(b"after").unwrap(), 5);
    let mut text: Vec<u8> = Vec::new();
    wait(&stage, "what stands behind the urgent byte", || {
        let mut chunk = [0; 64];
        if let Received::Bytes(count) = server.receive(&mut chunk) {
            text.extend(&chunk[..count]);
        }
        text.ends_with(b"after").then_some(())
    });
    assert!(text.starts_with(b"before"));
    drop((client, server));
    settle(&stage);
}
