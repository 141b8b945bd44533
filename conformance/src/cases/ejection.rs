//! Servers that are left alone for what connections to them meet.

use std::num::NonZeroU32;
use std::time::Duration;

use proxy_core::{EjectionCause, EjectionSettings, Hold};

use super::{ACKNOWLEDGEMENT, expect_end, expect_reset};
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, ServerKind, Setup, Stage};
use crate::wait::{elapse, settle, wait, wait_within};

/// How soon an end is an early one: so late that no machine is too slow for it.
const EARLY: Duration = Duration::from_secs(600);

fn start<S: Stage>(first: ServerKind, failures: u32) -> S {
    S::start(Setup {
        servers: vec![first, ServerKind::Listening],
        ejection: Some(EjectionSettings {
            consecutive_failures: NonZeroU32::new(failures).expect("not zero"),
            early: Some(EARLY),
            slow_factor: NonZeroU32::MAX,
            interval: EARLY,
            base: EARLY,
            max: EARLY,
            largest_share: 10,
            panic_threshold: 50,
        }),
        ..Setup::default()
    })
}

fn is_ejected<S: Stage>(stage: &S) -> bool {
    stage.pool().server(0).holds().has(Hold::Ejected)
}

/// The next client's server, and which one it is.
fn next_server<S: Stage>(stage: &S) -> (usize, S::Peer) {
    wait(stage, "a server takes the connection", || {
        (0..2).find_map(|server| Some((server, stage.accept(server)?)))
    })
}

/// The next client is served by the second server, whichever comes first.
fn expect_the_other_one<S: Stage>(stage: &S) {
    for seed in 0..4 {
        let client = stage.connect();
        let (place, server) = next_server(stage);
        assert_eq!(place, 1, "the first one is ejected");
        pump(
            stage,
            &mut [
                Flow::new(&client, &server, seed, 100).with_end(),
                Flow::new(&server, &client, !seed, 100).with_end(),
            ],
        );
    }
}

/// A server that takes connections and ends them, by a reset or orderly, is ejected after so many in a row; one byte of it
/// begins again.
pub fn server_that_ends_early_is_ejected<S: Stage>() {
    for by_reset in [false, true] {
        let stage = start::<S>(ServerKind::Listening, 3);
        let mut ends = 0;
        for turn in 0.. {
            assert!(turn < 40, "it is ejected after a few turns");
            if is_ejected(&stage) {
                break;
            }
            let client = stage.connect();
            let (place, server) = next_server(&stage);
            // One that serves has no failure, though it serves one only.
            if place == 1 || ends == 2 {
                if place == 0 {
                    ends = -1;
                }
                let flows = [
                    Flow::new(&client, &server, 1, 10).with_end(),
                    Flow::new(&server, &client, 2, 10).with_end(),
                ];
                pump(&stage, &mut { flows });
                continue;
            }
            ends += 1;
            if by_reset {
                // It must not come while the connect is being decided.
                elapse(&stage, Duration::from_millis(20));
                server.reset();
                expect_reset(&stage, &client);
            } else {
                drop(server);
                expect_end(&stage, &client);
            }
            drop(client);
            settle(&stage);
        }
        assert_eq!(ends, 2, "three in a row after the one that was served");
        let (cause, _) = stage.pool().server(0).ejection().expect("it was");
        assert_eq!(cause, EjectionCause::EarlyEnds);
        expect_the_other_one(&stage);
        settle(&stage);
    }
}

/// A server that refuses is ejected, and isn't tried again when it has rested.
pub fn server_that_refuses_is_ejected<S: Stage>() {
    let stage = start::<S>(ServerKind::Refusing, 1);
    expect_the_other_one(&stage);
    assert!(is_ejected(&stage));
    assert!(!stage.pool().server(1).holds().has(Hold::Ejected));
    settle(&stage);
}

/// Clients that leave without a word, by a reset or orderly, say nothing of a server that then ends the connection.
pub fn server_whose_clients_leave_first_is_not_ejected<S: Stage>() {
    let stage = start::<S>(ServerKind::Listening, 1);
    for by_reset in [false, true] {
        for _ in 0..4 {
            let client = stage.connect();
            let (_, server) = next_server(&stage);
            // The proxy has begun to forward.
            pump(&stage, &mut [Flow::new(&client, &server, 1, 10)]);
            if by_reset {
                client.reset();
            } else {
                client.shutdown_write();
            }
            let limit = S::PATIENCE + ACKNOWLEDGEMENT;
            wait_within(&stage, limit, "the server hears of it", || {
                (server.receive(&mut [0; 16]) != Received::Nothing || server.is_reset())
                    .then_some(())
            });
            drop(server);
            settle(&stage);
        }
    }
    let holds = [0, 1].map(|place| stage.pool().server(place).holds().has(Hold::Ejected));
    assert_eq!(holds, [false; 2]);
}
