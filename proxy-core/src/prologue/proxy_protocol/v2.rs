//! Version 2: binary, with TLVs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::addresses::UNIX_PATH_BYTES;
use super::checksum::checksum;
use super::tlv::{self, Tlvs};
use super::{Addresses, Bad, Header, V2_BYTES_MAX, Version, agrees};
use crate::prologue::Parsed;

pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
pub(super) const FIXED: usize = 16;

pub(super) const LOCAL: u8 = 0x20;
pub(super) const PROXY: u8 = 0x21;
pub(super) const INET: u8 = 1;
pub(super) const INET6: u8 = 2;
pub(super) const UNIX: u8 = 3;
pub(super) const STREAM: u8 = 1;
pub(super) const DGRAM: u8 = 2;

pub(super) fn parse(received: &[u8]) -> Parsed<Header<'_>, Bad> {
    if !agrees(received, &SIGNATURE) {
        return Parsed::Not;
    }
    match whole(received) {
        Ok(None) => Parsed::More,
        Ok(Some(header)) => match read(header) {
            Ok(value) => Parsed::Done {
                value,
                consumed: header.len(),
            },
            Err(reason) => Parsed::Bad(reason),
        },
        Err(reason) => Parsed::Bad(reason),
    }
}

/// The bytes of the header once all of them are there; each of the fixed ones is judged as soon as it is.
fn whole(received: &[u8]) -> Result<Option<&[u8]>, Bad> {
    let Some(command) = received.get(12).copied() else {
        return Ok(None);
    };
    if command >> 4 != 2 {
        return Err(Bad::Version);
    }
    if command != LOCAL && command != PROXY {
        return Err(Bad::Command);
    }
    let Some(ends) = received.get(13).copied() else {
        return Ok(None);
    };
    // LOCAL makes no use of it, and the protocol says to ignore it.
    if command == PROXY {
        if ends >> 4 > UNIX {
            return Err(Bad::Family);
        }
        if ends & 0xf > DGRAM {
            return Err(Bad::Transport);
        }
    }
    let Some(length) = received.get(14..FIXED) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if FIXED + length > V2_BYTES_MAX {
        return Err(Bad::TooLong);
    }
    if command == PROXY && length < addresses_bytes(ends) {
        return Err(Bad::TooShort);
    }
    Ok(received.get(..FIXED + length))
}

fn read(header: &[u8]) -> Result<Header<'_>, Bad> {
    let (command, ends) = (header[12], header[13]);
    let block = &header[FIXED..];
    let size = addresses_bytes(ends).min(block.len());
    let addresses = match (command, ends >> 4, ends & 0xf) {
        (LOCAL, ..) => Addresses::Local,
        (_, _, 0) => Addresses::Unknown,
        (_, INET, _) => inet::<4, Ipv4Addr>(block),
        (_, INET6, _) => inet::<16, Ipv6Addr>(block),
        (_, UNIX, _) => {
            let (source, rest) = block.split_at(UNIX_PATH_BYTES);
            Addresses::unix(source, &rest[..UNIX_PATH_BYTES])
        }
        _ => Addresses::Unknown,
    };
    let tlvs = match (Tlvs::new(&block[size..]), addresses) {
        (Some(tlvs), _) => tlvs,
        // What follows addresses of no known size is skipped if it doesn't look like TLVs.
        (None, Addresses::Local | Addresses::Unknown) => Tlvs::default(),
        (None, _) => return Err(Bad::Tlv),
    };
    check(header, tlvs)?;
    Ok(Header {
        version: Version::V2,
        addresses,
        is_datagram: command == PROXY && ends & 0xf == DGRAM,
        tlvs,
    })
}

/// Bytes of both addresses of a family.
const fn addresses_bytes(ends: u8) -> usize {
    match ends >> 4 {
        INET => 2 * (4 + 2),
        INET6 => 2 * (16 + 2),
        UNIX => 2 * UNIX_PATH_BYTES,
        _ => 0,
    }
}

/// Two addresses of `N` bytes, then two ports. They must be in the block.
fn inet<const N: usize, A: From<[u8; N]> + Into<IpAddr>>(block: &[u8]) -> Addresses<'_> {
    let ip = |at: usize| -> IpAddr {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&block[at..at + N]);
        A::from(bytes).into()
    };
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    Addresses::inet(
        SocketAddr::new(ip(0), port(2 * N)),
        SocketAddr::new(ip(N), port(2 * N + 2)),
    )
}

/// The rules for values of known types.
fn check(header: &[u8], tlvs: Tlvs<'_>) -> Result<(), Bad> {
    let mut place = header.len() - tlvs.as_bytes().len();
    let mut told = None;
    for tlv in tlvs.iter() {
        match tlv.kind {
            tlv::UNIQUE_ID if tlv.value.len() > tlv::UNIQUE_ID_BYTES_MAX => {
                return Err(Bad::UniqueId);
            }
            tlv::CRC32C => match <[u8; 4]>::try_from(tlv.value) {
                Ok(value) if told.is_none() => told = Some((place + tlv::HEAD, value)),
                _ => return Err(Bad::ChecksumForm),
            },
            _ => {}
        }
        place += tlv::HEAD + tlv.value.len();
    }
    match told {
        Some((place, value)) if checksum(header, place) != u32::from_be_bytes(value) => {
            Err(Bad::Checksum)
        }
        _ => Ok(()),
    }
}
