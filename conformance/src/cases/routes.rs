//! Where connections go by what a ClientHello says, and what is spoken before it.

use std::time::Duration;

use proxy_core::metrics::{Cause, ConnectFailure, PrologueResult};
use proxy_core::prologue::proxy_protocol::Version;
use proxy_core::prologue::starttls::Protocol;
use proxy_core::prologue::{HelloSettings, NotTls, PrologueSettings};
use proxy_core::{SendProxy, SendTlvs};

use super::prologue::{expect_results, hear, say};
use super::{Counts, expect_end};
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, ServerKind, Setup, Stage};
use crate::wait::{elapse, settle, wait, wait_within};

/// Long enough for a busy machine to say something in time.
const TIMEOUT: Duration = Duration::from_secs(20);

/// For cases that wait for it.
const SHORT: Duration = Duration::from_millis(300);

/// How a client of PostgreSQL asks for TLS.
pub const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Two servers, the second one behind the name "b.example".
fn stage<S: Stage>(starttls: Option<Protocol>, not_tls: NotTls, timeout: Duration) -> S {
    S::start(Setup {
        servers: vec![ServerKind::Listening, ServerKind::Listening],
        routes: vec![("a.example", 0), ("b.example", 1)],
        connect_timeout: timeout,
        starttls_timeout: timeout,
        prologue: Some(PrologueSettings {
            timeout,
            accept_proxy: None,
            hello: Some(HelloSettings { starttls, not_tls }),
        }),
        ..Setup::default()
    })
}

/// A ClientHello with this name, in records of this size, and with so many bytes of padding.
pub fn hello(name: &str, padding: usize, record: usize) -> Vec<u8> {
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let entry = [&[0][..], &vector(name.as_bytes())].concat();
    let sni = [&[0, 0][..], &vector(&vector(&entry))].concat();
    let filler = [&[0, 21][..], &vector(&vec![0; padding])].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &vector(&[filler, sni].concat()),
    ]
    .concat();
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    let records = message.chunks(record);
    records
        .flat_map(|part| [&[22, 3, 1][..], &vector(part)].concat())
        .collect()
}

fn accepted<S: Stage>(stage: &S, server: usize) -> S::Peer {
    // A client that says nothing is waited for.
    wait_within(
        stage,
        S::PATIENCE + SHORT,
        "a connection to the server",
        || stage.accept(server),
    )
}

/// Plays both directions to their ends.
fn exchange<S: Stage>(stage: &S, client: &S::Peer, server: &S::Peer) {
    pump(
        stage,
        &mut [
            Flow::new(client, server, 1, 1000).with_end(),
            Flow::new(server, client, 2, 70_000).with_end(),
        ],
    );
    Counts(stage).expect_ended(Cause::Finished, 1);
}

fn taken<S: Stage>(stage: &S) -> Vec<(String, u64)> {
    let routes = stage.listener().routes.all();
    let taken = routes
        .iter()
        .map(|route| (route.name.clone(), route.connections()));
    taken.filter(|(_, count)| *count > 0).collect()
}

/// Each name leads to its server, which gets the hello as it was sent, however it is cut up.
pub fn hello_chooses_the_server<S: Stage>() {
    for (name, server) in [("a.example", 0), ("b.example", 1), ("B.Example.", 1)] {
        for record in [16_384, 100, 7] {
            let stage = stage::<S>(None, NotTls::Refuse, TIMEOUT);
            let client = stage.connect();
            let hello = hello(name, 40, record);
            say(&client, &hello);
            let server = accepted(&stage, server);
            assert_eq!(hear(&stage, &server, hello.len()), hello);
            exchange(&stage, &client, &server);
            let route = name.to_lowercase().trim_end_matches('.').to_owned();
            assert_eq!(taken(&stage), [(route, 1)]);
            expect_results(&stage, &[(PrologueResult::Hello, 1)]);
            settle(&stage);
        }
    }
}

/// A hello that comes byte by byte is the same hello.
pub fn hello_byte_by_byte<S: Stage>() {
    let stage = stage::<S>(None, NotTls::Refuse, TIMEOUT);
    let client = stage.connect();
    let hello = hello("b.example", 0, 16);
    for byte in &hello {
        say(&client, &[*byte]);
        elapse(&stage, Duration::from_micros(300));
    }
    let server = accepted(&stage, 1);
    assert_eq!(hear(&stage, &server, hello.len()), hello);
    exchange(&stage, &client, &server);
}

/// A hello of many segments and several records, near what a listener takes.
pub fn long_hello<S: Stage>() {
    let stage = stage::<S>(None, NotTls::Refuse, TIMEOUT);
    let client = stage.connect();
    let hello = hello("b.example", 60_000, 16_384);
    let mut sent = 0;
    wait(&stage, "room for the hello", || {
        sent += client.send(&hello[sent..]).expect("the connection is open");
        (sent == hello.len()).then_some(())
    });
    let server = accepted(&stage, 1);
    assert_eq!(hear(&stage, &server, hello.len()), hello);
    exchange(&stage, &client, &server);
}

