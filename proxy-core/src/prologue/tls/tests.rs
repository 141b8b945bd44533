//! Each prefix, each byte flipped, each way to cut it up, anything at all.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::prologue::Parsed;

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(value)].concat()
}

fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|(kind, name)| [vec![*kind], vector16(name)].concat())
        .collect();
    extension(0, &vector16(&list))
}

fn name(name: &str) -> Vec<u8> {
    names(&[(0, name.as_bytes())])
}

fn alpn(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|protocol| [&[protocol.len() as u8][..], protocol.as_bytes()].concat())
        .collect();
    extension(16, &vector16(&list))
}

/// The whole message.
fn message(version: u16, extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend([32]);
    body.extend([9; 32]);
    body.extend(vector16(&[0x0a, 0x0a, 0x13, 0x01]));
    body.extend([1, 0]);
    if let Some(extensions) = extensions {
        body.extend(vector16(extensions));
    }
    let length = (body.len() as u32).to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

/// In records of this size.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message
        .chunks(size)
        .flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat())
        .collect()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(0x0303, Some(&extensions.concat())), 1 << 14)
}

fn parse(received: &[u8]) -> Parsed<ClientHello, Bad> {
    HelloParser::default().parse(received)
}

/// The first answer that isn't `More` when bytes come one by one.
fn one_by_one(received: &[u8]) -> Parsed<ClientHello, Bad> {
    let mut parser = HelloParser::default();
    (0..=received.len())
        .map(|end| parser.parse(&received[..end]))
        .find(|answer| *answer != Parsed::More)
        .unwrap_or(Parsed::More)
}

fn done(received: &[u8]) -> ClientHello {
    match parse(received) {
        Parsed::Done { value, consumed } => {
            assert_eq!(consumed, received.len());
            value
        }
        other => panic!("{other:?}"),
    }
}

fn server_name(received: &[u8]) -> Option<String> {
    done(received).server_name.map(String::from)
}

#[test]
fn a_hello_says_name_and_protocols() {
    let grease = extension(0x0a0a, &[]);
    let key_share = extension(51, &vec![7; 1300]);
    let received = hello(&[
        grease,
        name("A.Example.com"),
        key_share,
        alpn(&["h2", "http/1.1"]),
    ]);
    let hello = done(&received);
    assert_eq!(hello.server_name.as_deref(), Some("a.example.com"));
    assert_eq!(hello.alpn.to_string(), "h2,http/1.1");
    assert!(hello.alpn.contains(b"h2") && !hello.alpn.contains(b"h"));
    assert!(!hello.encrypted);
}

