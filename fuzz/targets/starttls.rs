//! What clients and servers say before TLS begins.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::prologue::Parsed;
use proxy_core::prologue::starttls::{
    Bad, CLIENT_BYTES_MAX, ClientSide, Protocol, SERVER_BYTES_MAX, ServerSide,
};

fuzz_target!(|input: &[u8]| {
    let Some((choice, received)) = input.split_first() else {
        return;
    };
    let protocol = match choice % 3 {
        0 => Protocol::Postgres,
        1 => Protocol::Smtp,
        _ => Protocol::Imap,
    };
    if choice & 0x80 == 0 {
        let side = ClientSide::new(protocol);
        let parse =
            |side: &mut ClientSide, bytes: &[u8], said: &mut Vec<u8>| side.parse(bytes, said);
        check(&side, side.banner(), received, CLIENT_BYTES_MAX, parse);
    } else {
        let side = ServerSide::new(protocol);
        let parse =
            |side: &mut ServerSide, bytes: &[u8], said: &mut Vec<u8>| side.parse(bytes, said);
        check(&side, side.opening(), received, SERVER_BYTES_MAX, parse);
    }
});

/// Byte by byte comes to the same as all at once, and within bounds.
fn check<S: Clone, T: PartialEq + std::fmt::Debug>(
    side: &S,
    said_first: &[u8],
    received: &[u8],
    bytes_max: usize,
    parse: impl Fn(&mut S, &[u8], &mut Vec<u8>) -> Parsed<T, Bad>,
) {
    let mut said = said_first.to_vec();
    let answer = parse(&mut side.clone(), received, &mut said);

    let mut slow_side = side.clone();
    let mut slow_said = said_first.to_vec();
    let slow = (0..=received.len())
        .map(|end| parse(&mut slow_side, &received[..end], &mut slow_said))
        .find(|answer| *answer != Parsed::More)
        .unwrap_or(Parsed::More);
    assert_eq!(slow, answer);
    assert_eq!(slow_said, said);
    assert!(said.len() <= 4096);
    if let Parsed::Done { consumed, .. } = answer {
        assert!(consumed <= received.len().min(bytes_max));
    }
}
