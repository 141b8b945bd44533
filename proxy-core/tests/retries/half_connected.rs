//! Servers that take a connection and end it before they have served it.

use super::*;

/// The first of two servers that is connected to: its place, and its end.
fn server_of(stage: &Scripted) -> (usize, ScriptedPeer) {
    wait(stage, "a server", || {
        (0..2).find_map(|server| Some((server, stage.accept(server)?)))
    })
}

/// Two servers that take every connection and end it: each retry is paid for, and then clients see what the server did.
#[test]
fn liars_cost_no_more_than_the_budget() {
    const CLIENTS: u64 = 12;
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            retry_budget: Some(0),
            ..Setup::default()
        });
        let clients: Vec<_> = (0..CLIENTS).map(|_| stage.connect()).collect();
        while stage.step() {}
        let mut dropped = 0;
        while dropped < CLIENTS + RETRIES_AT_ONCE_MIN {
            let server = wait(&stage, "a server to be dropped", || {
                (0..2).find_map(|server| stage.accept(server))
            });
            dropped += 1;
            drop(server);
        }
        clients.iter().for_each(|client| expect_end(&stage, client));
        drop(clients);
        settle(&stage);
        assert_eq!(retries(&stage), RETRIES_AT_ONCE_MIN);
        assert_eq!(refused(&stage), CLIENTS);
        let all = [0, 1].map(|server| failures(&stage, server, ConnectFailure::Closed));
        assert_eq!(all.iter().sum::<u64>(), dropped);
    });
}

/// An end that comes after the last look is not passed on either.
#[test]
fn an_end_that_a_turn_receives_is_kept_from_the_client() {
    run::<Scripted>(|| {
        let (ends, told) = Ends::new(64);
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            retry_budget: Some(100),
            ends: Some(Arc::new(ends)),
            ..Setup::default()
        });
        let client = stage.connect();
        let (liar, server) = server_of(&stage);
        stage.end_at_receive(&server);
        let other = wait(&stage, "the other one", || stage.accept(1 - liar));
        pump(
            &stage,
            &mut [
                Flow::new(&client, &other, 1, 10_000).with_end(),
                Flow::new(&other, &client, 2, 10_000).with_end(),
            ],
        );
        drop((client, server, other));
        settle(&stage);
        assert_eq!(failures(&stage, liar, ConnectFailure::Closed), 1);
        let end = told.try_recv().ok().flatten().expect("an end was told");
        assert_eq!((end.retries, end.cause), (1, Cause::Finished));
        let server = end.server.expect("it had one");
        assert_eq!(server.id, stage.pool().server(1 - liar).id);
        assert_eq!((end.bytes_in, end.bytes_out), (10_000, 10_000));
    });
}

/// Bytes of the client's that were received and that the server did not take any more are gone: no other server may go on.
#[test]
fn bytes_that_were_lost_are_the_end() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            retry_budget: Some(100),
            ..Setup::default()
        });
        let client = stage.connect();
        let (place, server) = server_of(&stage);
        while stage.step() {}
        stage.cut_at_send(&server);
        client.send(&[7; 100]).expect("there is room");
        let last = wait_within(&stage, Duration::from_secs(5), "a reset", || {
            match client.receive(&mut [0; 16]) {
                Received::Nothing => None,
                last => Some(last),
            }
        });
        assert_eq!(last, Received::Reset);
        assert!(stage.accept(1 - place).is_none());
        assert_eq!(retries(&stage), 0);
        drop((client, server));
        settle(&stage);
    });
}

/// A connection that looks for another server is listed without one, and then with the one that it has.
#[test]
fn what_others_see_of_it_is_the_server_that_it_has() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            connect_timeout: Duration::from_secs(60),
            retry_budget: Some(100),
            ..Setup::default()
        });
        let seen = || {
            let mut seen = None;
            let live = &stage.listener().live;
            live.each(|one| seen = Some((one.id, one.server.map(|server| server.id))));
            seen.expect("it is listed")
        };
        let id = |place: usize| stage.pool().server(place).id;
        let client = stage.connect();
        let (liar, server) = server_of(&stage);
        while stage.step() {}
        let (number, first) = seen();
        assert_eq!(first, Some(id(liar)));
        stage.turn_into(1 - liar, ServerKind::Refusing);
        drop(server);
        while stage.step() {}
        assert_eq!(seen(), (number, None));
        assert_eq!(stage.pool().upstream().queue(), 1);
        assert_eq!(stage.pool().server(liar).connections(), 0);
        let patience = Duration::from_secs(60);
        let server = wait_within(&stage, patience, "it again", || stage.accept(liar));
        while stage.step() {}
        assert_eq!(seen(), (number, Some(id(liar))));
        drop((client, server));
        settle(&stage);
    });
}

