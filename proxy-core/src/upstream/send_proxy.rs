//! The header of the PROXY protocol that a server gets first.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::connection::origin::ClientAddress;
use crate::prologue::proxy_protocol::{Addresses, Full, Header, V2Writer, Version, tlv, write_v1};
use crate::route::Facts;

/// The headers of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendProxy {
    /// Their version.
    pub version: Version,
    /// What those of version 2 say besides the addresses. What was received of it is passed on, and not said twice.
    pub tlvs: SendTlvs,
    /// A number of this process, which makes its ids unlike those of others.
    pub instance: u64,
}

/// What headers of version 2 say besides the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendTlvs {
    /// The name that the client asked for under TLS.
    pub authority: bool,
    /// The protocol that the client likes best, under TLS.
    pub alpn: bool,
    /// An id of the connection.
    pub unique_id: bool,
    /// A checksum of the header.
    pub crc32c: bool,
}

/// What there is to say of a connection.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) id: u64,
    pub(crate) peer: ClientAddress,
    /// What the peer connected to.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) facts: Option<&'a Facts>,
    /// The header that the peer sent.
    pub(crate) received: Option<Header<'a>>,
}

impl SendProxy {
    /// Appends the header of a connection.
    pub(crate) fn write(self, about: &About<'_>, into: &mut Vec<u8>) {
        let ends = about.ends();
        let is_datagram = about.received.is_some_and(|header| header.is_datagram);
        match self.version {
            // It has no words for anything but TCP.
            Version::V1 if is_datagram => write_v1(&Addresses::Unknown, into),
            Version::V1 => write_v1(&ends, into),
            Version::V2 => {
                let mut writer = V2Writer::new(&ends, into);
                if is_datagram {
                    writer.datagram();
                }
                if self.write_tlvs(about, &mut writer).is_err() {
                    note_full();
                }
                writer.finish();
            }
        }
    }

    /// Appends the header that says that the proxy speaks for itself, as health checks do.
    pub fn write_own(self, into: &mut Vec<u8>) {
        match self.version {
            Version::V1 => write_v1(&Addresses::Local, into),
            Version::V2 => {
                let mut writer = V2Writer::new(&Addresses::Local, into);
                if self.tlvs.crc32c {
                    writer.checksum().expect("there is nothing else in it");
                }
                writer.finish();
            }
        }
    }

    /// What was received comes first: none of the proxy's own takes its room, the checksum neither. From the first one on that has
    /// none, the others are left out.
    fn write_tlvs(self, about: &About<'_>, writer: &mut V2Writer<'_>) -> Result<(), Full> {
        // What comes with LOCAL is about nobody, and is to be discarded.
        let received = about.received;
        let received = received.filter(|header| header.addresses != Addresses::Local);
        let received = received.map(|header| header.tlvs).unwrap_or_default();
        for tlv in received.iter() {
            // A checksum is of one header, and padding of none.
            if !matches!(tlv.kind, tlv::CRC32C | tlv::NOOP) {
                writer.tlv(tlv.kind, tlv.value)?;
            }
        }
        if self.tlvs.crc32c {
            writer.checksum()?;
        }
        let sni = about.facts.and_then(|facts| facts.sni.as_deref());
        let alpn = about.facts.and_then(|facts| facts.alpn.iter().next());
        let id = self.tlvs.unique_id.then(|| self.unique_id(about.id));
        for (kind, wanted, value) in [
            (tlv::AUTHORITY, self.tlvs.authority, sni.map(str::as_bytes)),
            (tlv::ALPN, self.tlvs.alpn, alpn),
            (tlv::UNIQUE_ID, true, id.as_deref().map(str::as_bytes)),
        ] {
            if let Some(value) = value
                && wanted
                && received.get(kind).is_none()
            {
                writer.tlv(kind, value)?;
            }
        }
        Ok(())
    }

    fn unique_id(self, id: u64) -> String {
        format!("{:016x}-{id}", self.instance)
    }
}

impl<'a> About<'a> {
    /// The client's end, and the end that it connected to: as they were announced, or else as they are.
    fn ends(&self) -> Addresses<'a> {
        match self.received.map(|header| header.addresses) {
            Some(told @ (Addresses::Inet { .. } | Addresses::Unix { .. })) => return told,
            Some(Addresses::Local | Addresses::Unknown) | None => {}
        }
        match (self.peer, self.local) {
            (ClientAddress::Tcp(source), Some(destination)) => Addresses::Inet {
                source,
                destination: SocketAddr::new(
                    IpAddr::to_canonical(&destination.ip()),
                    destination.port(),
                ),
            },
            (ClientAddress::Unix, _) => Addresses::Unix {
                source: &[],
                destination: &[],
            },
            (ClientAddress::Tcp(_), None) => Addresses::Unknown,
        }
    }
}

