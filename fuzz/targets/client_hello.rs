//! ClientHellos: as they come, and as the extensions of one that is well-formed otherwise, in records and segments of any
//! size.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::prologue::Parsed;
use proxy_core::prologue::tls::{
    ALPN_BYTES_MAX, Bad, CLIENT_HELLO_BYTES_MAX, ClientHello, HelloParser, SERVER_NAME_BYTES_MAX,
};

fuzz_target!(|input: &[u8]| {
    let Some(([mode, size], rest)) = input.split_first_chunk::<2>() else {
        return;
    };
    if *mode < 64 {
        check(rest);
    } else {
        let message = message(rest);
        let pieces = records(&message, usize::from(*size) + 1);
        // The headers of many small records may make it too long.
        if pieces.len() <= CLIENT_HELLO_BYTES_MAX {
            assert_eq!(check(&pieces), check(&records(&message, 1 << 14)));
        }
    }
});

/// What the hello says, if that is well-formed.
fn check(received: &[u8]) -> Option<ClientHello> {
    let answer = HelloParser::default().parse(received);
    assert_eq!(slowly(received), answer);
    let Parsed::Done { value, consumed } = answer else {
        return None;
    };
    assert!(consumed <= received.len());
    assert!(value.alpn.as_bytes().len() <= ALPN_BYTES_MAX);
    let _ = value.alpn.to_string();
    if let Some(name) = &value.server_name {
        assert!(!name.is_empty() && name.len() <= SERVER_NAME_BYTES_MAX);
        let is_normal = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        assert!(name.bytes().all(is_normal));
    }
    Some(value)
}

fn slowly(received: &[u8]) -> Parsed<ClientHello, Bad> {
    let mut parser = HelloParser::default();
    (0..=received.len())
        .map(|end| parser.parse(&received[..end]))
        .find(|answer| *answer != Parsed::More)
        .unwrap_or(Parsed::More)
}

fn message(extensions: &[u8]) -> Vec<u8> {
    let extensions = &extensions[..extensions.len().min(usize::from(u16::MAX))];
    let mut body = vec![3, 3];
    body.extend([0; 33]);
    body.extend([0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32).to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for part in message.chunks(size) {
        records.extend([22, 3, 1]);
        records.extend((part.len() as u16).to_be_bytes());
        records.extend(part);
    }
    records
}
