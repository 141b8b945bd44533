//! A side that is cut is cut on the other side too: an orderly end would say that nothing is missing.

use std::time::Duration;

use proxy_core::STALL_CHECK_INTERVAL;
use proxy_core::metrics::Cause;

use super::counters::expect_reset_within;
use super::{ACKNOWLEDGEMENT, Counts, expect_reset};
use crate::flow::{Flow, pump, push_until_stuck};
use crate::stage::{Peer, Received, Setup, Stage};
use crate::wait::{settle, wait, wait_within};

/// What a loaded machine may take beyond [`STALL_CHECK_INTERVAL`]. The scripted stage has no load, and its
/// checks come as they are due.
const SLACK: Duration = Duration::from_secs(20);

/// More than all buffers take.
const ENDLESS: u64 = 1 << 40;

/// The client resets an open connection.
pub fn reset_by_client<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    pump(&stage, &mut [Flow::new(&client, &server, 1, 1000)]);
    client.reset();
    expect_reset(&stage, &server);
    Counts(&stage).expect_ended(Cause::ClientReset, 1);
    settle(&stage);
}

/// The server resets an open connection.
pub fn reset_by_server<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    pump(&stage, &mut [Flow::new(&client, &server, 1, 1000)]);
    server.reset();
    expect_reset(&stage, &client);
    Counts(&stage).expect_ended(Cause::ServerReset, 1);
    settle(&stage);
}

/// A reset that the proxy finds out about by sending: the socket then looks like one whose peer ended in order,
/// which must not be passed on.
pub fn reset_found_by_sending<S: Stage>() {
    let stage = S::start(Setup {
        workers: 1,
        ..Setup::default()
    });
    // The worker is busy meanwhile, so that it learns of bytes and reset at the same time.
    let (source, sink) = stage.pair();
    let flood = stage.flood(source, sink);
    for _ in 0..100 / S::ROUNDS {
        let (client, server) = stage.pair();
        pump(&stage, &mut [Flow::new(&client, &server, 1, 10)]);
        server.reset();
        // It fails if the proxy was quick, and then the reset has been told.
        if client.send(&[1; 10]).is_ok() {
            expect_reset(&stage, &client);
        }
        let (client, server) = stage.pair();
        pump(&stage, &mut [Flow::new(&client, &server, 1, 10)]);
        client.reset();
        if server.send(&[1; 10]).is_ok() {
            expect_reset(&stage, &server);
        }
    }
    drop(flood);
    settle(&stage);
}

/// The server reads nothing, so the proxy reads nothing either when the client resets. Once the server has read what is
/// on its way, it is reset: the proxy finds out without another byte of the client's.
pub fn reset_by_client_while_it_is_stalled<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    push_until_stuck(&stage, &mut Flow::new(&client, &server, 1, ENDLESS));
    client.reset();
    expect_cut(&stage, &server);
    Counts(&stage).expect_ended(Cause::ClientReset, 1);
    settle(&stage);
}

/// The same from the other side.
pub fn reset_by_server_while_it_is_stalled<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    push_until_stuck(&stage, &mut Flow::new(&server, &client, 1, ENDLESS));
    server.reset();
    expect_cut(&stage, &client);
    Counts(&stage).expect_ended(Cause::ServerReset, 1);
    settle(&stage);
}

/// A side whose end was read already, and to which nothing is being sent, resets.
pub fn reset_after_half_close<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    pump(&stage, &mut [Flow::new(&client, &server, 1, 10).with_end()]);
    client.reset();
    wait_for_cut(&stage, &server);
    Counts(&stage).expect_ended(Cause::ClientReset, 1);
    settle(&stage);
}

/// The server answers early and closes, with what the client still sends unread. The whole answer arrives, and then the
/// reset that the close was.
pub fn answer_before_a_reset<S: Stage>() {
    last_words::<S>(false, 1_000);
}

/// The same with an answer of more than the client has room for at once.
pub fn long_answer_before_a_reset<S: Stage>() {
    last_words::<S>(false, 300_000);
}

/// The client says something and closes, with what the server still sends unread.
pub fn request_before_a_reset<S: Stage>() {
    last_words::<S>(true, 1_000);
}

