//! Each prefix of what is valid, each byte flipped, anything at all, and what is written is read again.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::prologue::Parsed;

fn address(text: &str) -> std::net::SocketAddr {
    text.parse().expect("an address")
}

fn inet(source: &str, destination: &str) -> Addresses<'static> {
    Addresses::inet(address(source), address(destination))
}

/// A header of version 2 by hand.
fn v2(command: u8, ends: u8, block: &[u8]) -> Vec<u8> {
    let mut header = v2::SIGNATURE.to_vec();
    header.extend([command, ends]);
    header.extend((block.len() as u16).to_be_bytes());
    header.extend(block);
    header
}

fn bad(received: &[u8]) -> Bad {
    match parse(received) {
        Parsed::Bad(reason) => reason,
        other => panic!("{:?} is {other:?}", String::from_utf8_lossy(received)),
    }
}

fn done(received: &[u8]) -> (Header<'_>, usize) {
    match parse(received) {
        Parsed::Done { value, consumed } => (value, consumed),
        other => panic!("{:?} is {other:?}", String::from_utf8_lossy(received)),
    }
}

const V4_BLOCK: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 1, 187];

#[test]
fn lines_say_who_the_ends_are() {
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(long.len(), V1_BYTES_MAX);
    for (line, addresses) in [
        (
            "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n",
            inet("255.255.255.255:65535", "0.0.0.0:0"),
        ),
        (
            "PROXY TCP6 2001:DB8::1 ::1 1 2\r\n",
            inet("[2001:db8::1]:1", "[::1]:2"),
        ),
        // One of IPv4 that is written as one of IPv6 is one of IPv4.
        (
            "PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n",
            inet("10.0.0.1:1", "[::1]:2"),
        ),
        ("PROXY UNKNOWN\r\n", Addresses::Unknown),
        ("PROXY UNKNOWN \x00 anything\r\n", Addresses::Unknown),
        (&long, Addresses::Unknown),
    ] {
        let received = [line.as_bytes(), b"GET"].concat();
        let (header, consumed) = done(&received);
        assert_eq!(header.version, Version::V1);
        assert_eq!(
            (header.addresses, consumed),
            (addresses, line.len()),
            "{line}"
        );
    }
}

#[test]
fn lines_are_taken_to_the_letter() {
    let long = format!("PROXY UNKNOWN {}", "f".repeat(100));
    let last = format!("PROXY UNKNOWN {}\r", "f".repeat(92));
    assert_eq!(last.len(), V1_BYTES_MAX);
    for (line, reason) in [
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", Bad::LineEnd),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", Bad::LineEnd),
        ("PROXY UNKNOWN a\rb\r\n", Bad::LineEnd),
        (&long, Bad::LineTooLong),
        (&last, Bad::LineTooLong),
        ("PROXY \r\n", Bad::Protocol),
        ("PROXY UNKNOWNx\r\n", Bad::Protocol),
        ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", Bad::Protocol),
        ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Bad::Protocol),
        ("PROXY TCP4\r\n", Bad::Fields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Bad::Fields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", Bad::Fields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", Bad::Fields),
        ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", Bad::Address),
        ("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", Bad::Address),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", Bad::Address),
        ("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", Bad::Address),
        ("PROXY TCP6 ::1%1 ::1 1 2\r\n", Bad::Address),
        ("PROXY TCP6 \u{e9} ::1 1 2\r\n", Bad::Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Bad::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n", Bad::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Bad::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", Bad::Port),
        (
            "PROXY TCP4 1.2.3.4 1.2.3.4 99999999999999999999 1\r\n",
            Bad::Port,
        ),
    ] {
        assert_eq!(bad(line.as_bytes()), reason, "{line}");
    }
}

