//! How fast connections may be.

use std::time::Duration;

use proxy_core::BandwidthSettings;
use proxy_core::metrics::Cause;
use proxy_core::prologue::{HelloSettings, NotTls, PrologueSettings};

use super::Counts;
use super::prologue::{hear, say};
use super::routes::hello;
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, Setup, Stage};
use crate::wait::{settle, wait, wait_within};

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

/// What was heard of a client before it had a server is paced as well: a connection that says no more than its hello has its part of
/// the bandwidth, too.
pub fn bandwidth_of_what_was_heard<S: Stage>() {
    const PADDING: usize = 56 << 10;
    const RATE: u64 = 100 << 10;
    for (listener, connection) in [(Some(RATE), None), (None, Some(RATE))] {
        let stage = S::start(Setup {
            bandwidth: BandwidthSettings {
                listener,
                connection,
            },
            routes: vec![("a.example", 0)],
            prologue: Some(PrologueSettings {
                timeout: Duration::from_secs(20),
                accept_proxy: None,
                hello: Some(HelloSettings {
                    starttls: None,
                    not_tls: NotTls::Route,
                }),
            }),
            ..Setup::default()
        });
        let begun_at = stage.now();
        let hello = hello("a.example", PADDING, 16_384);
        let client = stage.connect();
        let mut sent = 0;
        wait(&stage, "room for the hello", || {
            sent += client.send(&hello[sent..]).expect("it is open");
            (sent == hello.len()).then_some(())
        });
        let server = wait(&stage, "a connection to the server", || stage.accept(0));
        // The server may speak meanwhile.
        say(&server, b"220 hello");
        assert_eq!(hear(&stage, &client, 9), b"220 hello");
        let early = stage.now() - begun_at;
        let mut heard = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        wait_within(&stage, Duration::from_secs(20), "the hello", || {
            while let Received::Bytes(count) = server.receive(&mut buffer) {
                heard.extend_from_slice(&buffer[..count]);
            }
            (heard.len() >= hello.len()).then_some(())
        });
        assert!(heard == hello, "other bytes");
        let lasted = stage.now() - begun_at;
        assert!(
            lasted >= AT_LEAST,
            "{lasted:?}, and {early:?} for the answer"
        );
        pump(
            &stage,
            &mut [
                Flow::new(&client, &server, 1, 100).with_end(),
                Flow::new(&server, &client, 2, 100).with_end(),
            ],
        );
        Counts(&stage).expect_ended(Cause::Finished, 1);
        settle(&stage);
    }
}
