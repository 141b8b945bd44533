//! Times of a connection that would take too long on a real clock.

use std::time::Duration;

use conformance::{
    Flow, Peer, Received, Scripted, ServerKind, Setup, Stage, elapse, pump, run, settle, wait,
    wait_within,
};
use proxy_core::metrics::Cause;
use proxy_core::prologue::{AcceptProxy, Expected, PrologueSettings, Untrusted};
use proxy_core::{
    BUFFER_BYTES, LIFETIME_GRACE, Lifetime, QUIET_BEFORE_END, QueueSettings, STALL_CHECK_INTERVAL,
    Times,
};

const MAX: Duration = Duration::from_secs(20);

fn with_lifetime(jitter: u8) -> Setup {
    Setup {
        times: Times {
            lifetime: Some(Lifetime { max: MAX, jitter }),
            ..Times::default()
        },
        ..Setup::default()
    }
}

fn ended(stage: &Scripted, cause: Cause) -> u64 {
    let cells = &stage.listener().cells;
    cells.sum(|cells| cells.ended[cause as usize].get())
}

/// One that is busy has a while to become quiet, and ends in the first pause.
#[test]
fn a_busy_connection_ends_in_its_first_pause_after_its_lifetime() {
    run::<Scripted>(|| {
        let stage = Scripted::start(with_lifetime(0));
        let begun_at = stage.now();
        let (client, server) = stage.pair();
        let busy_until = MAX + LIFETIME_GRACE / 2;
        let mut seed = 0;
        while stage.now() - begun_at < busy_until {
            pump(&stage, &mut [Flow::new(&client, &server, seed, 100)]);
            elapse(&stage, QUIET_BEFORE_END / 4);
            seed += 1;
        }
        wait_within(&stage, QUIET_BEFORE_END, "the end", || {
            (stage.listener().connections() == 0).then_some(())
        });
        for peer in [&client, &server] {
            let last = wait_within(&stage, Duration::ZERO, "an end", || {
                match peer.receive(&mut [0; 16]) {
                    Received::Nothing => None,
                    last => Some(last),
                }
            });
            assert_eq!(last, Received::End);
        }
        assert_eq!(ended(&stage, Cause::MaxLifetime), 1);
        settle(&stage);
    });
}

/// One that never pauses is reset: neither side takes what it has for everything.
#[test]
fn a_connection_without_a_pause_is_reset_after_its_lifetime() {
    run::<Scripted>(|| {
        let stage = Scripted::start(with_lifetime(0));
        let begun_at = stage.now();
        let (client, server) = stage.pair();
        // Bytes for every receive: each turn spends its budget.
        stage.pour(&server, BUFFER_BYTES);
        while stage.listener().connections() > 0 {
            while let Received::Bytes(_) = client.receive(&mut [0; 4096]) {}
            stage.step();
            stage.hurry(Duration::from_millis(100));
            let lasted = stage.now() - begun_at;
            assert!(lasted < 2 * MAX, "no end after {lasted:?}");
        }
        let lasted = stage.now() - begun_at;
        assert!(lasted >= MAX + LIFETIME_GRACE, "cut after {lasted:?}");
        assert!(client.is_reset() && server.is_reset());
        assert_eq!(ended(&stage, Cause::MaxLifetime), 1);
        settle(&stage);
    });
}

/// From the accept, whatever it is at: nobody keeps a place by saying half of a header, nor while no server answers.
#[test]
fn a_lifetime_ends_before_there_is_a_server() {
    run::<Scripted>(|| {
        let prologue = PrologueSettings {
            timeout: 10 * MAX,
            hello: None,
            accept_proxy: Some(AcceptProxy {
                expected: Expected::Required,
                trusted: None,
                untrusted: Untrusted::Refuse,
            }),
        };
        for (prologue, says) in [(Some(prologue), &b"PROXY "[..]), (None, b"hello")] {
            let stage = Scripted::start(Setup {
                servers: vec![ServerKind::Silent],
                connect_timeout: 10 * MAX,
                prologue,
                ..with_lifetime(0)
            });
            let begun_at = stage.now();
            let client = stage.connect();
            client.send(says).expect("it is open");
            elapse(&stage, MAX - Duration::from_secs(1));
            assert!(!client.is_reset());
            wait_within(&stage, Duration::from_secs(2), "the end", || {
                client.is_reset().then_some(())
            });
            assert!(stage.now() - begun_at >= MAX);
            assert_eq!(ended(&stage, Cause::MaxLifetime), 1);
            drop(client);
            settle(&stage);
        }
    });
}

