//! Connections that a scheduler moves all the time, for as long as one likes.

use proxy_core::metrics::CoreCells;
use std::time::Duration;

use crate::flow::{Flow, pump};
use crate::process::{alone, descriptors};
use crate::real::{Real, Scheduler};
use crate::stage::{Setup, Stage};
use crate::wait::{settle, wait};

/// How long it takes, in seconds, if this doesn't say otherwise.
const SECONDS: &str = "CORELANE_SOAK_SECONDS";
const SECONDS_DEFAULT: u64 = 5;

/// Connections that live as long as the test.
const LONG_LIVED: usize = 16;

/// Connections that live for a round.
const SHORT_LIVED: usize = 4;

/// Bytes of one round's flows, in turn: a message, more than a buffer, bulk.
const LENGTHS: [u64; 4] = [64, 3_000, 150_000, 2_000_000];

/// Moves without which the test says nothing.
const MOVES_MIN: u64 = 500;

/// However often connections are moved, at whatever they are at: their bytes come as they were sent, their ends too, and
/// no descriptor is left.
pub fn connections_survive_moves<B: Scheduler>() {
    let _alone = alone();
    let seconds = std::env::var(SECONDS).ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let duration = Duration::from_secs(seconds.unwrap_or(SECONDS_DEFAULT));
    let stage = Real::<B>::start(Setup::default());
    let long: Vec<_> = (0..LONG_LIVED).map(|_| stage.pair()).collect();
    let until = stage.now() + duration;
    let (mut round, mut bytes, mut open) = (0, 0, None);
    while stage.now() < until {
        let short: Vec<_> = (0..SHORT_LIVED).map(|_| stage.pair()).collect();
        let mut flows = Vec::new();
        for (index, (client, server)) in long.iter().chain(&short).enumerate() {
            let length = LENGTHS[(index + round) % LENGTHS.len()];
            let seed = (round * 100 + index) as u64;
            for (source, sink, seed) in [(client, server, seed), (server, client, !seed)] {
                let flow = Flow::new(source, sink, seed, length);
                flows.push(if index < LONG_LIVED {
                    flow
                } else {
                    flow.with_end()
                });
                bytes += length;
            }
        }
        pump(&stage, &mut flows);
        drop(flows);
        drop(short);
        round += 1;
        if round == 2 {
            open = Some(descriptors());
        }
    }
    let moves = stage.generation().cores.sum(CoreCells::taken);
    println!("{moves} moves and {bytes} bytes in {round} rounds of {duration:?}");
    assert!(moves >= MOVES_MIN, "{moves} moves");
    drop(long);
    settle(&stage);
    if let Some(open) = open {
        // Some may be of a scheduler that is just ending.
        wait(&stage, "no descriptor is left", || {
            (descriptors() <= open).then_some(())
        });
    }
}
