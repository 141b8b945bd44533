//! Both sides of each protocol, at once and byte by byte, cut off and broken.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::prologue::Parsed;

const PROTOCOLS: [Protocol; 3] = [Protocol::Postgres, Protocol::Smtp, Protocol::Imap];
const GSSENC: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
const SSL: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const CANCEL: [u8; 16] = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 1, 2, 3, 4, 5, 6, 7, 8];
const STARTUP: [u8; 9] = [0, 0, 0, 9, 0, 3, 0, 0, 0];

fn hear(protocol: Protocol, received: &[u8]) -> (Parsed<Next, Bad>, String) {
    let mut reply = Vec::new();
    let answer = ClientSide::new(protocol).parse(received, &mut reply);
    (answer, String::from_utf8(reply).expect("text"))
}

/// The same, byte by byte.
fn hear_slowly(protocol: Protocol, received: &[u8]) -> (Parsed<Next, Bad>, String) {
    let mut side = ClientSide::new(protocol);
    let mut reply = Vec::new();
    let answer = (0..=received.len())
        .map(|end| side.parse(&received[..end], &mut reply))
        .find(|answer| *answer != Parsed::More)
        .unwrap_or(Parsed::More);
    (answer, String::from_utf8(reply).expect("text"))
}

fn ask(protocol: Protocol, received: &[u8]) -> (Parsed<(), Bad>, String) {
    let mut side = ServerSide::new(protocol);
    let mut request = side.opening().to_vec();
    let answer = side.parse(received, &mut request);
    (answer, request.escape_ascii().to_string())
}

fn ask_slowly(protocol: Protocol, received: &[u8]) -> (Parsed<(), Bad>, String) {
    let mut side = ServerSide::new(protocol);
    let mut request = side.opening().to_vec();
    let answer = (0..=received.len())
        .map(|end| side.parse(&received[..end], &mut request))
        .find(|answer| *answer != Parsed::More)
        .unwrap_or(Parsed::More);
    (answer, request.escape_ascii().to_string())
}

fn done(value: Next, consumed: usize) -> Parsed<Next, Bad> {
    Parsed::Done { value, consumed }
}

#[test]
fn postgres_is_asked_for_tls_or_not() {
    let gss_then_ssl = [GSSENC, SSL].concat();
    let gss_then_plain = [&GSSENC[..], &STARTUP].concat();
    let with_hello = [&SSL[..], &[22, 3, 1]].concat();
    for (received, answer, reply) in [
        (&SSL[..], done(Next::Hello, 8), "S"),
        (&with_hello, done(Next::Hello, 8), "S"),
        (&gss_then_ssl, done(Next::Hello, 16), "NS"),
        (&gss_then_plain, done(Next::Plain, 8), "N"),
        (&CANCEL, done(Next::Plain, 0), ""),
        (&STARTUP, done(Next::Plain, 0), ""),
        (&[22], done(Next::Direct, 0), ""),
        (b"GET / HTTP/1.1\r\n", Parsed::Bad(Bad::Form), ""),
        // Too short, too long, and a code of nobody's.
        (&[0, 0, 0, 7, 0, 3, 0, 0], Parsed::Bad(Bad::Form), ""),
        (&[0, 1, 0, 0, 0, 3, 0, 0], Parsed::Bad(Bad::Form), ""),
        (&[0, 0, 0, 8, 4, 0xd2, 0, 0], Parsed::Bad(Bad::Form), ""),
        (
            &[GSSENC; 17].concat(),
            Parsed::Bad(Bad::NoTls),
            "NNNNNNNNNNNNNNNN",
        ),
    ] {
        assert_eq!(
            hear(Protocol::Postgres, received),
            (answer, reply.to_owned()),
            "{received:?}"
        );
    }
}