#[test]
fn a_name_is_what_dns_takes_it_for() {
    for (written, read) in [
        ("EXAMPLE.com", "example.com"),
        ("example.com.", "example.com"),
        ("_sip.example.com", "_sip.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8::1", "2001:db8::1"),
    ] {
        assert_eq!(server_name(&hello(&[name(written)])).as_deref(), Some(read));
    }
    let longest = "a".repeat(SERVER_NAME_BYTES_MAX);
    assert_eq!(
        server_name(&hello(&[name(&longest)])),
        Some(longest.clone())
    );
    for wrong in [
        "",
        ".",
        "a b",
        "a\0b",
        "b\u{fc}cher.example",
        &format!("{longest}a"),
    ] {
        assert_eq!(
            parse(&hello(&[name(wrong)])),
            Parsed::Bad(Bad::ServerName),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_hello_may_have_no_name() {
    assert_eq!(done(&hello(&[])), ClientHello::default());
    assert_eq!(server_name(&hello(&[alpn(&["h2"])])), None);
    // Entries of other types are none.
    assert_eq!(server_name(&hello(&[names(&[(7, b"a")])])), None);
    assert_eq!(
        server_name(&hello(&[names(&[(7, b"a"), (0, b"b")])])).as_deref(),
        Some("b")
    );
}

#[test]
fn several_names_are_refused() {
    let two = hello(&[names(&[(0, b"a"), (0, b"b")])]);
    assert_eq!(parse(&two), Parsed::Bad(Bad::ServerName));
    let twice = hello(&[name("a"), name("a")]);
    assert_eq!(parse(&twice), Parsed::Bad(Bad::ServerName));
    let lists = hello(&[alpn(&["h2"]), alpn(&["h2"])]);
    assert_eq!(parse(&lists), Parsed::Bad(Bad::Alpn));
}

#[test]
fn broken_lists_are_refused() {
    for value in [
        &[][..],
        &[0, 0],
        &[0, 4, 0, 0, 1, b'a', 0],
        &[0, 3, 0, 0, 1],
        &[0, 9, 0, 0, 1, b'a'],
    ] {
        assert_eq!(
            parse(&hello(&[extension(0, value)])),
            Parsed::Bad(Bad::ServerName),
            "{value:?}"
        );
    }
    for value in [
        &[][..],
        &[0, 0],
        &[0, 1, 0],
        &[0, 2, 2, b'h'],
        &[0, 3, 2, b'h', b'2', 0],
    ] {
        assert_eq!(
            parse(&hello(&[extension(16, value)])),
            Parsed::Bad(Bad::Alpn),
            "{value:?}"
        );
    }
    let protocol = "x".repeat(200);
    let many = alpn(&[protocol.as_str(); 6]);
    assert_eq!(parse(&hello(&[many])), Parsed::Bad(Bad::Alpn));
}

#[test]
fn the_outer_name_counts_where_there_is_an_encrypted_hello() {
    let hello = done(&hello(&[
        name("public.example"),
        extension(0xfe0d, &[0; 200]),
    ]));
    assert!(hello.encrypted);
    assert_eq!(hello.server_name.as_deref(), Some("public.example"));
}

#[test]
fn old_versions_say_the_same() {
    for version in [0x0300, 0x0301, 0x0302, 0x0303, 0x0304] {
        let received = records(&message(version, Some(&name("a"))), 1 << 14);
        assert_eq!(server_name(&received).as_deref(), Some("a"));
        assert_eq!(
            done(&records(&message(version, None), 1 << 14)),
            ClientHello::default()
        );
    }
    assert_eq!(
        parse(&records(&message(0x0203, None), 1 << 14)),
        Parsed::Bad(Bad::Form)
    );
}

#[test]
fn records_and_segments_end_anywhere() {
    let message = message(0x0303, Some(&[name("a.example"), alpn(&["h2"])].concat()));
    let whole = parse(&records(&message, 1 << 14));
    for size in 1..=message.len() {
        let received = records(&message, size);
        let Parsed::Done { value, consumed } = one_by_one(&received) else {
            panic!("records of {size}");
        };
        assert_eq!(consumed, received.len());
        assert_eq!(
            whole.clone().map(|whole| whole == value),
            Parsed::Done {
                value: true,
                consumed: message.len() + 5
            }
        );
        assert_eq!(done(&received), value);
    }
}

#[test]
fn sixty_four_kilobytes_are_taken_and_no_more() {
    let padding = |count| {
        hello_in_records(&[
            name("a"),
            extension(21, &vec![0; 30_000]),
            extension(22, &vec![0; count]),
        ])
    };
    let room = CLIENT_HELLO_BYTES_MAX - padding(0).len();
    // One record more is needed by then.
    let longest = (0..=room)
        .rev()
        .map(padding)
        .find(|hello| hello.len() <= CLIENT_HELLO_BYTES_MAX);
    let longest = longest.expect("one that fits");
    assert_eq!(longest.len(), CLIENT_HELLO_BYTES_MAX);
    assert_eq!(server_name(&longest).as_deref(), Some("a"));
    let Parsed::Done { consumed, .. } = one_by_one(&longest) else {
        panic!("the longest one");
    };
    assert_eq!(consumed, CLIENT_HELLO_BYTES_MAX);
}

fn hello_in_records(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(0x0303, Some(&extensions.concat())), 1 << 14)
}

#[test]
fn what_is_too_long_is_known_by_its_length() {
    assert_eq!(
        parse(&[22, 3, 1, 0x40, 0, 1, 1, 0, 0]),
        Parsed::Bad(Bad::TooLong)
    );
    // Here only the headers of many small records make it too long.
    let many = records(&message(0x0303, Some(&extension(21, &vec![0; 20_000]))), 1);
    assert_eq!(parse(&many), Parsed::Bad(Bad::TooLong));
    assert_eq!(one_by_one(&many), Parsed::Bad(Bad::TooLong));
}

#[test]
fn what_is_not_tls_is_known_by_the_first_byte_that_differs() {
    for other in [
        &b"G"[..],
        b"P",
        b"\0",
        // A hello of SSL 2.0.
        &[0x80],
        // An alert, a record of application data, one of SSL 2, an empty one, one that is too long.
        &[21],
        &[23],
        &[22, 2],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0x41],
        &[22, 3, 1, 0x40, 1],
        // A ServerHello.
        &[22, 3, 3, 0, 100, 2],
    ] {
        assert_eq!(parse(other), Parsed::Not, "{other:?}");
        assert_eq!(one_by_one(other), Parsed::Not, "{other:?}");
        assert_eq!(parse(&other[..other.len() - 1]), Parsed::More, "{other:?}");
    }
}

#[test]
fn a_record_of_another_kind_inside_is_refused() {
    let first = [22, 3, 1, 0, 5, 1, 0, 0, 99, 3];
    for second in [
        &[21][..],
        &[23, 3, 3],
        &[22, 2],
        &[22, 3, 3, 0, 0],
        &[22, 3, 3, 0xff],
    ] {
        let received = [&first[..], second].concat();
        assert_eq!(parse(&received), Parsed::Bad(Bad::Record), "{second:?}");
    }
}

/// Each byte is looked at once: this takes minutes otherwise.
#[test]
fn bytes_that_come_one_by_one_cost_no_more_than_all_at_once() {
    let extensions = [extension(21, &vec![0; 60_000]), name("a")].concat();
    let received = records(&message(0x0303, Some(&extensions)), 1 << 14);
    assert!(matches!(one_by_one(&received), Parsed::Done { .. }));
}

/// Each bit of each byte, one at a time.
#[test]
fn each_byte_that_is_flipped_is_judged_as_early_as_late() {
    let extensions = [name("a.example"), alpn(&["h2", "http/1.1"])].concat();
    for size in [1 << 14, 40] {
        let valid = records(&message(0x0303, Some(&extensions)), size);
        for place in 0..valid.len() {
            for bit in 0..8 {
                let mut received = valid.clone();
                received[place] ^= 1 << bit;
                assert_eq!(one_by_one(&received), parse(&received), "{place}, {bit}");
            }
        }
    }
}

fn extensions() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let other = (any::<u16>(), vec(any::<u8>(), 0..100))
        .prop_map(|(kind, value)| extension(kind | 0x0100, &value));
    (vec(other, 0..4), "[a-z]{1,20}", vec("[a-z0-9]{1,8}", 1..4)).prop_map(
        |(mut all, host, protocols)| {
            let protocols: Vec<_> = protocols.iter().map(String::as_str).collect();
            all.push(alpn(&protocols));
            all.insert(0, name(&host));
            all
        },
    )
}

proptest! {
    #[test]
    fn no_prefix_is_judged(extensions in extensions(), size in 1..600usize) {
        let received = records(&message(0x0303, Some(&extensions.concat())), size);
        for end in 0..received.len() {
            prop_assert_eq!(parse(&received[..end]), Parsed::More);
        }
        done(&received);
    }

    /// However the bytes are cut into segments, the answer is the same, and a byte too many changes nothing.
    #[test]
    fn segments_change_nothing(
        extensions in extensions(),
        size in 1..600usize,
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        after in vec(any::<u8>(), 0..20),
    ) {
        let mut received = records(&message(0x0303, Some(&extensions.concat())), size);
        for (at, flip) in flips {
            let at = at.index(received.len());
            received[at] ^= flip;
        }
        received.extend(after);
        prop_assert_eq!(one_by_one(&received), parse(&received));
    }

    #[test]
    fn anything_at_all_is_answered(bytes in vec(any::<u8>(), 0..300), like_a_hello: bool) {
        let received = if like_a_hello { records(&[&[1, 0, 0][..], &bytes].concat(), 1 << 14) } else { bytes };
        prop_assert_eq!(one_by_one(&received), parse(&received));
    }
}
