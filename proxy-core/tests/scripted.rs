//! The conformance suite on a scripted socket, with no descriptor and no clock, and what can be seen only there.

use std::time::Duration;

use conformance::cases::pair_before_a_panic;
use conformance::{
    Flow, Peer, Received, Scripted, ServerKind, Setup, Stage, elapse, pump, push_until_stuck, run,
    settle, wait, wait_within,
};
use proxy_core::metrics::{Cause, ConnectFailure, CoreCells, Counter, ServerCells};
use proxy_core::{
    BUFFER_BYTES, CLIENT_CHECK_INTERVAL, LAST_WORDS_PATIENCE, ROOM_RETRY_MAX, STALL_CHECK_INTERVAL,
};

conformance::suite!(scripted, Scripted);

/// What only connects need isn't kept for as long as a connection lasts.
#[test]
fn a_connection_is_small() {
    let bytes = Scripted::CONNECTION_BYTES;
    assert!(bytes <= CONNECTION_BYTES_MAX, "{bytes} bytes");
}

/// What one is made of: two sockets, a relay, and times.
const CONNECTION_BYTES_MAX: usize = 480;

/// How long the looks at acknowledgements may take until the last one has come.
const ACKNOWLEDGEMENT: Duration = Duration::from_secs(5);

/// The idle timeout moves back with each byte, and the timer doesn't.
#[test]
fn idle_timer_is_set_lazily() {
    run::<Scripted>(|| {
        const TIMEOUT: Duration = Duration::from_secs(10);
        const BYTES: u32 = 20_000;
        let stage = Scripted::start(Setup {
            idle_timeout: Some(TIMEOUT),
            ..Setup::default()
        });
        stage.keep_still();
        let (client, server) = stage.pair();
        for seed in 0..BYTES {
            elapse(&stage, Duration::from_millis(1));
            pump(&stage, &mut [Flow::new(&client, &server, seed.into(), 1)]);
        }
        // For the connect, each time that it fired, and for the look at a byte that the kernel did not take at once:
        // a count of the time that has passed, and not of the bytes.
        let seconds = u64::from(BYTES) / 1000 / STALL_CHECK_INTERVAL.as_secs();
        let arms = stage.timer_arms();
        assert!(arms <= 2 * seconds + 5, "set {arms} times");
        drop((client, server));
        settle(&stage);
    });
}

/// A stalled connection is looked at once an interval, however often its other direction runs.
#[test]
fn stalled_connection_is_looked_at_now_and_then() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        stage.keep_still();
        let (client, server) = stage.pair();
        let mut up = Flow::new(&client, &server, 1, 1_000_000);
        push_until_stuck(&stage, &mut up);
        let before = stage.timer_arms();
        for seed in 0..1000 {
            elapse(&stage, STALL_CHECK_INTERVAL / 100);
            pump(&stage, &mut [Flow::new(&server, &client, seed, 1)]);
        }
        let arms = stage.timer_arms() - before;
        assert!(
            (9..=12).contains(&arms),
            "set {arms} times in ten intervals"
        );
        pump(&stage, &mut [up]);
        drop((client, server));
        settle(&stage);
    });
}

/// The reset of a side that isn't being read is found when the next look is due. The other side has all its patience to
/// take what is on its way to it, and is reset then, and not later.
#[test]
fn reset_while_stalled_is_found_within_the_interval() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let (client, server) = stage.pair();
        push_until_stuck(&stage, &mut Flow::new(&client, &server, 1, 1_000_000));
        // The patience begins with the reset, not with the last byte.
        elapse(&stage, 2 * LAST_WORDS_PATIENCE);
        client.reset();
        elapse(&stage, LAST_WORDS_PATIENCE / 2);
        assert!(!server.is_reset(), "it may still read");
        let limit = STALL_CHECK_INTERVAL + LAST_WORDS_PATIENCE / 2 + Duration::from_secs(1);
        wait_within(&stage, limit, "a reset", || server.is_reset().then_some(()));
        settle(&stage);
    });
}