#[test]
fn smtp_clients_hear_that_there_is_starttls() {
    let banner = ClientSide::new(Protocol::Smtp).banner();
    assert_eq!(banner, b"220 corelane ESMTP\r\n");
    let session = b"EHLO me\r\nNOOP\r\nMAIL FROM:<a@b>\r\nstarttls\r\n";
    assert_eq!(
        hear(Protocol::Smtp, session),
        (
            done(Next::Hello, session.len()),
            "250-corelane\r\n250 STARTTLS\r\n250 OK\r\n530 Must issue a STARTTLS command first\r\n220 Ready to start TLS\r\n".to_owned()
        )
    );
    assert_eq!(
        hear(Protocol::Smtp, b"QUIT\r\n"),
        (Parsed::Bad(Bad::Quit), "221 Bye\r\n".to_owned())
    );
    assert_eq!(hear(Protocol::Smtp, b"EHLO me\n").0, Parsed::Bad(Bad::Line));
    assert_eq!(hear(Protocol::Smtp, &[b'x'; 512]).0, Parsed::Bad(Bad::Line));
    assert_eq!(
        hear(Protocol::Smtp, &b"RSET\r\n".repeat(20)).0,
        Parsed::Bad(Bad::NoTls)
    );
    let long = [&[b'x'; 400][..], b"\r\n"].concat().repeat(12);
    assert_eq!(hear(Protocol::Smtp, &long).0, Parsed::Bad(Bad::NoTls));
}

#[test]
fn imap_clients_hear_that_there_is_starttls() {
    assert!(
        ClientSide::new(Protocol::Imap)
            .banner()
            .starts_with(b"* OK [CAPABILITY")
    );
    let session = b"a1 CAPABILITY\r\na2 LOGIN x y\r\na3 StartTLS\r\n";
    assert_eq!(
        hear(Protocol::Imap, session),
        (
            done(Next::Hello, session.len()),
            "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK Done\r\na2 NO [PRIVACYREQUIRED] STARTTLS first\r\na3 OK Begin TLS negotiation now\r\n".to_owned()
        )
    );
    assert_eq!(
        hear(Protocol::Imap, b"x LOGOUT\r\n"),
        (
            Parsed::Bad(Bad::Quit),
            "* BYE corelane\r\nx OK Bye\r\n".to_owned()
        )
    );
    for line in ["\r\n", " NOOP\r\n", "+ NOOP\r\n", "\u{e9} NOOP\r\n"] {
        assert_eq!(
            hear(Protocol::Imap, line.as_bytes()),
            (Parsed::Bad(Bad::Form), String::new())
        );
    }
}

#[test]
fn servers_are_asked_in_their_own_words() {
    let smtp = b"220-mail\r\n220 ESMTP\r\n250-mail\r\n250-SIZE\r\n250 STARTTLS\r\n220 Go ahead\r\n";
    let imap = b"* OK ready\r\n* CAPABILITY IMAP4rev1\r\ncorelane OK Begin\r\n";
    for (protocol, received, request) in [
        (
            Protocol::Postgres,
            &b"S"[..],
            r"\x00\x00\x00\x08\x04\xd2\x16/",
        ),
        (
            Protocol::Smtp,
            smtp,
            r"EHLO corelane.invalid\r\nSTARTTLS\r\n",
        ),
        (Protocol::Imap, imap, r"corelane STARTTLS\r\n"),
    ] {
        let whole = Parsed::Done {
            value: (),
            consumed: received.len(),
        };
        assert_eq!(ask(protocol, received), (whole, request.to_owned()));
        assert_eq!(ask_slowly(protocol, received), (whole, request.to_owned()));
        for end in 0..received.len() {
            assert_eq!(ask(protocol, &received[..end]).0, Parsed::More);
        }
    }
}

#[test]
fn a_server_that_takes_no_tls_is_heard() {
    for (protocol, received, reason) in [
        (Protocol::Postgres, &b"N"[..], Bad::Refused),
        (Protocol::Postgres, b"E", Bad::Refused),
        (Protocol::Postgres, b"R", Bad::Form),
        (Protocol::Smtp, b"554 no\r\n", Bad::Refused),
        (
            Protocol::Smtp,
            b"220 a\r\n250 b\r\n454 later\r\n",
            Bad::Refused,
        ),
        (Protocol::Smtp, b"220 a\r\n502 what\r\n", Bad::Refused),
        (Protocol::Smtp, b"hello\r\n", Bad::Form),
        (Protocol::Smtp, b"220x\r\n", Bad::Form),
        (Protocol::Smtp, b"220 a\n", Bad::Line),
        (Protocol::Imap, b"* BYE\r\n", Bad::Refused),
        (Protocol::Imap, b"* PREAUTH\r\n", Bad::Refused),
        (Protocol::Imap, b"+OK\r\n", Bad::Form),
        (Protocol::Imap, b"* OK\r\ncorelane NO\r\n", Bad::Refused),
        (Protocol::Imap, b"* OK\r\nother OK\r\n", Bad::Form),
    ] {
        assert_eq!(
            ask(protocol, received).0,
            Parsed::Bad(reason),
            "{}",
            received.escape_ascii()
        );
    }
    assert_eq!(
        ask(Protocol::Smtp, &b"220-a\r\n".repeat(2000)).0,
        Parsed::Bad(Bad::TooLong)
    );
}

