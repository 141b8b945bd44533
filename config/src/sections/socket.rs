//! Options of TCP sockets: keys that listeners and upstreams have alike, and those of one of them.

use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::time::Duration;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};
use crate::raw::section::Section;
use crate::values::dscp::Dscp;
use crate::values::seconds::Seconds;
use crate::values::size::Size;

/// Bytes of an interface's name (`IFNAMSIZ` less one), and of a congestion control's.
pub(crate) const SOCKET_NAME_BYTES_MAX: usize = 15;

/// Options of sockets to clients, or to servers. Absent: as the system has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// `keepalive`: whether silent peers are asked whether they are there, and when. On if absent.
    pub keepalive: Keepalive,
    /// `user_timeout`: how long what was sent may go without an acknowledgement.
    pub user_timeout: Option<Duration>,
    /// `notsent_lowat`: bytes that may wait in the kernel before they are sent.
    pub notsent_lowat: Option<Size>,
    /// `receive_buffer`: bytes of the kernel's buffer for what comes.
    pub receive_buffer: Option<Size>,
    /// `send_buffer`: bytes of the kernel's buffer for what goes.
    pub send_buffer: Option<Size>,
    /// `congestion`: the name of the congestion control.
    pub congestion: Option<String>,
    /// `mark`: the mark of packets.
    pub mark: Option<NonZeroU32>,
    /// `dscp`: the class of service of packets.
    pub dscp: Option<Dscp>,
    /// `interface`: the interface by which packets come and go.
    pub interface: Option<String>,
}

/// Whether silent peers are asked whether they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// `"off"`.
    Off,
    /// A duration is `idle` alone.
    On {
        /// `idle`: after how long a silence.
        idle: Option<Seconds>,
        /// `interval`: how often from then on.
        interval: Option<Seconds>,
        /// `count`: how often without an answer until the connection fails.
        count: Option<NonZeroU8>,
    },
}

/// Options of a listener alone. Unix sockets have none of them, nor of [`SocketOptions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    /// What sockets to clients have.
    pub socket: SocketOptions,
    /// `fast_open`: clients whose first bytes came with their SYN and that wait to be accepted; absent: no fast open.
    pub fast_open: Option<NonZeroU16>,
    /// `defer_accept`: how long the kernel waits for a client's first bytes before it is accepted.
    pub defer_accept: Option<Seconds>,
    /// `transparent`: whether connections to addresses that aren't this machine's are taken.
    pub transparent: bool,
}

/// Options of an upstream alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamOptions {
    /// What sockets to servers have.
    pub socket: SocketOptions,
    /// `source_address`: from where servers are connected to.
    pub source_address: Option<SourceAddress>,
}

/// From where servers are connected to; displayed as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceAddress {
    /// From this address.
    Address(IpAddr),
    /// `"client"`: from the client's.
    Client,
}

impl SocketOptions {
    /// The keys that are written and mean something else than their absence.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let system = Keepalive::On {
            idle: None,
            interval: None,
            count: None,
        };
        let keys = [
            (self.keepalive != system, "keepalive"),
            (self.user_timeout.is_some(), "user_timeout"),
            (self.notsent_lowat.is_some(), "notsent_lowat"),
            (self.receive_buffer.is_some(), "receive_buffer"),
            (self.send_buffer.is_some(), "send_buffer"),
            (self.congestion.is_some(), "congestion"),
            (self.mark.is_some(), "mark"),
            (self.dscp.is_some(), "dscp"),
            (self.interface.is_some(), "interface"),
        ];
        keys.into_iter()
            .filter_map(|(is_set, key)| is_set.then_some(key))
    }
}

impl ListenerOptions {
    /// As [`SocketOptions::keys`].
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            (self.fast_open.is_some(), "fast_open"),
            (self.defer_accept.is_some(), "defer_accept"),
            (self.transparent, "transparent"),
        ];
        let own = keys
            .into_iter()
            .filter_map(|(is_set, key)| is_set.then_some(key));
        self.socket.keys().chain(own)
    }
}

