//! What servers say before TLS begins.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::prologue::Parsed;
use proxy_core::prologue::starttls::{Protocol, SERVER_BYTES_MAX, ServerSide};

fuzz_target!(|input: &[u8]| {
    let Some((choice, received)) = input.split_first() else {
        return;
    };
    let protocol = match choice % 3 {
        0 => Protocol::Postgres,
        1 => Protocol::Smtp,
        _ => Protocol::Imap,
    };
    let mut side = ServerSide::new(protocol);
    let mut request = side.opening().to_vec();
    let answer = side.parse(received, &mut request);

    let mut side = ServerSide::new(protocol);
    let mut slow_request = side.opening().to_vec();
    let slow = (0..=received.len())
        .map(|end| side.parse(&received[..end], &mut slow_request))
        .find(|answer| *answer != Parsed::More)
        .unwrap_or(Parsed::More);
    assert_eq!(slow, answer);
    assert_eq!(slow_request, request);
    assert!(request.len() <= 4096);
    if let Parsed::Done { consumed, .. } = answer {
        assert!(consumed <= received.len().min(SERVER_BYTES_MAX));
    }
});