/// A side that sends without end to the one that is lost, and takes nothing, has its patience end all the same.
#[test]
fn a_flood_does_not_keep_a_lost_side_s_last_words_waiting_for_ever() {
    for timeout in [None, Some(LAST_WORDS_PATIENCE / 4)] {
        run::<Scripted>(|| {
            let stage = Scripted::start(Setup {
                idle_timeout: timeout,
                ..Setup::default()
            });
            let (client, server) = stage.pair();
            push_until_stuck(&stage, &mut Flow::new(&client, &server, 1, 1_000_000));
            stage.pour(&server, BUFFER_BYTES);
            client.reset();
            let patience = timeout.unwrap_or(LAST_WORDS_PATIENCE);
            let begun_at = stage.now();
            let step = patience / 100;
            while !server.is_reset() {
                // It is never idle: time passes beside the work.
                for _ in 0..20 {
                    stage.step();
                }
                stage.hurry(step);
                let waited = stage.now() - begun_at;
                assert!(waited < patience * 2, "no end after {waited:?}");
            }
            let waited = stage.now() - begun_at;
            assert!(waited >= patience, "cut after {waited:?}");
            drop(server);
            settle(&stage);
        });
    }
}

/// A server that answers and resets before the proxy has looked at its connect was connected: the answer arrives, however
/// late the proxy comes to look.
#[test]
fn answer_of_a_server_that_resets_before_its_connect_is_seen_arrives() {
    const ANSWER: &[u8] = b"the answer";
    const TIMEOUT: Duration = Duration::from_secs(10);
    for is_late in [false, true] {
        run::<Scripted>(|| {
            let stage = Scripted::start(Setup {
                connect_timeout: TIMEOUT,
                ..Setup::default()
            });
            let client = stage.connect();
            let server = loop {
                match stage.accept(0) {
                    Some(server) => break server,
                    None => assert!(stage.step(), "no connect"),
                }
            };
            assert_eq!(server.send(ANSWER).expect("room"), ANSWER.len());
            assert_eq!(server.unacknowledged(), 0);
            server.reset();
            if is_late {
                stage.hurry(TIMEOUT);
            }
            let mut answer = Vec::new();
            let mut chunk = [0; 64];
            wait_within(&stage, ACKNOWLEDGEMENT, "a reset after the answer", || {
                match client.receive(&mut chunk) {
                    Received::Bytes(count) => answer.extend_from_slice(&chunk[..count]),
                    Received::Nothing => {}
                    Received::Reset => return Some(()),
                    Received::End => panic!("an end that nobody sent"),
                }
                None
            });
            assert_eq!(answer, ANSWER);
            let server = stage.pool().server(0);
            let failures = |cells: &ServerCells| cells.failures.iter().map(Counter::get).sum();
            let failures = server.cells.sum(failures);
            assert_eq!(failures, 0, "it was connected");
            settle(&stage);
        });
    }
}

/// What a client says late, before it is reset while its server is being connected, arrives.
#[test]
fn late_words_of_a_client_that_is_reset_while_connecting_arrive() {
    const WORDS: &[u8] = b"the last words";
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Full],
            connect_timeout: Duration::from_secs(60),
            ..Setup::default()
        });
        let client = stage.connect();
        elapse(&stage, 3 * CLIENT_CHECK_INTERVAL);
        assert_eq!(client.send(WORDS).expect("room"), WORDS.len());
        assert_eq!(client.unacknowledged(), 0);
        client.reset();
        elapse(&stage, 3 * CLIENT_CHECK_INTERVAL);
        assert_eq!(stage.listener().connections(), 1, "it has something to say");
        stage.make_room(0);
        let server = wait_within(&stage, ROOM_RETRY_MAX, "there is room", || stage.accept(0));
        let mut words = Vec::new();
        let mut chunk = [0; 64];
        wait_within(&stage, ACKNOWLEDGEMENT, "a reset after the words", || {
            match server.receive(&mut chunk) {
                Received::Bytes(count) => words.extend_from_slice(&chunk[..count]),
                Received::Nothing => {}
                Received::Reset => return Some(()),
                Received::End => panic!("an end that nobody sent"),
            }
            None
        });
        assert_eq!(words, WORDS);
        settle(&stage);
        let ended = |cause| {
            let cells = &stage.listener().cells;
            cells.sum(|cells| cells.ended[cause as usize].get())
        };
        assert_eq!(ended(Cause::ClientReset), 1);
    });
}

