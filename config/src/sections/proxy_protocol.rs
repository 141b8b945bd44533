//! The PROXY protocol: what listeners accept of it, and what servers get.

use ipnet::IpNet;
use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::choice::choices;
use crate::raw::read::{Read, choice};
use crate::raw::section::Section;
use crate::values::network::network;

/// The most networks of `trusted`.
pub const TRUSTED_MAX: usize = 256;

/// `accept_proxy_protocol` and the keys that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptProxy {
    /// `accept_proxy_protocol`: whether there must be a header.
    pub expected: Expected,
    /// `trusted`: who may send one. Absent: everyone.
    pub trusted: Option<Vec<IpNet>>,
    /// `untrusted`: what happens to others.
    pub untrusted: Untrusted,
}

choices! {
    /// Whether a header must come; displayed as it is written.
    pub enum Expected {
        /// Whoever sends none is refused.
        Required = "required",
        /// Whoever sends none is a client itself.
        Optional = "optional",
    }
}

choices! {
    /// What happens to who may send no header; displayed as it is written.
    pub enum Untrusted {
        /// They are refused.
        Refuse = "refuse",
        /// They are clients themselves.
        Plain = "plain",
    }
}

/// `send_proxy_protocol` and `proxy_tlvs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendProxy {
    /// `send_proxy_protocol`: the version of the headers.
    pub version: ProxyVersion,
    /// `proxy_tlvs`: what they say besides the addresses, each once, in the order of [`ProxyTlv`].
    pub tlvs: Vec<ProxyTlv>,
}

choices! {
    /// A version of the protocol; displayed as it is written.
    pub enum ProxyVersion {
        /// Text.
        V1 = "v1",
        /// Binary.
        V2 = "v2",
    }
}

choices! {
    /// What a header of version 2 says besides the addresses; displayed as it is written.
    pub enum ProxyTlv {
        /// The server name that the client asked for under TLS.
        Authority = "authority",
        /// The protocol that it likes best, under TLS.
        Alpn = "alpn",
        /// An id of the connection.
        UniqueId = "unique-id",
        /// A checksum of the header.
        Crc32c = "crc32c",
    }
}

impl ProxyTlv {
    const ALL: [Self; 4] = [Self::Authority, Self::Alpn, Self::UniqueId, Self::Crc32c];
}

/// The value of `accept_proxy_protocol`; displayed as it is written.
struct Accept(Option<Expected>);

impl Read for Accept {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        match value {
            DeValue::Boolean(true) => Ok(Self(Some(Expected::Required))),
            DeValue::Boolean(false) => Ok(Self(None)),
            _ => Expected::read(value, kind)
                .map(|expected| Self(Some(expected)))
                .map_err(|refusal| refusal.or_else(", true or false")),
        }
    }
}

/// Reads the keys of a listener.
pub(crate) fn read_accept(section: &mut Section<'_>) -> Option<AcceptProxy> {
    let Accept(expected) = section.value("accept_proxy_protocol");
    if expected.is_none() {
        for name in ["trusted", "untrusted"] {
            without(section, name, "accept_proxy_protocol");
        }
    }
    let is_written = section.node("trusted").is_some();
    let trusted = section.elements("trusted");
    let trusted = trusted
        .iter()
        .filter_map(|node| node.read(network))
        .collect();
    let untrusted = section.optional("untrusted");
    let expected = expected?;
    Some(AcceptProxy {
        expected,
        trusted: is_written.then_some(trusted),
        untrusted: untrusted.unwrap_or(match expected {
            Expected::Required => Untrusted::Refuse,
            Expected::Optional => Untrusted::Plain,
        }),
    })
}

/// Reads the keys of an upstream.
pub(crate) fn read_send(section: &mut Section<'_>) -> Option<SendProxy> {
    let version = section.optional("send_proxy_protocol");
    if section.node("send_proxy_protocol").is_none() {
        without(section, "proxy_tlvs", "send_proxy_protocol");
    }
    if version == Some(ProxyVersion::V1)
        && let Some(node) = section.node("proxy_tlvs")
    {
        let path = node.path();
        node.report(format!(
            "`{path}` is for version 2 of the protocol: version 1 has no TLVs; write \
             send_proxy_protocol = \"v2\", or remove this"
        ));
    }
    let nodes = section.elements("proxy_tlvs");
    let read = |value: &DeValue<'_>| choice(value, ProxyTlv::NAMES);
    let written: Vec<_> = nodes.iter().filter_map(|node| node.read(read)).collect();
    let tlvs = ProxyTlv::ALL.into_iter().enumerate();
    let tlvs = tlvs.filter(|(place, _)| written.contains(place));
    Some(SendProxy {
        version: version?,
        tlvs: tlvs.map(|(_, tlv)| tlv).collect(),
    })
}

/// Reports a key that has no meaning without another one.
fn without(section: &mut Section<'_>, name: &'static str, other: &str) {
    if let Some(node) = section.node(name) {
        let path = node.path();
        node.report(format!(
            "`{path}` is for `{other}`, which is missing; add it, or remove this"
        ));
    }
}
