//! A ClientHello of TLS 1.3, as browsers send it: grease, a name, protocols, a key share that is post-quantum where there is
//! room for one, and padding up to the size that is asked for. There is no key behind it, since nobody answers it.

use std::ops::RangeInclusive;

/// Bytes of a hello: from one with all that a client needs to one that still is a single record, and fits the 16 KiB that
/// HAProxy has for it.
pub(crate) const BYTES: RangeInclusive<usize> = 320..=15_000;

/// Bytes that a key share of X25519MLKEM768 adds, rounded up.
const POST_QUANTUM_BYTES: usize = 1_232;
/// A key share of X25519MLKEM768: ML-KEM's encapsulation key and X25519's point.
const POST_QUANTUM_SHARE_BYTES: usize = 1_216;
const RECORD_HEADER_BYTES: usize = 5;
const MESSAGE_HEADER_BYTES: usize = 4;
/// What a list's length or an extension's takes.
const LENGTH_BYTES: usize = 2;
/// Type and length of an extension.
const EXTENSION_HEADER_BYTES: usize = 4;

/// What a record of a handshake begins with.
pub(super) const HANDSHAKE: u8 = 22;

const GREASE: u16 = 0x0a0a;
const X25519: u16 = 0x001d;
const X25519_MLKEM768: u16 = 0x11ec;

/// The record that asks for `name`, of so many bytes.
pub(super) fn of(name: &str, bytes: usize) -> Vec<u8> {
    let mut extensions = extensions(name, bytes >= BYTES.start() + POST_QUANTUM_BYTES);
    let mut hello = vec![0x03, 0x03];
    hello.extend([0x5a; 32]);
    hello.extend([&[32][..], &[0xa5; 32]].concat());
    hello.extend(list(
        &[GREASE, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c].map(u16::to_be_bytes),
    ));
    hello.extend([1, 0]);
    let so_far =
        RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES + hello.len() + LENGTH_BYTES + extensions.len();
    let padding = bytes.saturating_sub(so_far + EXTENSION_HEADER_BYTES);
    extensions.extend(extension(21, &vec![0; padding]));
    hello.extend(prefixed(&extensions));
    let length = (hello.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &hello].concat();
    [&[HANDSHAKE, 0x03, 0x01][..], &prefixed(&message)].concat()
}

fn extensions(name: &str, is_post_quantum: bool) -> Vec<u8> {
    let name = [&[0][..], &prefixed(name.as_bytes())].concat();
    let mut groups = vec![GREASE, X25519, 0x0017, 0x0018];
    let mut shares = share(GREASE, 1);
    if is_post_quantum {
        groups.insert(1, X25519_MLKEM768);
        shares.extend(share(X25519_MLKEM768, POST_QUANTUM_SHARE_BYTES));
    }
    shares.extend(share(X25519, 32));
    let groups: Vec<_> = groups.into_iter().map(u16::to_be_bytes).collect();
    let signatures = [0x0403, 0x0804, 0x0401, 0x0503].map(u16::to_be_bytes);
    [
        extension(GREASE, &[]),
        extension(0, &prefixed(&name)),
        extension(23, &[]),
        extension(0xff01, &[0]),
        extension(10, &list(&groups)),
        extension(16, &prefixed(b"\x02h2\x08http/1.1")),
        extension(13, &list(&signatures)),
        extension(51, &prefixed(&shares)),
        extension(45, &[1, 1]),
        extension(43, &[4, 0x03, 0x04, 0x03, 0x03]),
    ]
    .concat()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed(value)].concat()
}

/// An entry of the key shares.
fn share(group: u16, bytes: usize) -> Vec<u8> {
    extension(group, &vec![0x33; bytes])
}

fn list(values: &[[u8; 2]]) -> Vec<u8> {
    prefixed(&values.concat())
}

/// `value` after its length.
fn prefixed(value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("no hello is that long");
    [&length.to_be_bytes()[..], value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_has_the_size_that_is_asked_for() {
        for bytes in [*BYTES.start(), 500, 1_500, 1_600, 1_700, *BYTES.end()] {
            for name in ["n1.bench.example", "n9999.bench.example"] {
                let hello = of(name, bytes);
                assert_eq!(hello.len(), bytes, "{name}");
                let record = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
                assert_eq!(record + RECORD_HEADER_BYTES, bytes);
                let at = hello
                    .windows(name.len())
                    .position(|part| part == name.as_bytes());
                assert!(at.is_some(), "{name}");
            }
        }
    }

    #[test]
    fn only_a_large_one_is_post_quantum() {
        let has_share = |bytes| {
            let head = extension(X25519_MLKEM768, &[0x33; POST_QUANTUM_SHARE_BYTES]);
            of("a.example", bytes)
                .windows(head.len())
                .any(|part| part == head)
        };
        assert!(has_share(1_700) && !has_share(320));
    }
}
