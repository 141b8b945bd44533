//! Connections that may not stay, in virtual time.

use std::time::Duration;

use conformance::{
    Flow, Peer, Received, Scripted, ServerKind, Setup, Stage, elapse, pump, push_until_stuck, run,
    settle,
};
use proxy_core::metrics::Cause;
use proxy_core::{BUFFER_BYTES, Closing, LIFETIME_GRACE, Manner, QUIET_BEFORE_END};

const SECOND: Duration = Duration::from_secs(1);
const OVER: Duration = Duration::from_secs(20);

fn ended(stage: &Scripted, cause: Cause) -> u64 {
    let cells = &stage.listener().cells;
    cells.sum(|cells| cells.ended[cause as usize].get())
}

fn closing(stage: &Scripted, manner: Manner, over: Duration) -> Option<Closing> {
    Some(Closing {
        manner,
        over,
        ..Closing::cut(Cause::ServerDown, stage.now())
    })
}

/// The verdict of checks about the server.
fn set_down(stage: &Scripted, manner: Manner, over: Duration) {
    let closing = closing(stage, manner, over).map(|closing| Closing {
        spares_from: Some(stage.now()),
        ..closing
    });
    assert!(stage.pool().server(0).on_down.set(closing));
    stage.run_all();
}

/// All connections of the listener are to end, from now on.
fn close_listener(stage: &Scripted, manner: Manner, over: Duration) {
    stage.listener().closing.set(closing(stage, manner, over));
    stage.run_all();
}

/// How a peer's connection has ended; none: it has not.
fn end_of(peer: &impl Peer) -> Option<Received> {
    loop {
        match peer.receive(&mut [0; 4096]) {
            Received::Bytes(_) => {}
            Received::Nothing => return None,
            end => return Some(end),
        }
    }
}

#[test]
fn a_thousand_quiet_connections_end_evenly_over_the_time() {
    const CLIENTS: u64 = 1000;
    for (manner, wanted) in [
        (Manner::Close, Received::End),
        (Manner::Reset, Received::Reset),
    ] {
        let stage = Scripted::start(Setup::default());
        let pairs: Vec<_> = (0..CLIENTS).map(|_| stage.pair()).collect();
        elapse(&stage, 2 * QUIET_BEFORE_END);
        set_down(&stage, manner, OVER);
        let each_second = CLIENTS / OVER.as_secs();
        for second in 1..=OVER.as_secs() {
            let before = ended(&stage, Cause::ServerDown);
            elapse(&stage, SECOND);
            let count = ended(&stage, Cause::ServerDown) - before;
            assert!(
                count.abs_diff(each_second) <= 5,
                "{count} in second {second}, not about {each_second}"
            );
        }
        assert_eq!(ended(&stage, Cause::ServerDown), CLIENTS);
        for (client, server) in &pairs {
            assert_eq!(
                (end_of(client), end_of(server)),
                (Some(wanted), Some(wanted))
            );
        }
        settle(&stage);
    }
}

#[test]
fn those_that_are_left_when_the_server_is_up_again_stay_until_it_is_down_again() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let pairs: Vec<_> = (0..40).map(|_| stage.pair()).collect();
        elapse(&stage, SECOND);
        set_down(&stage, Manner::Reset, OVER);
        elapse(&stage, OVER / 2);
        assert!(stage.pool().server(0).on_down.set(None));
        stage.run_all();
        let half = ended(&stage, Cause::ServerDown);
        assert!(half.abs_diff(20) <= 3, "{half} of 40");
        elapse(&stage, OVER);
        assert_eq!(ended(&stage, Cause::ServerDown), half);
        let stays = |(client, server): &&_| end_of(client).is_none() && end_of(server).is_none();
        let (client, server) = pairs.iter().find(stays).expect("half of them stay");
        pump(&stage, &mut [Flow::new(client, server, 1, 100_000)]);
        set_down(&stage, Manner::Reset, OVER);
        elapse(&stage, OVER);
        assert_eq!(ended(&stage, Cause::ServerDown), 40);
        settle(&stage);
    });
}

/// Where all servers are down, one is tried all the same.
#[test]
fn a_connection_that_comes_after_the_verdict_stays() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let early = stage.pair();
        elapse(&stage, SECOND);
        set_down(&stage, Manner::Close, OVER);
        elapse(&stage, SECOND / 10);
        let late = stage.pair();
        elapse(&stage, 2 * OVER);
        assert_eq!(end_of(&early.0), Some(Received::End));
        assert_eq!((end_of(&late.0), end_of(&late.1)), (None, None));
        pump(&stage, &mut [Flow::new(&late.0, &late.1, 1, 100_000)]);
        drop((early, late));
        settle(&stage);
    });
}

#[test]
fn what_is_held_for_a_slow_side_arrives_before_an_orderly_end() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let (client, server) = stage.pair();
        let mut answer = Flow::new(&server, &client, 1, 300_000);
        push_until_stuck(&stage, &mut answer);
        let removed = &stage.pool().server(0).on_removed;
        removed.set(closing(&stage, Manner::Close, Duration::ZERO));
        stage.run_all();
        elapse(&stage, 2 * QUIET_BEFORE_END);
        assert_eq!(stage.listener().connections(), 1, "bytes are held");
        // What arrives is compared with what was sent.
        pump(&stage, &mut [answer]);
        elapse(&stage, 2 * QUIET_BEFORE_END);
        assert_eq!(ended(&stage, Cause::ServerDown), 1);
        assert_eq!(end_of(&client), Some(Received::End));
        assert_eq!(end_of(&server), Some(Received::End));
        settle(&stage);
    });
}