/// A hello that is too long, or broken, is refused before any server hears of it.
pub fn broken_hello<S: Stage>() {
    let mut broken = hello("a.example", 0, 16_384);
    let last = broken.len() - 1;
    broken[last] = 0x80;
    for (said, result) in [
        (broken, PrologueResult::BadHello),
        (vec![22, 3, 1, 0x40, 0, 1, 1, 0, 0], PrologueResult::TooLong),
        (b"GET / HTTP/1.0\r\n".to_vec(), PrologueResult::NoHello),
    ] {
        let stage = stage::<S>(None, NotTls::Refuse, TIMEOUT);
        let client = stage.connect();
        say(&client, &said);
        Counts(&stage).expect_ended(Cause::Refused, 1);
        expect_results(&stage, &[(result, 1)]);
        assert!(stage.accept(0).is_none() && stage.accept(1).is_none());
        drop(client);
        settle(&stage);
    }
}

/// What is not TLS goes to the listener's own upstream where it may, and a client that waits for the server's word does so
/// once the time is up.
pub fn without_tls<S: Stage>() {
    for said in [&b"GET / HTTP/1.0\r\n"[..], b""] {
        let timeout = if said.is_empty() { SHORT } else { TIMEOUT };
        let stage = stage::<S>(None, NotTls::Route, timeout);
        let client = stage.connect();
        if !said.is_empty() {
            say(&client, said);
        }
        let server = accepted(&stage, 0);
        assert_eq!(hear(&stage, &server, said.len()), said);
        exchange(&stage, &client, &server);
        assert_eq!(taken(&stage), [("default".to_owned(), 1)]);
        expect_results(&stage, &[(PrologueResult::Plain, 1)]);
        settle(&stage);
    }
}

/// A name that no route asks for goes to the listener's own upstream.
pub fn unknown_name<S: Stage>() {
    let stage = stage::<S>(None, NotTls::Refuse, TIMEOUT);
    let client = stage.connect();
    let hello = hello("c.example", 0, 16_384);
    say(&client, &hello);
    let server = accepted(&stage, 0);
    assert_eq!(hear(&stage, &server, hello.len()), hello);
    exchange(&stage, &client, &server);
    assert_eq!(taken(&stage), [("default".to_owned(), 1)]);
}

/// PostgreSQL: the proxy answers for the server, hears the name, and asks the server the same.
pub fn postgres_by_name<S: Stage>() {
    let stage = stage::<S>(Some(Protocol::Postgres), NotTls::Route, TIMEOUT);
    let client = stage.connect();
    say(&client, SSL_REQUEST);
    assert_eq!(hear(&stage, &client, 1), b"S");
    let hello = hello("b.example", 0, 16_384);
    say(&client, &hello);
    let server = accepted(&stage, 1);
    assert_eq!(hear(&stage, &server, SSL_REQUEST.len()), SSL_REQUEST);
    elapse(&stage, Duration::from_millis(5));
    let mut byte = [0];
    assert_eq!(
        server.receive(&mut byte),
        Received::Nothing,
        "not before its answer"
    );
    say(&server, b"S");
    assert_eq!(hear(&stage, &server, hello.len()), hello);
    exchange(&stage, &client, &server);
    settle(&stage);
}

/// A client that says everything at once gets its answer all the same.
pub fn postgres_at_once<S: Stage>() {
    let stage = stage::<S>(Some(Protocol::Postgres), NotTls::Route, TIMEOUT);
    let client = stage.connect();
    let hello = hello("b.example", 0, 16_384);
    say(&client, &[SSL_REQUEST, &hello].concat());
    assert_eq!(hear(&stage, &client, 1), b"S");
    let server = accepted(&stage, 1);
    say(&server, b"S");
    let expected = [SSL_REQUEST, &hello].concat();
    assert_eq!(hear(&stage, &server, expected.len()), expected);
    exchange(&stage, &client, &server);
}

/// A server that takes no TLS, says nothing, or says something else can't serve the connection.
pub fn postgres_without_tls<S: Stage>() {
    for answer in [&b"N"[..], b"", b"X"] {
        let timeout = if answer.is_empty() { SHORT } else { TIMEOUT };
        let stage = stage::<S>(Some(Protocol::Postgres), NotTls::Route, timeout);
        let client = stage.connect();
        let hello = hello("b.example", 0, 16_384);
        say(&client, &[SSL_REQUEST, &hello].concat());
        assert_eq!(hear(&stage, &client, 1), b"S");
        let server = accepted(&stage, 1);
        if answer.is_empty() {
            elapse(&stage, 2 * SHORT);
        } else {
            say(&server, answer);
        }
        expect_end(&stage, &client);
        Counts(&stage).expect_ended(Cause::ConnectFailed, 1);
        settle(&stage);
    }
}

