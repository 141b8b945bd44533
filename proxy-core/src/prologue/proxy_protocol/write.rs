//! Headers as they are sent.

use std::io::{self, Write};
use std::net::SocketAddr;

use thiserror::Error;

use super::addresses::{Addresses, UNIX_PATH_BYTES, as_v6};
use super::checksum::checksum;
use super::v2::{DGRAM, FIXED, INET, INET6, LOCAL, PROXY, SIGNATURE, STREAM, UNIX};
use super::{V2_BYTES_MAX, tlv};

/// Bytes of the TLV with the checksum.
const CHECKSUM_BYTES: usize = tlv::HEAD + 4;

/// Appends a line of version 1. Ends that it has no words for are UNKNOWN.
pub fn write_v1(addresses: &Addresses<'_>, into: &mut Vec<u8>) {
    write_line(addresses, into).expect("a vector takes every byte");
}

fn write_line(addresses: &Addresses<'_>, into: &mut Vec<u8>) -> io::Result<()> {
    let Addresses::Inet {
        source,
        destination,
    } = addresses
    else {
        return into.write_all(b"PROXY UNKNOWN\r\n");
    };
    match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            write!(into, "PROXY TCP4 {} {}", source.ip(), destination.ip())?;
        }
        _ => write!(
            into,
            "PROXY TCP6 {} {}",
            as_v6(*source),
            as_v6(*destination)
        )?,
    }
    write!(into, " {} {}\r\n", source.port(), destination.port())
}

/// A TLV that has no room in a header any more. Nothing of it was written.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no room in a header of {V2_BYTES_MAX} bytes")]
pub struct Full;

/// Appends a header of version 2 to a vector, TLV by TLV.
#[derive(Debug)]
pub struct V2Writer<'v> {
    into: &'v mut Vec<u8>,
    /// Where the header begins.
    begin: usize,
    has_checksum: bool,
}

impl<'v> V2Writer<'v> {
    /// Begins a header. [`V2Writer::finish`] makes it whole.
    pub fn new(addresses: &Addresses<'_>, into: &'v mut Vec<u8>) -> Self {
        let begin = into.len();
        into.extend_from_slice(&SIGNATURE);
        let (command, family) = match addresses {
            Addresses::Local => (LOCAL, 0),
            Addresses::Unknown => (PROXY, 0),
            Addresses::Unix { .. } => (PROXY, UNIX << 4 | STREAM),
            Addresses::Inet {
                source: SocketAddr::V4(_),
                destination: SocketAddr::V4(_),
            } => (PROXY, INET << 4 | STREAM),
            Addresses::Inet { .. } => (PROXY, INET6 << 4 | STREAM),
        };
        // The length is known at the end.
        into.extend_from_slice(&[command, family, 0, 0]);
        write_addresses(addresses, into);
        Self {
            into,
            begin,
            has_checksum: false,
        }
    }

    /// The client speaks UDP, or has a datagram socket. It means nothing where there are no addresses.
    pub fn datagram(&mut self) {
        let ends = &mut self.into[self.begin + FIXED - 3];
        if *ends & 0xf == STREAM {
            *ends = *ends & 0xf0 | DGRAM;
        }
    }

    /// Has the header end with a checksum.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn checksum(&mut self) -> Result<(), Full> {
        if CHECKSUM_BYTES > self.room() {
            return Err(Full);
        }
        self.has_checksum = true;
        Ok(())
    }

    /// Adds one.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn tlv(&mut self, kind: u8, value: &[u8]) -> Result<(), Full> {
        if tlv::HEAD + value.len() > self.room() {
            return Err(Full);
        }
        self.append(kind, value);
        Ok(())
    }

    fn room(&self) -> usize {
        let checksum = if self.has_checksum { CHECKSUM_BYTES } else { 0 };
        let used = self.into.len() - self.begin + checksum;
        V2_BYTES_MAX.saturating_sub(used)
    }

    /// Ends the header.
    pub fn finish(mut self) {
        let with_checksum = self.has_checksum;
        if with_checksum {
            self.append(tlv::CRC32C, &[0; 4]);
        }
        let header = &mut self.into[self.begin..];
        let length = (header.len() - FIXED) as u16;
        header[FIXED - 2..FIXED].copy_from_slice(&length.to_be_bytes());
        if with_checksum {
            let place = header.len() - 4;
            let checksum = checksum(header, place);
            header[place..].copy_from_slice(&checksum.to_be_bytes());
        }
    }

    fn append(&mut self, kind: u8, value: &[u8]) {
        self.into.push(kind);
        self.into
            .extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.into.extend_from_slice(value);
    }
}

fn write_addresses(addresses: &Addresses<'_>, into: &mut Vec<u8>) {
    match addresses {
        Addresses::Local | Addresses::Unknown => {}
        Addresses::Unix {
            source,
            destination,
        } => {
            for path in [source, destination] {
                let taken = &path[..path.len().min(UNIX_PATH_BYTES)];
                into.extend_from_slice(taken);
                into.resize(into.len() + UNIX_PATH_BYTES - taken.len(), 0);
            }
        }
        Addresses::Inet {
            source,
            destination,
        } => {
            match (source, destination) {
                (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                    into.extend_from_slice(&source.ip().octets());
                    into.extend_from_slice(&destination.ip().octets());
                }
                _ => {
                    into.extend_from_slice(&as_v6(*source).octets());
                    into.extend_from_slice(&as_v6(*destination).octets());
                }
            }
            into.extend_from_slice(&source.port().to_be_bytes());
            into.extend_from_slice(&destination.port().to_be_bytes());
        }
    }
}
