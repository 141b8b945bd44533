//! What a client says before a server is looked for: a header of the PROXY protocol.

use std::time::Duration;

use proxy_core::metrics::{Cause, PrologueResult};
use proxy_core::prologue::proxy_protocol::Version;
use proxy_core::prologue::{AcceptProxy, Expected, PrologueSettings, Untrusted};
use proxy_core::{ClientAddress, SendProxy, SendTlvs};

use super::{Counts, expect_end, expect_reset};
use crate::flow::{Flow, pump};
use crate::stage::{Peer, Received, Setup, Stage};
use crate::wait::{elapse, settle, wait, wait_within};

/// Long enough for a busy machine to say something in time.
const TIMEOUT: Duration = Duration::from_secs(20);

/// For cases that wait for it.
const SHORT: Duration = Duration::from_millis(300);

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";

const ANNOUNCED: &str = "192.0.2.7:56324";

/// A header of version 2 for the same client, with a TLV of a private type.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\
    \xc0\0\x02\x07\xc0\0\x02\x01\xdc\x04\x01\xbb\xe0\0\x02hi";

fn prologue(expected: Expected, timeout: Duration) -> PrologueSettings {
    PrologueSettings {
        timeout,
        hello: None,
        accept_proxy: Some(AcceptProxy {
            expected,
            trusted: None,
            untrusted: Untrusted::Refuse,
        }),
    }
}

fn stage<S: Stage>(expected: Expected, timeout: Duration) -> S {
    S::start(Setup {
        prologue: Some(prologue(expected, timeout)),
        ..Setup::default()
    })
}

pub(super) fn say<P: Peer>(peer: &P, bytes: &[u8]) {
    let sent = peer.send(bytes).expect("the connection is open");
    assert_eq!(sent, bytes.len(), "there is room for a header");
}

fn accepted<S: Stage>(stage: &S) -> S::Peer {
    wait(stage, "a connection to the server", || stage.accept(0))
}

/// Receives so many bytes.
pub(super) fn hear<S: Stage>(stage: &S, peer: &S::Peer, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    wait(stage, "bytes", || {
        let mut buffer = vec![0; count - heard.len()];
        match peer.receive(&mut buffer) {
            Received::Bytes(more) => heard.extend_from_slice(&buffer[..more]),
            Received::Nothing => {}
            last => panic!("{last:?} after {heard:?}"),
        }
        (heard.len() == count).then_some(())
    });
    heard
}

/// Plays one connection to its end, after its client has said what it has to say first.
fn exchange<S: Stage>(stage: &S, client: &S::Peer) {
    let server = accepted(stage);
    pump(
        stage,
        &mut [
            Flow::new(client, &server, 1, 1000).with_end(),
            Flow::new(&server, client, 2, 70_000).with_end(),
        ],
    );
}

pub(super) fn expect_results<S: Stage>(stage: &S, expected: &[(PrologueResult, u64)]) {
    for result in PrologueResult::ALL {
        let cells = &stage.listener().cells;
        let count = cells.sum(|cells| cells.prologue[result as usize].get());
        let wanted = expected.iter().find(|(wanted, _)| *wanted == result);
        assert_eq!(count, wanted.map_or(0, |wanted| wanted.1), "{result:?}");
    }
}

/// The server gets what comes after a header, whole and in order, and is counted so; and the client is the one that was
/// announced.
pub fn header_in_one_piece<S: Stage>() {
    for header in [HEADER, BINARY] {
        let stage = stage::<S>(Expected::Required, TIMEOUT);
        let client = stage.connect();
        say(&client, header);
        let server = accepted(&stage);
        wait(&stage, "the announced client is known", || {
            let mut announced = None;
            stage
                .listener()
                .live
                .each(|one| announced = one.server.map(|_| one.client));
            (announced? == ClientAddress::Tcp(ANNOUNCED.parse().expect("an address"))).then_some(())
        });
        pump(
            &stage,
            &mut [
                Flow::new(&client, &server, 1, 1000).with_end(),
                Flow::new(&server, &client, 2, 70_000).with_end(),
            ],
        );
        let counts = Counts(&stage);
        counts.expect_ended(Cause::Finished, 1);
        assert_eq!(counts.bytes(), (1000, 70_000), "the header is nobody's");
        expect_results(&stage, &[(PrologueResult::Header, 1)]);
        settle(&stage);
    }
}