/// Such a server is a failed connect: another one is asked as well, and gets the header and the hello, once.
pub fn server_without_tls_is_passed_over<S: Stage>() {
    for (answer, reason) in [
        (&b"N"[..], ConnectFailure::Starttls),
        (b"X", ConnectFailure::Starttls),
        (b"", ConnectFailure::Timeout),
    ] {
        let stage = S::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            connect_timeout: TIMEOUT,
            starttls_timeout: if answer.is_empty() { SHORT } else { TIMEOUT },
            send_proxy: Some(SendProxy {
                version: Version::V1,
                tlvs: SendTlvs::default(),
                instance: 0,
            }),
            prologue: Some(PrologueSettings {
                timeout: TIMEOUT,
                accept_proxy: None,
                hello: Some(HelloSettings {
                    starttls: Some(Protocol::Postgres),
                    not_tls: NotTls::Route,
                }),
            }),
            ..Setup::default()
        });
        let client = stage.connect();
        let hello = hello("a.example", 0, 16_384);
        say(&client, &[SSL_REQUEST, &hello].concat());
        assert_eq!(hear(&stage, &client, 1), b"S");
        let either = || (0..2).find_map(|server| Some((server, stage.accept(server)?)));
        let ask = |peer: &S::Peer| {
            let line = hear_line(&stage, peer);
            assert!(line.starts_with(b"PROXY "), "{line:?}");
            assert_eq!(hear(&stage, peer, SSL_REQUEST.len()), SSL_REQUEST);
        };
        let (bad, server) = wait(&stage, "a server", either);
        ask(&server);
        if !answer.is_empty() {
            say(&server, answer);
        }
        let (good, other) = wait_within(&stage, S::PATIENCE + 2 * SHORT, "another server", either);
        assert_ne!(bad, good);
        ask(&other);
        say(&other, b"S");
        assert_eq!(hear(&stage, &other, hello.len()), hello);
        let cells = &stage.pool().server(bad).cells;
        assert_eq!(cells.sum(|cells| cells.failures[reason as usize].get()), 1);
        exchange(&stage, &client, &other);
        drop(server);
        settle(&stage);
    }
}

/// Receives up to the end of a line.
fn hear_line<S: Stage>(stage: &S, peer: &S::Peer) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(hear(stage, peer, 1));
    }
    line
}

/// A server that ends the connection when it is asked for TLS, whether or not it has greeted, is tried again where the upstream has
/// a budget for that, and gets the hello once it has agreed.
pub fn half_connected_server_is_asked_for_tls_again<S: Stage>() {
    for word in [&b""[..], b"220 "] {
        let stage = S::start(Setup {
            servers: vec![ServerKind::Listening; 2],
            routes: vec![("a.example", 0), ("b.example", 1)],
            connect_timeout: TIMEOUT,
            retry_budget: Some(100),
            prologue: Some(PrologueSettings {
                timeout: TIMEOUT,
                accept_proxy: None,
                hello: Some(HelloSettings {
                    starttls: Some(Protocol::Smtp),
                    not_tls: NotTls::Route,
                }),
            }),
            ..Setup::default()
        });
        let client = stage.connect();
        let expect = |peer: &S::Peer, expected: &[u8]| {
            assert_eq!(hear(&stage, peer, expected.len()), expected);
        };
        expect(&client, b"220 corelane ESMTP\r\n");
        say(&client, b"EHLO client\r\n");
        expect(&client, b"250-corelane\r\n250 STARTTLS\r\n");
        say(&client, b"STARTTLS\r\n");
        expect(&client, b"220 Ready to start TLS\r\n");
        let hello = hello("b.example", 0, 16_384);
        say(&client, &hello);
        let server = accepted(&stage, 1);
        if !word.is_empty() {
            say(&server, word);
            elapse(&stage, Duration::from_millis(5));
        }
        drop(server);
        let server = wait_within(&stage, TIMEOUT, "another try", || stage.accept(1));
        say(&server, b"220 mail ESMTP\r\n");
        expect(&server, b"EHLO corelane.invalid\r\n");
        say(&server, b"250-mail\r\n250 STARTTLS\r\n");
        expect(&server, b"STARTTLS\r\n");
        say(&server, b"220 go\r\n");
        expect(&server, &hello);
        exchange(&stage, &client, &server);
        settle(&stage);
    }
}

/// SMTP: the proxy greets, and speaks with the server what it has spoken with the client.
pub fn smtp_by_name<S: Stage>() {
    let stage = stage::<S>(Some(Protocol::Smtp), NotTls::Route, TIMEOUT);
    let client = stage.connect();
    let expect = |peer: &S::Peer, expected: &[u8]| {
        assert_eq!(hear(&stage, peer, expected.len()), expected);
    };
    expect(&client, b"220 corelane ESMTP\r\n");
    say(&client, b"EHLO client\r\n");
    expect(&client, b"250-corelane\r\n250 STARTTLS\r\n");
    say(&client, b"STARTTLS\r\n");
    expect(&client, b"220 Ready to start TLS\r\n");
    let hello = hello("b.example", 0, 16_384);
    say(&client, &hello);
    let server = accepted(&stage, 1);
    say(&server, b"220 mail ESMTP\r\n");
    expect(&server, b"EHLO corelane.invalid\r\n");
    say(&server, b"250-mail\r\n250 STARTTLS\r\n");
    expect(&server, b"STARTTLS\r\n");
    say(&server, b"220 go\r\n");
    expect(&server, &hello);
    exchange(&stage, &client, &server);
}