#[test]
fn what_is_no_header_is_known_by_the_first_byte_that_differs() {
    for other in [
        "GET / HTTP/1.1\r\n",
        "PROXX",
        "PROXYx",
        "\r\n\r\nx",
        "\x16\x03\x01",
        "\0",
    ] {
        assert_eq!(parse(other.as_bytes()), Parsed::Not, "{other:?}");
    }
    assert_eq!(parse(b""), Parsed::More);
}

#[test]
fn binary_headers_say_who_the_ends_are() {
    let mut v6 = [0; 36];
    v6[0] = 0x20;
    v6[31] = 1;
    v6[32..].copy_from_slice(&[0, 1, 0, 2]);
    let mut unix = [0; 216];
    unix[..2].copy_from_slice(b"\0a");
    unix[108..112].copy_from_slice(b"/run");
    for (header, addresses) in [
        (
            v2(0x21, 0x11, &V4_BLOCK),
            inet("10.0.0.1:80", "10.0.0.2:443"),
        ),
        (
            v2(0x21, 0x12, &V4_BLOCK),
            inet("10.0.0.1:80", "10.0.0.2:443"),
        ),
        (v2(0x21, 0x21, &v6), inet("[2000::]:1", "[::1]:2")),
        (
            v2(0x21, 0x31, &unix),
            Addresses::Unix {
                source: b"\0a",
                destination: b"/run",
            },
        ),
        (v2(0x21, 0x00, &[]), Addresses::Unknown),
        (v2(0x21, 0x00, b"no tlv"), Addresses::Unknown),
        (v2(0x21, 0x10, &V4_BLOCK), Addresses::Unknown),
        (v2(0x20, 0x00, &[]), Addresses::Local),
        (v2(0x20, 0x11, &V4_BLOCK), Addresses::Local),
        (v2(0x20, 0xff, b"anything"), Addresses::Local),
        (v2(0x20, 0x11, b"short"), Addresses::Local),
    ] {
        let received = [&header[..], b"\r\n\r\n"].concat();
        let (value, consumed) = done(&received);
        assert_eq!(value.version, Version::V2);
        assert_eq!(
            (value.addresses, consumed),
            (addresses, header.len()),
            "{header:?}"
        );
    }
}

#[test]
fn binary_headers_that_break_the_rules_are_refused() {
    let long_id = [&V4_BLOCK[..], &[5, 0, 129], &[7; 129]].concat();
    let cut = [&V4_BLOCK[..], &[4, 0, 2, 0]].concat();
    let head_cut = [&V4_BLOCK[..], &[4, 0]].concat();
    let short_sum = [&V4_BLOCK[..], &[3, 0, 3, 0, 0, 0]].concat();
    let wrong_sum = [&V4_BLOCK[..], &[3, 0, 4, 0, 0, 0, 0]].concat();
    for (header, reason) in [
        (v2(0x11, 0x11, &V4_BLOCK), Bad::Version),
        (v2(0x22, 0x11, &V4_BLOCK), Bad::Command),
        (v2(0x21, 0x41, &V4_BLOCK), Bad::Family),
        (v2(0x21, 0x13, &V4_BLOCK), Bad::Transport),
        (v2(0x21, 0x11, &V4_BLOCK[1..]), Bad::TooShort),
        (v2(0x21, 0x21, &V4_BLOCK), Bad::TooShort),
        (v2(0x21, 0x11, &[0; V2_BYTES_MAX - 15]), Bad::TooLong),
        (v2(0x21, 0x11, &long_id), Bad::UniqueId),
        (v2(0x21, 0x11, &cut), Bad::Tlv),
        (v2(0x21, 0x11, &head_cut), Bad::Tlv),
        (v2(0x21, 0x11, &short_sum), Bad::ChecksumForm),
        (v2(0x21, 0x11, &wrong_sum), Bad::Checksum),
        // A checksum holds for LOCAL, too.
        (v2(0x20, 0x00, &[3, 0, 4, 0, 0, 0, 0]), Bad::Checksum),
    ] {
        assert_eq!(bad(&header), reason, "{header:?}");
    }
}