/// A connection that is dropped at whatever it is at resets both sides.
#[test]
fn dropped_connection_resets_both_sides() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let idle = stage.pair();
        let stalled = stage.pair();
        push_until_stuck(&stage, &mut Flow::new(&stalled.0, &stalled.1, 1, 1_000_000));
        stage.drop_connections();
        for peer in [&idle.0, &idle.1, &stalled.0, &stalled.1] {
            assert!(peer.is_reset());
        }
        assert_eq!(idle.0.receive(&mut [0; 16]), Received::Reset);
    });
}

/// What a connection leaves in a pipe when its destination fails does not come out in another one's stream.
#[test]
fn bytes_of_a_cut_connection_are_nobodys() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            workers: 1,
            ..Setup::default()
        });
        let (client, server) = stage.pair();
        pump(&stage, &mut [Flow::new(&client, &server, 1, 1_000_000)]);
        push_until_stuck(&stage, &mut Flow::new(&client, &server, 2, 1_000_000));
        server.reset();
        wait_within(&stage, STALL_CHECK_INTERVAL, "a reset", || {
            client.is_reset().then_some(())
        });
        drop(client);
        let (client, server) = stage.pair();
        pump(&stage, &mut [Flow::new(&client, &server, 3, 2_000_000)]);
        drop((client, server));
        settle(&stage);
    });
}

/// A connection that its new worker can't watch is cut, and counted as one that ended.
#[test]
fn connection_that_cannot_be_taken_over_is_cut() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let (client, server) = stage.pair();
        push_until_stuck(&stage, &mut Flow::new(&client, &server, 1, 1_000_000));
        stage.hand_over_in_vain();
        assert!(client.is_reset() && server.is_reset());
        let ended = |cause| {
            stage
                .listener()
                .cells
                .sum(|cells| cells.ended[cause as usize].get())
        };
        assert_eq!(ended(Cause::ClientError), 1);
        settle(&stage);
    });
}

/// A connect that met itself counts as refused: nothing is sent to it, and the next server is tried.
#[test]
fn connect_that_meets_itself_is_refused() {
    run::<Scripted>(|| {
        for one_name in [false, true] {
            let stage = Scripted::start(Setup {
                servers: vec![ServerKind::Itself, ServerKind::Listening],
                one_name,
                ..Setup::default()
            });
            for seed in 0..4 {
                let client = stage.connect();
                let server = wait(&stage, "the other one", || stage.accept(1));
                pump(
                    &stage,
                    &mut [Flow::new(&client, &server, seed, 1000).with_end()],
                );
            }
            let itself = stage.accept(0).expect("the first try");
            assert!(itself.is_reset(), "its close is no orderly one");
            assert_eq!(itself.receive(&mut [0; 16]), Received::Reset);
            settle(&stage);
            let refused = ConnectFailure::Refused as usize;
            let cells = &stage.pool().server(0).cells;
            assert_eq!(cells.sum(|cells| cells.failures[refused].get()), 1);
        }
    });
}