/// Headers of this process that were full: the log has each power of two of them.
static FULL: AtomicU64 = AtomicU64::new(0);

#[cold]
fn note_full() {
    let headers = FULL.fetch_add(1, Relaxed) + 1;
    if headers.is_power_of_two() {
        tracing::warn!(
            headers,
            "a header of the PROXY protocol has no room for all TLVs: what was received is passed on first, and `proxy_tlvs` last"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prologue::Parsed;
    use crate::prologue::proxy_protocol::{V2_BYTES_MAX, parse};

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    /// A header with these addresses and TLVs behind its 14th byte.
    fn header(command: u8, ends: u8, block: &[u8]) -> Vec<u8> {
        let length = (block.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, ends], &length, block].concat()
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
    }

    fn read(header: &[u8]) -> Header<'_> {
        match parse(header) {
            Parsed::Done { value, consumed } if consumed == header.len() => value,
            other => panic!("{other:?}"),
        }
    }

    /// What a server gets of a client that was announced so.
    fn sent(received: &[u8], version: Version, tlvs: SendTlvs) -> Vec<u8> {
        let send = SendProxy {
            version,
            tlvs,
            instance: 1,
        };
        let about = About {
            id: 7,
            peer: ClientAddress::Tcp("192.0.2.1:5".parse().expect("an address")),
            local: Some("192.0.2.2:80".parse().expect("an address")),
            facts: None,
            received: Some(read(received)),
        };
        let mut header = Vec::new();
        send.write(&about, &mut header);
        header
    }

    const NONE: SendTlvs = SendTlvs {
        authority: false,
        alpn: false,
        unique_id: false,
        crc32c: false,
    };
    const V4: &[u8] = &[10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 1, 187];

    fn kinds(header: &[u8]) -> Vec<u8> {
        read(header).tlvs.iter().map(|tlv| tlv.kind).collect()
    }

    #[test]
    fn what_comes_with_local_is_discarded() {
        let tlvs = [tlv(tlv::AUTHORITY, b"a.example"), tlv(0xe0, b"x")].concat();
        let local = header(0x20, 0, &tlvs);
        let written = sent(&local, Version::V2, NONE);
        assert_eq!(kinds(&written), [0; 0]);
        // A connection of nobody's that a header announces keeps what is said of it.
        let unknown = header(0x21, 0, &tlvs);
        assert_eq!(
            kinds(&sent(&unknown, Version::V2, NONE)),
            [tlv::AUTHORITY, 0xe0]
        );
    }

    #[test]
    fn a_datagram_stays_one() {
        let datagram = header(0x21, 0x12, V4);
        assert_eq!(sent(&datagram, Version::V2, NONE), datagram);
        assert_eq!(sent(&datagram, Version::V1, NONE), b"PROXY UNKNOWN\r\n");
        let stream = header(0x21, 0x11, V4);
        assert_eq!(sent(&stream, Version::V2, NONE), stream);
    }

    #[test]
    fn what_was_received_keeps_its_room() {
        let all = SendTlvs {
            unique_id: true,
            crc32c: true,
            ..NONE
        };
        let received = |bytes: usize| {
            let rest = bytes - 16 - V4.len() - 3;
            header(0x21, 0x11, &[V4, &tlv(0xe0, &vec![b'x'; rest])].concat())
        };
        // One byte of room for the proxy's own, and then for more and more of them.
        let own = |room: usize| kinds(&sent(&received(V2_BYTES_MAX - room), Version::V2, all));
        assert_eq!(own(0), [0xe0]);
        assert_eq!(own(6), [0xe0]);
        assert_eq!(own(7), [0xe0, tlv::CRC32C]);
        assert_eq!(own(100), [0xe0, tlv::UNIQUE_ID, tlv::CRC32C]);
        // Addresses that are larger than those that came leave less: nothing of the proxy's own takes the place.
        let filler = vec![b'x'; V2_BYTES_MAX - 16 - 3 - 20];
        let unknown = header(
            0x21,
            0,
            &[tlv(0xe0, &filler), tlv(0xe1, b"0123456789abcdef0")].concat(),
        );
        assert_eq!(kinds(&sent(&unknown, Version::V2, all)), [0xe0]);
    }
}