#[test]
fn what_is_wrong_with_the_fixed_bytes_is_known_at_once() {
    assert_eq!(bad(&v2(0x11, 0, &[])[..13]), Bad::Version);
    assert_eq!(bad(&v2(0x21, 0x51, &[])[..14]), Bad::Family);
    assert_eq!(bad(&v2(0x21, 0x11, &[0; V2_BYTES_MAX])[..16]), Bad::TooLong);
}

#[test]
fn the_longest_header_is_taken() {
    let block = [&V4_BLOCK[..], &[4, 0x3f, 0xe1], &[0; 0x3fe1]].concat();
    let header = v2(0x21, 0x11, &block);
    assert_eq!(header.len(), V2_BYTES_MAX);
    assert_eq!(done(&header).1, V2_BYTES_MAX);
}

/// CRC32C bit by bit, as RFC 4960 defines it.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[test]
fn the_checksum_is_crc32c_over_the_header_with_zeros_in_its_place() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    let block = [&V4_BLOCK[..], &[3, 0, 4, 0, 0, 0, 0], &[4, 0, 1, 9]].concat();
    let mut header = v2(0x21, 0x11, &block);
    let sum = crc32c(&header);
    header[31..35].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(
        done(&header).0.tlvs.get(tlv::CRC32C),
        Some(&sum.to_be_bytes()[..])
    );
    header.extend_from_slice(&[0; 9]);
    assert_eq!(done(&header).1, header.len() - 9);
}

#[test]
fn a_writer_never_makes_more_than_a_reader_takes() {
    let mut written = Vec::new();
    let mut writer = V2Writer::new(&inet("[::1]:1", "[::2]:2"), &mut written);
    writer.checksum().expect("room");
    assert_eq!(writer.tlv(0xe0, &[0; V2_BYTES_MAX]), Err(Full));
    while writer.tlv(0xe0, &[0; 100]).is_ok() {}
    while writer.tlv(0xe0, &[]).is_ok() {}
    writer.finish();
    assert!(written.len() > V2_BYTES_MAX - 7 - 3 && written.len() <= V2_BYTES_MAX);
    assert_eq!(done(&written).1, written.len());
}

fn socket_addresses() -> impl Strategy<Value = std::net::SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(std::net::SocketAddr::from)
}

/// A header of either version, of the writer.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let tlvs = vec((any::<u8>(), vec(any::<u8>(), 0..64)), 0..5);
    let ends = (socket_addresses(), socket_addresses(), 0..4u8);
    (ends, tlvs, any::<bool>(), any::<bool>()).prop_map(
        |((source, destination, kind), tlvs, sum, text)| {
            let addresses = match kind {
                0 => Addresses::Local,
                1 => Addresses::Unknown,
                2 => Addresses::unix(b"\0x", b"/run/y"),
                _ => Addresses::inet(source, destination),
            };
            let mut header = Vec::new();
            if text {
                write_v1(&addresses, &mut header);
            } else {
                let mut writer = V2Writer::new(&addresses, &mut header);
                for (kind, value) in tlvs.iter().filter(|(kind, _)| *kind != tlv::CRC32C) {
                    writer.tlv(*kind, value).expect("room");
                }
                if sum {
                    writer.checksum().expect("room");
                }
                writer.finish();
            }
            header
        },
    )
}