#[test]
fn a_side_that_takes_nothing_is_reset_in_the_end() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let (client, server) = stage.pair();
        let mut answer = Flow::new(&server, &client, 1, u64::MAX);
        push_until_stuck(&stage, &mut answer);
        close_listener(&stage, Manner::Close, Duration::ZERO);
        elapse(&stage, LIFETIME_GRACE - SECOND);
        assert_eq!(stage.listener().connections(), 1);
        elapse(&stage, 2 * SECOND);
        assert_eq!(ended(&stage, Cause::ServerDown), 1);
        assert!(client.is_reset() && server.is_reset());
        settle(&stage);
    });
}

/// A server that got the end of the stream would take a part for the whole.
#[test]
fn a_client_that_keeps_sending_is_reset_in_the_end() {
    run::<Scripted>(|| {
        for manner in [Manner::Close, Manner::Reset] {
            let stage = Scripted::start(Setup::default());
            let (client, server) = stage.pair();
            pump(&stage, &mut [Flow::new(&client, &server, 1, 100)]);
            // Bytes for every receive: each turn spends its budget.
            stage.pour(&client, BUFFER_BYTES);
            let begun_at = stage.now();
            close_listener(&stage, manner, Duration::ZERO);
            while stage.listener().connections() > 0 {
                while let Received::Bytes(_) = server.receive(&mut [0; 4096]) {}
                stage.step();
                stage.hurry(Duration::from_millis(100));
                let lasted = stage.now() - begun_at;
                assert!(lasted < 2 * LIFETIME_GRACE, "no end after {lasted:?}");
            }
            let waits = stage.now() - begun_at >= LIFETIME_GRACE;
            assert_eq!(waits, manner == Manner::Close, "{manner:?}");
            assert!(client.is_reset() && server.is_reset());
            assert_eq!(ended(&stage, Cause::ServerDown), 1);
            settle(&stage);
        }
    });
}

/// The end of the other stream would say that the answer is whole.
#[test]
fn a_half_closed_connection_has_a_while_for_the_rest_and_is_reset_then() {
    run::<Scripted>(|| {
        let half_closed = |manner| {
            let stage = Scripted::start(Setup::default());
            let (client, server) = stage.pair();
            pump(
                &stage,
                &mut [Flow::new(&client, &server, 1, 100).with_end()],
            );
            elapse(&stage, 2 * QUIET_BEFORE_END);
            close_listener(&stage, manner, Duration::ZERO);
            (stage, client, server)
        };
        let (stage, client, server) = half_closed(Manner::Close);
        elapse(&stage, LIFETIME_GRACE / 2);
        pump(
            &stage,
            &mut [Flow::new(&server, &client, 2, 300_000).with_end()],
        );
        elapse(&stage, SECOND / 10);
        assert_eq!(ended(&stage, Cause::Finished), 1);
        settle(&stage);

        let (stage, client, server) = half_closed(Manner::Close);
        elapse(&stage, LIFETIME_GRACE - SECOND);
        assert_eq!(end_of(&client), None);
        elapse(&stage, 2 * SECOND);
        assert_eq!(ended(&stage, Cause::ServerDown), 1);
        assert!(client.is_reset() && server.is_reset());
        settle(&stage);

        let (stage, client, server) = half_closed(Manner::Reset);
        elapse(&stage, SECOND / 10);
        assert_eq!(ended(&stage, Cause::ServerDown), 1);
        assert!(client.is_reset() && server.is_reset());
        settle(&stage);
    });
}

/// A client that waits for its server has nothing that could be closed in an orderly manner.
#[test]
fn a_client_without_a_server_is_reset_at_its_moment() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Silent],
            connect_timeout: 10 * OVER,
            ..Setup::default()
        });
        let clients: Vec<_> = (0..40).map(|_| stage.connect()).collect();
        elapse(&stage, SECOND);
        // Shorter than anything else that they wait for.
        let over = SECOND / 2;
        close_listener(&stage, Manner::Close, over);
        elapse(&stage, over / 2);
        let half = ended(&stage, Cause::ServerDown);
        assert!(half.abs_diff(20) <= 3, "{half} of 40");
        elapse(&stage, over / 2);
        assert_eq!(ended(&stage, Cause::ServerDown), 40);
        for client in &clients {
            assert_eq!(end_of(client), Some(Received::Reset));
        }
        settle(&stage);
    });
}

#[test]
fn a_reset_does_not_wait_for_a_close_that_has_begun() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let (client, server) = stage.pair();
        let mut answer = Flow::new(&server, &client, 1, u64::MAX);
        push_until_stuck(&stage, &mut answer);
        elapse(&stage, SECOND);
        set_down(&stage, Manner::Close, Duration::ZERO);
        elapse(&stage, SECOND);
        assert_eq!(stage.listener().connections(), 1, "bytes are held");
        let cut = Closing::cut(Cause::Drain, stage.now());
        stage.listener().closing.set(Some(cut));
        stage.run_all();
        elapse(&stage, SECOND / 10);
        assert_eq!(ended(&stage, Cause::Drain), 1);
        assert!(client.is_reset() && server.is_reset());
        settle(&stage);
    });
}

/// What a lost side has said is on its way to the other one.
#[test]
fn last_words_end_with_a_reset_too() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let (client, server) = stage.pair();
        let mut answer = Flow::new(&server, &client, 1, u64::MAX);
        push_until_stuck(&stage, &mut answer);
        server.reset();
        elapse(&stage, 2 * SECOND);
        assert_eq!(stage.listener().connections(), 1, "bytes are held");
        close_listener(&stage, Manner::Reset, Duration::ZERO);
        elapse(&stage, 2 * SECOND);
        assert_eq!(stage.listener().connections(), 0);
        assert!(client.is_reset());
        settle(&stage);
    });
}
