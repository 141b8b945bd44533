//! The header of the PROXY protocol that a server gets first.

use std::net::{IpAddr, SocketAddr};

use crate::connection::origin::ClientAddress;
use crate::prologue::proxy_protocol::{Addresses, Header, V2Writer, Version, tlv, write_v1};
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
        match self.version {
            Version::V1 => write_v1(&ends, into),
            Version::V2 => {
                let mut writer = V2Writer::new(&ends, into);
                self.write_tlvs(about, &mut writer);
                writer.finish(self.tlvs.crc32c);
            }
        }
    }

    /// Appends the header that says that the proxy speaks for itself, as health checks do.
    pub fn write_own(self, into: &mut Vec<u8>) {
        match self.version {
            Version::V1 => write_v1(&Addresses::Local, into),
            Version::V2 => V2Writer::new(&Addresses::Local, into).finish(self.tlvs.crc32c),
        }
    }

    fn write_tlvs(self, about: &About<'_>, writer: &mut V2Writer<'_>) {
        let received = about.received.map(|header| header.tlvs).unwrap_or_default();
        let mut add = |kind, value: &[u8]| {
            if writer.tlv(kind, value).is_err() {
                tracing::debug!(kind, id = about.id, "a TLV has no room in the header");
            }
        };
        for tlv in received.iter() {
            // A checksum is of one header, and padding of none.
            if !matches!(tlv.kind, tlv::CRC32C | tlv::NOOP) {
                add(tlv.kind, tlv.value);
            }
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
                add(kind, value);
            }
        }
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