/// A header that comes byte by byte is the same header.
pub fn header_byte_by_byte<S: Stage>() {
    for header in [HEADER, BINARY] {
        let stage = stage::<S>(Expected::Required, TIMEOUT);
        let client = stage.connect();
        for byte in header {
            say(&client, &[*byte]);
            elapse(&stage, Duration::from_micros(300));
        }
        exchange(&stage, &client);
        Counts(&stage).expect_ended(Cause::Finished, 1);
        expect_results(&stage, &[(PrologueResult::Header, 1)]);
        settle(&stage);
    }
}

/// A client that says all that it has to say at once, and its end: all of it arrives, and then the end.
pub fn header_data_and_end_at_once<S: Stage>() {
    let stage = stage::<S>(Expected::Required, TIMEOUT);
    for round in 1..=20 {
        let client = stage.connect();
        let mut said = HEADER.to_vec();
        let size = if round % 2 == 0 { 700 } else { 30_000 };
        let from = said.len();
        said.resize(from + size, 0);
        crate::pattern::fill(1, 0, &mut said[from..]);
        say(&client, &said);
        client.shutdown_write();
        let server = accepted(&stage);
        let heard = hear(&stage, &server, size);
        assert_eq!(crate::pattern::first_difference(1, 0, &heard), None);
        expect_end(&stage, &server);
        pump(
            &stage,
            &mut [Flow::new(&server, &client, 2, 5000).with_end()],
        );
        Counts(&stage).expect_ended(Cause::Finished, round);
    }
    settle(&stage);
}

/// The same for a client that resets right behind: what it said is delivered.
pub fn header_data_and_reset<S: Stage>() {
    let stage = stage::<S>(Expected::Required, TIMEOUT);
    let client = stage.connect();
    say(&client, HEADER);
    let server = accepted(&stage);
    pump(&stage, &mut [Flow::new(&client, &server, 1, 1000)]);
    client.reset();
    expect_reset(&stage, &server);
    Counts(&stage).expect_ended(Cause::ClientReset, 1);
    settle(&stage);
}

/// No server hears of a client that goes away in the middle of its header.
pub fn reset_in_the_prologue<S: Stage>() {
    let stage = stage::<S>(Expected::Required, TIMEOUT);
    for ends in [false, true] {
        let client = stage.connect();
        say(&client, &HEADER[..20]);
        elapse(&stage, Duration::from_millis(2));
        if ends {
            client.shutdown_write();
            expect_end(&stage, &client);
        } else {
            client.reset();
        }
    }
    Counts(&stage).expect_ended(Cause::ClientReset, 2);
    assert!(stage.accept(0).is_none());
    expect_results(&stage, &[(PrologueResult::Closed, 2)]);
    settle(&stage);
}

/// A client that says nothing, or too little, is closed when its time is over.
pub fn prologue_timeout<S: Stage>() {
    let stage = stage::<S>(Expected::Required, SHORT);
    let begun_at = stage.now();
    let silent = stage.connect();
    let slow = stage.connect();
    say(&slow, &HEADER[..20]);
    for client in [&silent, &slow] {
        let last = wait_within(
            &stage,
            S::PATIENCE + SHORT,
            "the client is closed",
            || match client.receive(&mut [0; 16]) {
                Received::Nothing => None,
                last => Some(last),
            },
        );
        assert_eq!(last, Received::End);
    }
    assert!(stage.now() - begun_at > SHORT / 2, "it had its time");
    Counts(&stage).expect_ended(Cause::PrologueTimeout, 2);
    assert!(stage.accept(0).is_none());
    expect_results(&stage, &[(PrologueResult::Timeout, 2)]);
    settle(&stage);
}

/// One that opens and closes without a byte is a balancer's check: nothing is wrong, and no server hears of it.
pub fn probe<S: Stage>() {
    let stage = stage::<S>(Expected::Required, TIMEOUT);
    let probe = stage.connect();
    probe.shutdown_write();
    expect_end(&stage, &probe);
    stage.connect().reset();
    drop(stage.connect());
    Counts(&stage).expect_ended(Cause::Finished, 3);
    assert!(stage.accept(0).is_none());
    expect_results(&stage, &[(PrologueResult::Probe, 3)]);
    settle(&stage);
}