/// One side sends without end to the other, which says something last and closes. What its kernel has handed over arrives.
fn last_words<S: Stage>(by_client: bool, length: u64) {
    let stage = S::start(Setup::default());
    for _ in 0..10 / S::ROUNDS.min(10) {
        let (client, server) = stage.pair();
        let (talker, listener) = if by_client {
            (client, server)
        } else {
            (server, client)
        };
        push_until_stuck(&stage, &mut Flow::new(&listener, &talker, 1, ENDLESS));
        let mut answer = Flow::new(&talker, &listener, 2, length);
        push_until_stuck(&stage, &mut answer);
        let sent = answer.sent();
        // It has left the side's own machine, which throws away the rest when it resets.
        wait(&stage, "the last words are under way", || {
            (talker.unacknowledged() == 0).then_some(())
        });
        drop(talker);
        let mut received = 0;
        let mut chunk = vec![0; 64 * 1024];
        wait_within(
            &stage,
            S::PATIENCE + ACKNOWLEDGEMENT,
            "a reset after the last words",
            || loop {
                match listener.receive(&mut chunk) {
                    Received::Bytes(count) => {
                        let wrong = crate::first_difference(2, received, &chunk[..count]);
                        assert_eq!(wrong, None, "the byte at this position is wrong");
                        received += count as u64;
                    }
                    Received::Nothing => return None,
                    Received::End => panic!("an end that nobody sent, after {received} bytes"),
                    Received::Reset => return Some(()),
                }
            },
        );
        assert_eq!(received, sent, "bytes are lost");
    }
    settle(&stage);
}

/// The server answers and resets. What of the answer arrives is TCP's to decide; it is the beginning of it, and
/// a reset follows.
pub fn answer_then_reset<S: Stage>() {
    const ANSWER_BYTES: usize = 100_000;
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    pump(&stage, &mut [Flow::new(&client, &server, 1, 1000)]);
    let mut answer = Flow::new(&server, &client, 2, ANSWER_BYTES as u64);
    push_until_stuck(&stage, &mut answer);
    server.reset();
    let mut received = 0;
    let mut chunk = vec![0; 64 * 1024];
    wait_within(&stage, S::PATIENCE + ACKNOWLEDGEMENT, "a reset", || {
        loop {
            match client.receive(&mut chunk) {
                Received::Bytes(count) => {
                    let wrong = crate::first_difference(2, received, &chunk[..count]);
                    assert_eq!(wrong, None, "the byte at this position is wrong");
                    received += count as u64;
                }
                Received::Nothing => return None,
                Received::End => panic!("a cut answer ended in order, after {received} bytes"),
                Received::Reset => return Some(()),
            }
        }
    });
    Counts(&stage).expect_ended(Cause::ServerReset, 1);
    settle(&stage);
}

/// The client has closed, and what the server still said to it has been answered by a reset; then the server resets as well. It is what a
/// client of PostgreSQL leaves behind that ends its session under TLS.
pub fn reset_by_server_after_the_client_is_gone<S: Stage>() {
    reset_after_the_other_side_is_gone::<S>(false);
}

/// The same from the other side.
pub fn reset_by_client_after_the_server_is_gone<S: Stage>() {
    reset_after_the_other_side_is_gone::<S>(true);
}

/// Nobody is left who could acknowledge anything, so nobody is waited for.
fn reset_after_the_other_side_is_gone<S: Stage>(by_client: bool) {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    let (stays, leaves) = if by_client {
        (client, server)
    } else {
        (server, client)
    };
    pump(&stage, &mut [Flow::new(&leaves, &stays, 1, 10)]);
    drop(leaves);
    wait(&stage, "the end", || {
        (stays.receive(&mut [0; 16]) == Received::End).then_some(())
    });
    stays.send(&[7; 24]).expect("there is room");
    wait(&stage, "they are sent on", || {
        let (from_client, from_server) = Counts(&stage).bytes();
        let bytes = if by_client { from_client } else { from_server };
        (bytes > 0).then_some(())
    });
    stays.reset();
    wait_within(&stage, ACKNOWLEDGEMENT + SLACK, "its end", || {
        (stage.listener().connections() == 0).then_some(())
    });
    settle(&stage);
}

/// A client that closes without reading what has arrived resets by that, and the server is told.
pub fn close_with_bytes_unread<S: Stage>() {
    let stage = S::start(Setup::default());
    let (client, server) = stage.pair();
    let mut down = Flow::new(&server, &client, 1, ENDLESS);
    push_until_stuck(&stage, &mut down);
    drop(client);
    expect_reset(&stage, &server);
    Counts(&stage).expect_ended(Cause::ClientReset, 1);
    settle(&stage);
}

/// The peer is reset, after it has read what is on its way to it.
fn expect_cut<S: Stage>(stage: &S, peer: &S::Peer) {
    let limit = S::PATIENCE + ACKNOWLEDGEMENT + STALL_CHECK_INTERVAL + SLACK;
    expect_reset_within(stage, limit, peer);
}

fn wait_for_cut<S: Stage>(stage: &S, peer: &S::Peer) {
    wait_within(
        stage,
        STALL_CHECK_INTERVAL + SLACK,
        "a reset without a byte",
        || peer.is_reset().then_some(()),
    );
}