/// Each bit of each byte, one at a time.
#[test]
fn each_byte_that_is_flipped_is_judged_as_early_as_late() {
    let mut with_checksum = Vec::new();
    let ends = inet("[2001:db8::1]:1", "[2001:db8::2]:2");
    let mut writer = V2Writer::new(&ends, &mut with_checksum);
    writer.checksum().expect("room");
    writer.tlv(tlv::AUTHORITY, b"a.example").expect("room");
    writer.finish();
    for valid in [
        b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0x21, 0x11, &V4_BLOCK),
        v2(0x20, 0, b"\x04\0\x01x"),
        with_checksum,
    ] {
        for place in 0..valid.len() {
            for bit in 0..8 {
                let mut header = valid.clone();
                header[place] ^= 1 << bit;
                let at_once = parse(&header);
                let mut ends = 0..=header.len();
                let first = ends.find_map(|end| match parse(&header[..end]) {
                    Parsed::More => None,
                    answer => Some(answer),
                });
                assert_eq!(first.unwrap_or(Parsed::More), at_once, "{place}, {bit}");
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source in socket_addresses(),
        destination in socket_addresses(),
        tlvs in vec((0x20..=0xffu8, vec(any::<u8>(), 0..300)), 0..8),
        (sum, datagram) in any::<(bool, bool)>(),
    ) {
        let addresses = Addresses::inet(source, destination);
        let mut line = Vec::new();
        write_v1(&addresses, &mut line);
        let (header, consumed) = done(&line);
        prop_assert_eq!((header.addresses, consumed), (addresses, line.len()));

        let mut binary = vec![b'x'];
        let mut writer = V2Writer::new(&addresses, &mut binary);
        for (kind, value) in &tlvs {
            writer.tlv(*kind, value).expect("room");
        }
        if datagram {
            writer.datagram();
        }
        if sum {
            writer.checksum().expect("room");
        }
        writer.finish();
        let (header, consumed) = done(&binary[1..]);
        prop_assert_eq!(header.is_datagram, datagram);
        prop_assert_eq!((header.addresses, consumed), (addresses, binary.len() - 1));
        let read: Vec<_> = header.tlvs.iter().filter(|tlv| tlv.kind != tlv::CRC32C).collect();
        prop_assert_eq!(read.len(), tlvs.len());
        for (read, (kind, value)) in read.iter().zip(&tlvs) {
            prop_assert_eq!(read, &Tlv { kind: *kind, value });
        }
        prop_assert_eq!(header.tlvs.get(tlv::CRC32C).is_some(), sum);
    }

    #[test]
    fn no_prefix_is_judged(header in headers(), after in vec(any::<u8>(), 0..20)) {
        for end in 0..header.len() {
            prop_assert_eq!(parse(&header[..end]), Parsed::More);
        }
        let received = [&header[..], &after].concat();
        prop_assert_eq!(done(&received), done(&header));
        prop_assert_eq!(done(&received).1, header.len());
    }

    /// A judgement stands: bytes that come later change nothing about it.
    #[test]
    fn one_byte_at_a_time_is_as_all_at_once(
        mut header in headers(),
        at: prop::sample::Index,
        flip in 1..=255u8,
        flipped: bool,
    ) {
        if flipped {
            let at = at.index(header.len());
            header[at] ^= flip;
        }
        let at_once = parse(&header);
        let first = (0..=header.len()).map(|end| parse(&header[..end])).find(|now| *now != Parsed::More);
        prop_assert_eq!(first.unwrap_or(Parsed::More), at_once);
    }

    /// Every single bit that is wrong is found where there is a checksum.
    #[test]
    fn a_checksum_finds_a_flipped_bit(
        source in socket_addresses(),
        destination in socket_addresses(),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let mut header = Vec::new();
        let mut writer = V2Writer::new(&Addresses::inet(source, destination), &mut header);
        writer.checksum().expect("room");
        writer.finish();
        let at = 16 + at.index(header.len() - 16);
        header[at] ^= 1 << bit;
        // A flip in the TLV's own type makes it another TLV; everything else is found.
        if at != header.len() - 7 {
            prop_assert!(matches!(parse(&header), Parsed::Bad(_)), "{:?}", parse(&header));
        }
    }

    #[test]
    fn anything_at_all_is_answered(bytes in vec(any::<u8>(), 0..300), line: bool) {
        let mut received = if line { v1::PREFIX.to_vec() } else { v2::SIGNATURE.to_vec() };
        let _ = parse(&bytes);
        received.extend(&bytes);
        let _ = parse(&received);
    }
}
