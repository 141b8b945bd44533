//! How fast connections are, on a clock that waits for nobody: no more than the rate allows, nearly as much, and even parts.

use std::time::Duration;

use conformance::{Peer, Received, Scripted, Setup, Stage, run, settle};
use proxy_core::{BUFFER_BYTES, BandwidthSettings};

const RATE: u64 = 1 << 20;
const LASTS: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);
const CLIENTS: usize = 4;

/// What each of several clients gets of servers that never stop.
fn received(bandwidth: BandwidthSettings) -> Vec<u64> {
    let stage = Scripted::start(Setup {
        bandwidth,
        ..Setup::default()
    });
    let pairs: Vec<_> = (0..CLIENTS).map(|_| stage.pair()).collect();
    for (_, server) in &pairs {
        stage.pour(server, BUFFER_BYTES);
    }
    let begun_at = stage.now();
    let mut received = vec![0; CLIENTS];
    let mut buffer = vec![0; 1 << 20];
    while stage.now() - begun_at < LASTS {
        for _ in 0..64 {
            stage.step();
        }
        for ((client, _), received) in pairs.iter().zip(&mut received) {
            while let Received::Bytes(count) = client.receive(&mut buffer) {
                *received += count as u64;
            }
        }
        stage.hurry(TICK);
    }
    for (client, server) in pairs {
        client.reset();
        drop(server);
    }
    settle(&stage);
    received
}

/// A burst, and a quantum for each direction that is on its way.
fn most(rate: u64, directions: u64) -> u64 {
    rate * LASTS.as_secs() + rate / 10 + directions * (rate / 100) + BUFFER_BYTES as u64
}

#[test]
fn connections_share_what_their_listener_has_in_even_parts() {
    run::<Scripted>(|| {
        let received = received(BandwidthSettings {
            listener: Some(RATE),
            connection: None,
        });
        let all: u64 = received.iter().sum();
        assert!(all <= most(RATE, CLIENTS as u64), "{received:?}");
        assert!(all >= RATE * LASTS.as_secs() * 9 / 10, "{received:?}");
        let part = all / CLIENTS as u64;
        assert!(
            received.iter().all(|one| one.abs_diff(part) < part / 4),
            "{received:?}"
        );
    });
}

#[test]
fn each_connection_has_its_own_rate() {
    run::<Scripted>(|| {
        let received = received(BandwidthSettings {
            listener: None,
            connection: Some(RATE),
        });
        for one in received {
            assert!(one <= most(RATE, 1), "{one}");
            assert!(one >= RATE * LASTS.as_secs() * 9 / 10, "{one}");
        }
    });
}