/// Bytes that are no header, where there must be one: the client is closed at once.
pub fn bytes_that_are_no_header<S: Stage>() {
    let stage = stage::<S>(Expected::Required, TIMEOUT);
    for (said, result) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], PrologueResult::NoHeader),
        (b"PROXY TCP4 nonsense\r\n", PrologueResult::BadHeader),
        (
            &[b"PROXY ", &[b'x'; 200][..]].concat(),
            PrologueResult::TooLong,
        ),
    ] {
        let client = stage.connect();
        say(&client, said);
        let last = wait(&stage, "the client is closed", || {
            match client.receive(&mut [0; 16]) {
                Received::Nothing => None,
                last => Some(last),
            }
        });
        // The kernel resets where bytes were left unread.
        assert!(matches!(last, Received::End | Received::Reset), "{last:?}");
        let cells = &stage.listener().cells;
        wait(&stage, "the refusal is counted", || {
            (cells.sum(|cells| cells.prologue[result as usize].get()) == 1).then_some(())
        });
    }
    Counts(&stage).expect_ended(Cause::Refused, 3);
    assert!(stage.accept(0).is_none());
    settle(&stage);
}

/// Where a header is optional, a client without one is served at once, whatever its first bytes are.
pub fn optional_header<S: Stage>() {
    let stage = stage::<S>(Expected::Optional, TIMEOUT);
    let without = stage.connect();
    say(&without, b"GET");
    let server = accepted(&stage);
    assert_eq!(hear(&stage, &server, 3), b"GET");
    drop((without, server));
    let with = stage.connect();
    say(&with, BINARY);
    exchange(&stage, &with);
    // It begins like a header, and is none.
    let close = stage.connect();
    say(&close, b"PROXIMITY");
    close.shutdown_write();
    let server = accepted(&stage);
    assert_eq!(hear(&stage, &server, 9), b"PROXIMITY");
    expect_end(&stage, &server);
    drop((close, server));
    Counts(&stage).expect_ended(Cause::Finished, 3);
    let expected = [(PrologueResult::Plain, 2), (PrologueResult::Header, 1)];
    expect_results(&stage, &expected);
    settle(&stage);
}

/// And a silent one once its time is over: its server may be the one that speaks first.
pub fn optional_header_and_a_server_that_speaks_first<S: Stage>() {
    let stage = stage::<S>(Expected::Optional, SHORT);
    let begun_at = stage.now();
    let client = stage.connect();
    let server = wait_within(&stage, S::PATIENCE + SHORT, "the server is asked", || {
        stage.accept(0)
    });
    assert!(stage.now() - begun_at > SHORT / 2, "it had its time");
    pump(&stage, &mut [Flow::new(&server, &client, 1, 100)]);
    pump(
        &stage,
        &mut [
            Flow::new(&client, &server, 2, 1000).with_end(),
            Flow::new(&server, &client, 3, 1000).with_end(),
        ],
    );
    Counts(&stage).expect_ended(Cause::Finished, 1);
    expect_results(&stage, &[(PrologueResult::Plain, 1)]);
    settle(&stage);
}

/// A stop cuts clients that are heard, as it cuts others.
pub fn stop_cuts_prologues<S: Stage>() {
    let stage = stage::<S>(Expected::Required, TIMEOUT);
    let client = stage.connect();
    say(&client, &HEADER[..10]);
    wait(&stage, "the client is taken", || {
        (stage.listener().connections() == 1).then_some(())
    });
    stage.stop();
    expect_reset(&stage, &client);
    Counts(&stage).expect_ended(Cause::Drain, 1);
    settle(&stage);
}

/// The header for a server comes before all that the client says, said before it was connected to or after, and is no byte
/// of the client's.
pub fn header_for_the_server<S: Stage>() {
    for (version, length) in [(Version::V1, HEADER.len()), (Version::V2, BINARY.len())] {
        let stage = S::start(Setup {
            prologue: Some(prologue(Expected::Required, TIMEOUT)),
            send_proxy: Some(SendProxy {
                version,
                tlvs: SendTlvs::default(),
                instance: 0,
            }),
            ..Setup::default()
        });
        let client = stage.connect();
        say(&client, &[BINARY, b"early"].concat());
        let server = accepted(&stage);
        let heard = hear(&stage, &server, length + 5);
        let header = if version == Version::V1 {
            HEADER
        } else {
            BINARY
        };
        assert_eq!(heard, [header, b"early"].concat());
        pump(
            &stage,
            &mut [
                Flow::new(&client, &server, 1, S::BULK_BYTES).with_end(),
                Flow::new(&server, &client, 2, 1000).with_end(),
            ],
        );
        let counts = Counts(&stage);
        counts.expect_ended(Cause::Finished, 1);
        assert_eq!(counts.bytes(), (S::BULK_BYTES + 5, 1000));
        settle(&stage);
    }
}