/// Each bit of each byte, one at a time, and each prefix.
#[test]
fn each_byte_that_is_flipped_is_judged_as_early_as_late() {
    for (protocol, client, server) in [
        (Protocol::Postgres, [GSSENC, SSL].concat(), b"S".to_vec()),
        (
            Protocol::Smtp,
            b"EHLO a\r\nSTARTTLS\r\n".to_vec(),
            b"220-a\r\n220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n".to_vec(),
        ),
        (
            Protocol::Imap,
            b"a CAPABILITY\r\nb STARTTLS\r\n".to_vec(),
            b"* OK a\r\ncorelane OK go\r\n".to_vec(),
        ),
    ] {
        let flipped = |valid: &[u8]| {
            let bits = (0..valid.len()).flat_map(|place| (0..8).map(move |bit| (place, bit)));
            let flip = |(place, bit): (usize, u8)| {
                let mut received = valid.to_vec();
                received[place] ^= 1 << bit;
                received
            };
            bits.map(flip).collect::<Vec<_>>()
        };
        for received in flipped(&client) {
            assert_eq!(hear_slowly(protocol, &received), hear(protocol, &received));
        }
        for received in flipped(&server) {
            assert_eq!(ask_slowly(protocol, &received), ask(protocol, &received));
        }
        let is_more = |answer| matches!(answer, Parsed::More);
        assert!((0..client.len()).all(|end| is_more(hear(protocol, &client[..end]).0)));
        assert!((0..server.len()).all(|end| ask(protocol, &server[..end]).0 == Parsed::More));
        assert!(!is_more(hear(protocol, &client).0));
        assert_eq!(
            ask(protocol, &server).0,
            Parsed::Done {
                value: (),
                consumed: server.len()
            }
        );
    }
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop::sample::select(&PROTOCOLS[..])
}

/// Something like what a client says.
fn sessions() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &SSL[..],
        &GSSENC,
        &CANCEL,
        &STARTUP,
        b"EHLO a\r\n",
        b"STARTTLS\r\n",
        b"NOOP\r\n",
        b"a STARTTLS\r\n",
        b"a NOOP\r\n",
        b"b LOGOUT\r\n",
        b"QUIT\r\n",
    ]);
    (
        vec(piece, 0..20),
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    )
        .prop_map(|(pieces, flips)| {
            let mut session = pieces.concat();
            for (at, flip) in flips {
                if !session.is_empty() {
                    let at = at.index(session.len());
                    session[at] ^= flip;
                }
            }
            session
        })
}

/// Something like what a server says.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"S"[..],
        b"N",
        b"220 a\r\n",
        b"220-a\r\n",
        b"250-a\r\n",
        b"250 STARTTLS\r\n",
        b"500 b\r\n",
        b"* OK a\r\n",
        b"corelane OK\r\n",
    ]);
    (vec(piece, 0..20), vec(any::<u8>(), 0..4))
        .prop_map(|(pieces, after)| [pieces.concat(), after].concat())
}

proptest! {
    #[test]
    fn one_byte_at_a_time_is_as_all_at_once(protocol in protocols(), client in sessions(), server in answers()) {
        prop_assert_eq!(hear_slowly(protocol, &client), hear(protocol, &client));
        prop_assert_eq!(ask_slowly(protocol, &server), ask(protocol, &server));
    }

    #[test]
    fn anything_at_all_is_answered(protocol in protocols(), bytes in vec(any::<u8>(), 0..600)) {
        let mut reply = Vec::new();
        let _ = ClientSide::new(protocol).parse(&bytes, &mut reply);
        let _ = ServerSide::new(protocol).parse(&bytes, &mut reply);
    }
}