/// Who is left by its server while the other one is full waits for a place there, for longer than a connect may take.
#[test]
fn who_is_left_by_its_server_waits_for_a_place_at_another_one() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            server_connections: Some(1),
            queue: Some(QueueSettings {
                max: 10,
                timeout: Duration::from_secs(600),
            }),
            connect_timeout: Duration::from_secs(1),
            retry_budget: Some(100),
            ..Setup::default()
        });
        let served = |client: &ScriptedPeer, server: &ScriptedPeer, seed| {
            pump(
                &stage,
                &mut [
                    Flow::new(client, server, seed, 10_000),
                    Flow::new(server, client, !seed, 10_000),
                ],
            );
        };
        let accept = || server_of(&stage);
        let talker = stage.connect();
        let (other, its_server) = accept();
        served(&talker, &its_server, 1);
        let left = stage.connect();
        let (liar, server) = accept();
        assert_ne!(liar, other);
        drop(server);
        while stage.step() {}
        assert_eq!(failures(&stage, liar, ConnectFailure::Closed), 1);
        elapse(&stage, Duration::from_secs(60));
        assert_eq!(stage.pool().upstream().queue(), 1);
        drop((talker, its_server));
        let (place, server) = accept();
        assert_eq!(place, other);
        served(&left, &server, 2);
        assert_eq!(retries(&stage), 1);
        drop((left, server));
        settle(&stage);
    });
}

#[test]
fn half_connected_server_is_asked_for_tls_again() {
    run::<Scripted>(conformance::cases::half_connected_server_is_asked_for_tls_again::<Scripted>);
}

/// So is one whose end comes behind the last look.
#[test]
fn an_end_that_is_received_while_asking_for_tls_is_followed_by_another_server() {
    run::<Scripted>(|| {
        let stage = Scripted::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            retry_budget: Some(100),
            prologue: Some(PrologueSettings {
                timeout: Duration::from_secs(1),
                hello: Some(HelloSettings {
                    starttls: Some(Protocol::Postgres),
                    not_tls: NotTls::Route,
                }),
                accept_proxy: None,
            }),
            ..Setup::default()
        });
        let client = stage.connect();
        let said = [SSL_REQUEST, &hello("a.example", 0, 16_384)].concat();
        client.send(&said).expect("there is room");
        let (liar, server) = server_of(&stage);
        stage.end_at_receive(&server);
        let other = wait(&stage, "the other one", || stage.accept(1 - liar));
        other.send(b"S").expect("there is room");
        while stage.step() {}
        let mut heard = vec![0; said.len() + 1];
        let mut count = 0;
        while let Received::Bytes(more) = other.receive(&mut heard[count..]) {
            count += more;
            while stage.step() {}
        }
        assert!(heard[..count] == said, "other bytes");
        assert_eq!(failures(&stage, liar, ConnectFailure::Starttls), 1);
        client.reset();
        elapse(&stage, Duration::from_secs(120));
        drop((server, other));
        settle(&stage);
    });
}

/// What a client said before a server was looked for: its data, a header before it, or a header alone.
#[test]
fn what_was_heard_of_a_client_goes_to_one_server() {
    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";
    const DATA: &[u8] = b"the first words";
    for (first, second) in [(DATA, &b""[..]), (b"", DATA), (b"the", b" first words")] {
        let retried = Cell::new(0);
        run::<Scripted>(|| {
            let stage = Scripted::start(Setup {
                servers: vec![ServerKind::Listening; 2],
                retry_budget: Some(100),
                prologue: Some(PrologueSettings {
                    timeout: Duration::from_secs(1),
                    hello: None,
                    accept_proxy: Some(AcceptProxy {
                        expected: Expected::Required,
                        trusted: None,
                        untrusted: Untrusted::Refuse,
                    }),
                }),
                ..Setup::default()
            });
            let client = stage.connect();
            client
                .send(&[HEADER, first].concat())
                .expect("there is room");
            let next = || {
                let accept = |server| Some((server, stage.accept(server)?));
                wait(&stage, "a server", || (0..2).find_map(accept))
            };
            let (liar, server) = next();
            let hear = |server: &ScriptedPeer| {
                let mut heard = Vec::new();
                let mut buffer = [0; 100];
                while let Received::Bytes(count) = server.receive(&mut buffer) {
                    heard.extend_from_slice(&buffer[..count]);
                }
                heard
            };
            let has_heard = !hear(&server).is_empty();
            // What it doesn't hear from now on is lost with it.
            drop(server);
            if !has_heard {
                while stage.step() {}
                if let Some(server) = stage.accept(1 - liar) {
                    retried.set(retried.get() + 1);
                    client.send(second).expect("there is room");
                    while stage.step() {}
                    assert_eq!(hear(&server), DATA);
                    assert_eq!(retries(&stage), 1);
                    drop(server);
                }
            }
            drop(client);
            // Who is lost has a while.
            elapse(&stage, Duration::from_secs(120));
            settle(&stage);
            assert!(retries(&stage) <= 1);
        });
        assert!(retried.get() > 0, "after {first:?}");
    }
}