/// The same while it waits for a place at a server: nobody is asked for it then, and who comes next has the place.
#[test]
fn a_lifetime_ends_while_a_place_is_waited_for() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            server_connections: Some(1),
            queue: Some(QueueSettings {
                max: 10,
                timeout: 10 * MAX,
            }),
            ..with_lifetime(0)
        });
        let begun_at = stage.now();
        let (client, server) = stage.pair();
        let waits = stage.connect();
        waits.send(b"hello").expect("it is open");
        let upstream = stage.pool().upstream();
        // The one that has the place is busy, and has a while more to become quiet.
        let mut seed = 0;
        while !waits.is_reset() {
            pump(&stage, &mut [Flow::new(&client, &server, seed, 100)]);
            elapse(&stage, QUIET_BEFORE_END / 4);
            seed += 1;
            let lasted = stage.now() - begun_at;
            assert!(lasted < MAX + LIFETIME_GRACE, "it waits for {lasted:?}");
            if lasted < MAX {
                assert_eq!(upstream.slot_queue(), 1);
            }
        }
        assert!(stage.now() - begun_at >= MAX);
        assert_eq!(
            (ended(&stage, Cause::MaxLifetime), upstream.slot_queue()),
            (1, 0)
        );
        let next = stage.connect();
        drop((client, server));
        let server = wait(&stage, "the next one is served", || stage.accept(0));
        pump(&stage, &mut [Flow::new(&next, &server, seed, 100)]);
        assert_eq!(stage.pool().upstream().connections(), 1);
        assert!(stage.accept(0).is_none());
        drop((waits, next, server));
        settle(&stage);
    });
}

/// Connections that began together don't end together.
#[test]
fn jitter_spreads_the_ends() {
    run::<Scripted>(|| {
        let stage = Scripted::start(with_lifetime(50));
        let pairs: Vec<_> = (0..40).map(|_| stage.pair()).collect();
        elapse(&stage, MAX / 2 - Duration::from_secs(1));
        assert_eq!(ended(&stage, Cause::MaxLifetime), 0);
        elapse(&stage, MAX / 4);
        let half = ended(&stage, Cause::MaxLifetime);
        assert!((5..=35).contains(&half), "{half} of 40 in the first half");
        elapse(&stage, MAX / 4 + Duration::from_secs(1));
        assert_eq!(ended(&stage, Cause::MaxLifetime), 40);
        drop(pairs);
        settle(&stage);
    });
}

/// Whatever times there are, a byte moves a deadline back and sets no timer.
#[test]
fn all_times_cost_no_timer_a_message() {
    run::<Scripted>(|| {
        const BYTES: u32 = 5_000;
        let ten = Some(Duration::from_secs(10));
        let stage = Scripted::start(Setup {
            idle_timeout: ten,
            times: Times {
                client_idle: ten,
                server_idle: ten,
                half_closed: ten,
                lifetime: Some(Lifetime {
                    max: MAX,
                    jitter: 10,
                }),
            },
            ..Setup::default()
        });
        stage.keep_still();
        let (client, server) = stage.pair();
        for seed in 0..BYTES {
            elapse(&stage, Duration::from_millis(1));
            pump(
                &stage,
                &mut [
                    Flow::new(&client, &server, seed.into(), 1),
                    Flow::new(&server, &client, seed.into(), 1),
                ],
            );
        }
        let seconds = u64::from(BYTES) / 1000 / STALL_CHECK_INTERVAL.as_secs();
        let arms = stage.timer_arms();
        assert!(arms <= 2 * seconds + 5, "set {arms} times");
        drop((client, server));
        settle(&stage);
    });
}