impl UpstreamOptions {
    /// As [`SocketOptions::keys`].
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let own = self.source_address.map(|_| "source_address");
        self.socket.keys().chain(own)
    }
}

pub(crate) fn read_listener(section: &mut Section<'_>) -> ListenerOptions {
    ListenerOptions {
        socket: read(section),
        fast_open: section.optional("fast_open"),
        defer_accept: section.optional("defer_accept"),
        transparent: section.value("transparent"),
    }
}

pub(crate) fn read_upstream(section: &mut Section<'_>) -> UpstreamOptions {
    UpstreamOptions {
        socket: read(section),
        source_address: section
            .node("source_address")
            .and_then(|node| node.read(source_address)),
    }
}

fn read(section: &mut Section<'_>) -> SocketOptions {
    SocketOptions {
        keepalive: read_keepalive(section),
        user_timeout: section.optional("user_timeout"),
        notsent_lowat: section.optional("notsent_lowat"),
        receive_buffer: section.optional("receive_buffer"),
        send_buffer: section.optional("send_buffer"),
        congestion: section
            .node("congestion")
            .and_then(|node| node.read(congestion)),
        mark: section.optional("mark"),
        dscp: section.optional("dscp"),
        interface: section
            .node("interface")
            .and_then(|node| node.read(interface)),
    }
}

fn read_keepalive(section: &mut Section<'_>) -> Keepalive {
    let mut keepalive = Keepalive::On {
        idle: None,
        interval: None,
        count: None,
    };
    let Some(node) = section.node("keepalive") else {
        return keepalive;
    };
    match node.value {
        DeValue::Table(_) => node.section(|section| Keepalive::On {
            idle: section.optional("idle"),
            interval: section.optional("interval"),
            count: section.optional("count"),
        }),
        value if value.as_str() == Some("off") => Keepalive::Off,
        _ => {
            let read = |value: &DeValue<'_>| {
                Seconds::read(value, &Kind::Seconds { max: Seconds::MAX })
                    .map_err(|refusal| refusal.or_else(", \"off\" or a table"))
            };
            if let Keepalive::On { idle, .. } = &mut keepalive {
                *idle = node.read(read);
            }
            keepalive
        }
    }
}

fn congestion(value: &DeValue<'_>) -> Result<String, Refusal> {
    const EXPECTED: &str = "the name of a congestion control";
    let name = string(value, EXPECTED)?;
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=SOCKET_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_valid) {
        return Ok(name.to_owned());
    }
    let advice = "net.ipv4.tcp_available_congestion_control has those of this kernel".to_owned();
    Err(Refusal::new(EXPECTED, value).advise(advice))
}

fn interface(value: &DeValue<'_>) -> Result<String, Refusal> {
    const EXPECTED: &str = "the name of an interface";
    let name = string(value, EXPECTED)?;
    let is_valid = |byte: u8| byte.is_ascii_graphic() && !b"/:".contains(&byte);
    if (1..=SOCKET_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_valid) {
        return Ok(name.to_owned());
    }
    let advice = "`ip link` lists those of this machine".to_owned();
    Err(Refusal::new(EXPECTED, value).advise(advice))
}

fn source_address(value: &DeValue<'_>) -> Result<SourceAddress, Refusal> {
    const EXPECTED: &str = "an IP address of this machine or \"client\"";
    let text = string(value, EXPECTED)?;
    if text == "client" {
        return Ok(SourceAddress::Client);
    }
    let address = text
        .parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical());
    let address = address.filter(|address| {
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        !address.is_unspecified() && !address.is_multicast() && !is_broadcast
    });
    match address {
        Some(address) => Ok(SourceAddress::Address(address)),
        None => Err(Refusal::new(EXPECTED, value)),
    }
}

impl std::fmt::Display for SourceAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Client => f.write_str("client"),
        }
    }
}