/// A full queue is looked at ever more rarely, within bounds, until there is room.
#[test]
fn full_queue_is_looked_at_within_bounds() {
    run::<Scripted>(|| {
        const WAIT: Duration = Duration::from_secs(10);
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Full],
            connect_timeout: 2 * WAIT,
            ..Setup::default()
        });
        stage.keep_still();
        let client = stage.connect();
        elapse(&stage, WAIT);
        let looks = u128::from(stage.connects_to_full());
        let rarest = WAIT.as_millis() / ROOM_RETRY_MAX.as_millis();
        assert!((rarest..rarest + 30).contains(&looks), "{looks} looks");
        assert_eq!(
            stage.pool().server(0).connections(),
            1,
            "others are preferred"
        );
        stage.make_room(0);
        let server = wait_within(&stage, ROOM_RETRY_MAX, "there is room", || stage.accept(0));
        pump(
            &stage,
            &mut [Flow::new(&client, &server, 1, 1000).with_end()],
        );
        drop((client, server));
        settle(&stage);
        let failures = |reason| {
            let cells = &stage.pool().server(0).cells;
            cells.sum(|cells| cells.failures[reason as usize].get())
        };
        assert!(
            ConnectFailure::ALL
                .into_iter()
                .all(|reason| failures(reason) == 0)
        );
    });
}

/// A connection that panics is cut, and counted; the others, and those that come after it, are served.
#[test]
fn a_panic_is_the_end_of_one_connection() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening, ServerKind::Bug],
            ..Setup::default()
        });
        let (client, server) = pair_before_a_panic(&stage);
        let (next, next_server) = stage.pair();
        for (client, server) in [(&client, &server), (&next, &next_server)] {
            pump(&stage, &mut [Flow::new(client, server, 1, 1000)]);
        }
        drop((client, server, next, next_server));
        settle(&stage);
    });
}

/// A source that always has one byte is held to a count of receives, as its bytes would never come to the limit.
#[test]
fn drip_does_not_hold_a_worker() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup::default());
        let (source, sink) = stage.pair();
        let drip = stage.flood_by(source, sink, 1);
        let (client, server) = stage.pair();
        for seed in 0..20 {
            pump(&stage, &mut [Flow::new(&client, &server, seed, 64)]);
        }
        drop((drip, client, server));
        settle(&stage);
    });
}

/// A connection that is run by one worker and then by another is counted where it is.
#[test]
fn moves_are_counted() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            workers: 3,
            ..Setup::default()
        });
        let pairs: Vec<_> = (0..10).map(|_| stage.pair()).collect();
        for (client, server) in &pairs {
            pump(&stage, &mut [Flow::new(client, server, 1, 100_000)]);
        }
        let generation = stage.generation();
        let cores = &generation.cores;
        assert!(cores.sum(CoreCells::taken) <= cores.sum(|core| core.polls.get()));
        let own = |index| {
            let taken_from = &generation.cells(index).taken_from;
            taken_from.of(generation.slot(index)).get()
        };
        assert_eq!((0..generation.workers()).map(own).sum::<u64>(), 0);
        drop(pairs);
        settle(&stage);
        assert_eq!(cores.sum(|core| core.ended.get()), 10);
    });
}

/// Bulk goes through a pipe, and messages don't.
#[test]
fn bulk_is_spliced_and_messages_are_copied() {
    run::<Scripted>(|| {
        const BULK: u64 = 2_000_000;
        let stage = Scripted::start(Setup::default());
        let (client, server) = stage.pair();
        let spliced = || {
            stage
                .listener()
                .cells
                .sum(|cells| cells.bytes_spliced.get())
        };
        for trip in 0..100 {
            pump(&stage, &mut [Flow::new(&client, &server, trip, 64)]);
        }
        assert_eq!(spliced(), 0);
        pump(&stage, &mut [Flow::new(&client, &server, 1, BULK)]);
        assert!(spliced() > BULK / 2, "{} bytes were spliced", spliced());
        let before = spliced();
        for trip in 0..100 {
            pump(&stage, &mut [Flow::new(&client, &server, trip, 64)]);
        }
        assert!(spliced() < before + 64 * 10, "messages are spliced");
        drop((client, server));
        settle(&stage);
    });
}
