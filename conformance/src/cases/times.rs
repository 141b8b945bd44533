//! The times besides `idle_timeout`.

use std::time::{Duration, Instant};

use proxy_core::metrics::Cause;
use proxy_core::{Lifetime, QUIET_BEFORE_END, Times};

use super::counters::expect_reset_within;
use super::{Counts, expect_end};
use crate::flow::{Flow, pump, push_until_stuck};
use crate::stage::{Peer, Received, Setup, Stage};
use crate::wait::{elapse, settle, wait_within};

const TIMEOUT: Duration = Duration::from_millis(400);

fn with_times<S: Stage>(times: Times) -> S {
    S::start(Setup {
        times,
        ..Setup::default()
    })
}

/// `talker` says a byte now and then, until the proxy resets both; not before the timeout, of a connection that came after `begun_at`.
fn talk_until_reset<S: Stage>(stage: &S, begun_at: Instant, talker: &S::Peer, silent: &S::Peer) {
    while stage.listener().connections() > 0 {
        let _ = talker.send(&[7]);
        elapse(stage, TIMEOUT / 20);
        let lasted = stage.now() - begun_at;
        assert!(lasted < S::PATIENCE + 8 * TIMEOUT, "it goes on");
    }
    let lasted = stage.now() - begun_at;
    assert!(lasted > TIMEOUT / 2, "ended after {lasted:?} already");
    expect_reset_within(stage, S::PATIENCE, silent);
    assert!(talker.is_reset());
}

/// The bytes of the other side don't keep it, and that side is not told that it has everything.
pub fn silent_client_ends_beside_a_talking_server<S: Stage>() {
    let stage = with_times::<S>(Times {
        client_idle: Some(TIMEOUT),
        ..Times::default()
    });
    let begun_at = stage.now();
    let (client, server) = stage.pair();
    talk_until_reset(&stage, begun_at, &server, &client);
    Counts(&stage).expect_ended(Cause::ClientIdleTimeout, 1);
    settle(&stage);
}

/// The same of the server.
pub fn silent_server_ends_beside_a_talking_client<S: Stage>() {
    let stage = with_times::<S>(Times {
        server_idle: Some(TIMEOUT),
        ..Times::default()
    });
    let begun_at = stage.now();
    let (client, server) = stage.pair();
    talk_until_reset(&stage, begun_at, &client, &server);
    Counts(&stage).expect_ended(Cause::ServerIdleTimeout, 1);
    settle(&stage);
}

/// Each side has a time of its own, and an end in silence is orderly.
pub fn silence_of_both_ends_by_the_shorter_time<S: Stage>() {
    let stage = with_times::<S>(Times {
        client_idle: Some(100 * TIMEOUT),
        server_idle: Some(TIMEOUT),
        ..Times::default()
    });
    let (client, server) = stage.pair();
    wait_within(&stage, S::PATIENCE + TIMEOUT, "the end", || {
        (stage.listener().connections() == 0).then_some(())
    });
    for peer in [&client, &server] {
        expect_end(&stage, peer);
    }
    Counts(&stage).expect_ended(Cause::ServerIdleTimeout, 1);
    settle(&stage);
}

/// A client whose bytes the server doesn't take can't say more: it isn't silent.
pub fn held_up_client_is_not_silent<S: Stage>() {
    // Long enough for a busy machine to fill all buffers without a pause of that length.
    let timeout = 4 * TIMEOUT;
    let stage = with_times::<S>(Times {
        client_idle: Some(timeout),
        ..Times::default()
    });
    let (client, server) = stage.pair();
    let mut up = Flow::new(&client, &server, 1, 1 << 40);
    push_until_stuck(&stage, &mut up);
    elapse(&stage, 2 * timeout);
    assert_eq!(stage.listener().connections(), 1);
    // What was under way arrives, and only then its silence begins.
    let mut chunk = [0; 4096];
    let limit = S::PATIENCE + 3 * timeout;
    let last = wait_within(&stage, limit, "the end", || {
        loop {
            match server.receive(&mut chunk) {
                Received::Bytes(_) => {}
                Received::Nothing => return None,
                last => return Some(last),
            }
        }
    });
    assert!(matches!(last, Received::End | Received::Reset));
    Counts(&stage).expect_ended(Cause::ClientIdleTimeout, 1);
    settle(&stage);
}

/// Who has ended its stream isn't waited for, and the other side may go on for as long as is set: then its bytes are cut.
pub fn half_closed_connection_ends_though_bytes_flow<S: Stage>() {
    // Long enough for a busy machine to bring the client's end within it; over before the other, where it goes on at the end.
    let stage = with_times::<S>(Times {
        client_idle: Some(5 * TIMEOUT),
        half_closed: Some(6 * TIMEOUT),
        ..Times::default()
    });
    let begun_at = stage.now();
    let (client, server) = stage.pair();
    pump(
        &stage,
        &mut [Flow::new(&client, &server, 1, 100).with_end()],
    );
    talk_until_reset(&stage, begun_at, &server, &client);
    Counts(&stage).expect_ended(Cause::HalfClosedTimeout, 1);
    settle(&stage);
}

/// Before a stream has ended there is no such time; and in silence the other one's end is orderly.
pub fn half_closed_connection_ends_in_silence<S: Stage>() {
    let stage = with_times::<S>(Times {
        half_closed: Some(TIMEOUT),
        ..Times::default()
    });
    let (client, server) = stage.pair();
    elapse(&stage, 2 * TIMEOUT);
    assert_eq!(stage.listener().connections(), 1);
    let silent_at = stage.now();
    server.shutdown_write();
    expect_end(&stage, &client);
    wait_within(&stage, S::PATIENCE + TIMEOUT, "the end", || {
        (stage.listener().connections() == 0).then_some(())
    });
    let silent = stage.now() - silent_at;
    assert!(silent > TIMEOUT / 2, "closed after {silent:?} already");
    expect_end(&stage, &server);
    Counts(&stage).expect_ended(Cause::HalfClosedTimeout, 1);
    settle(&stage);
}

/// One that is quiet ends orderly, not before its time, and all that was said has arrived.
pub fn lifetime_of_a_quiet_connection_ends_orderly<S: Stage>() {
    let stage = with_times::<S>(Times {
        lifetime: Some(Lifetime {
            max: TIMEOUT,
            jitter: 0,
        }),
        ..Times::default()
    });
    let begun_at = stage.now();
    let (client, server) = stage.pair();
    pump(
        &stage,
        &mut [
            Flow::new(&client, &server, 1, 5000),
            Flow::new(&server, &client, 2, 5000),
        ],
    );
    let limit = S::PATIENCE + TIMEOUT + QUIET_BEFORE_END;
    wait_within(&stage, limit, "the end", || {
        (stage.listener().connections() == 0).then_some(())
    });
    assert!(stage.now() - begun_at > TIMEOUT / 2);
    for peer in [&client, &server] {
        expect_end(&stage, peer);
    }
    Counts(&stage).expect_ended(Cause::MaxLifetime, 1);
    settle(&stage);
}
