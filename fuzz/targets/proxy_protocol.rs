//! Headers of the PROXY protocol: what is read is written and read again, and no judgement changes by what comes later.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::prologue::Parsed;
use proxy_core::prologue::proxy_protocol::{Addresses, V2Writer, Version, parse, tlv, write_v1};

fuzz_target!(|received: &[u8]| {
    let answer = parse(received);
    let first = (0..=received.len().min(300))
        .map(|end| parse(&received[..end]))
        .find(|answer| *answer != Parsed::More);
    if let Some(first) = first {
        assert_eq!(first, answer);
    }
    let Parsed::Done { value, consumed } = answer else {
        return;
    };
    assert!(consumed <= received.len());
    let mut written = Vec::new();
    match value.version {
        Version::V1 => write_v1(&value.addresses, &mut written),
        Version::V2 => {
            let mut writer = V2Writer::new(&value.addresses, &mut written);
            if value.is_datagram {
                writer.datagram();
            }
            if value.tlvs.get(tlv::CRC32C).is_some() && writer.checksum().is_err() {
                return;
            }
            for tlv in value.tlvs.iter().filter(|tlv| tlv.kind != tlv::CRC32C) {
                if writer.tlv(tlv.kind, tlv.value).is_err() {
                    return;
                }
            }
            writer.finish();
        }
    }
    let Parsed::Done {
        value: again,
        consumed,
    } = parse(&written)
    else {
        panic!("what was written isn't read: {written:?}");
    };
    assert_eq!(consumed, written.len());
    assert_eq!(again.addresses, value.addresses);
    if value.addresses != Addresses::Unknown {
        assert_eq!(again.is_datagram, value.is_datagram);
    }
    if !matches!(value.addresses, Addresses::Local | Addresses::Unknown) {
        let others = |kind: &u8| *kind != tlv::CRC32C;
        assert!(
            value
                .tlvs
                .iter()
                .map(|tlv| tlv.kind)
                .filter(others)
                .eq(again.tlvs.iter().map(|tlv| tlv.kind).filter(others))
        );
    }
});
