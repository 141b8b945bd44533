//! Options of TCP sockets, of listeners and of upstreams.

use std::time::Duration;

use super::super::key::{Key, Kind, Syntax, Table};
use crate::values::seconds::Seconds;

/// A bound on a kernel's buffer. The kernel's own limits are lower.
pub(super) const BUFFER: Kind = Kind::Size {
    min: 4 << 10,
    max: 1 << 30,
};

pub(super) const USER_TIMEOUT: Kind = Kind::Duration {
    min: Duration::from_millis(1),
    max: Duration::from_secs(24 * 60 * 60),
};

pub(super) const MARK: Kind = Kind::Integer {
    min: 1,
    max: u32::MAX as u64,
};

pub(super) const CONGESTION: Kind = Kind::Text(Syntax {
    what: "name",
    accepted: &["cubic", "bbr", "reno"],
    refused: &["", "a b", "0123456789abcdef"],
    pattern: "^[A-Za-z0-9_-]{1,15}$",
});

pub(super) const INTERFACE: Kind = Kind::Text(Syntax {
    what: "name",
    accepted: &["eth1", "lo", "vrf-blue", "eth0.100"],
    refused: &["", "eth 1", "a/b", "0123456789abcdef"],
    pattern: "^[!-.0-9;-~]{1,15}$",
});

pub(super) const LISTENER_KEEPALIVE_KIND: Kind = Kind::SecondsOrOffOrTable {
    max: Seconds::MAX,
    table: &LISTENER_KEEPALIVE,
};

pub(super) const UPSTREAM_KEEPALIVE_KIND: Kind = Kind::SecondsOrOffOrTable {
    max: Seconds::MAX,
    table: &UPSTREAM_KEEPALIVE,
};

/// What it means that an option isn't written.
pub(super) const SYSTEM: &str = "as the system has it";

pub(super) const KEEPALIVE_ABOUT: &str = "after how long a silence the kernel asks the peer whether it is there, so that one that \
    vanished without a word is found out; a table has `interval` and `count`, too";
pub(super) const USER_TIMEOUT_ABOUT: &str = "how long bytes that were sent may go without an acknowledgement, or a peer's full buffer \
    without room, until the connection fails (`TCP_USER_TIMEOUT`). With it, `count` of `keepalive` says nothing";
pub(super) const NOTSENT_LOWAT_ABOUT: &str = "how many bytes may wait in the kernel before they are sent (`TCP_NOTSENT_LOWAT`): less \
    memory for slow peers, and more turns for fast ones";
pub(super) const RECEIVE_BUFFER_ABOUT: &str = "the kernel's buffer for what comes (`SO_RCVBUF`), which it then doesn't fit to the \
    connection any more. Above `net.core.rmem_max` it needs CAP_NET_ADMIN";
pub(super) const SEND_BUFFER_ABOUT: &str = "the kernel's buffer for what goes (`SO_SNDBUF`), likewise. Above `net.core.wmem_max` it \
    needs CAP_NET_ADMIN";
pub(super) const CONGESTION_ABOUT: &str = "the congestion control (`TCP_CONGESTION`), one of \
    `net.ipv4.tcp_available_congestion_control`";
pub(super) const MARK_ABOUT: &str = "the mark of packets, by which `ip rule` and the firewall know them (`SO_MARK`); needs \
    CAP_NET_ADMIN";
pub(super) const DSCP_ABOUT: &str = "the class of service of packets (`IP_TOS`, `IPV6_TCLASS`)";

const fn keepalive(path: &'static str) -> Table {
    Table {
        path,
        about: "When silent peers are asked whether they are there.",
        keys: KEEPALIVE_KEYS,
    }
}

const KEEPALIVE_KEYS: &[Key] = &[
    Key::optional(
        "idle",
        Kind::Seconds { max: Seconds::MAX },
        "`net.ipv4.tcp_keepalive_time`",
        "after how long a silence the first time",
    ),
    Key::optional(
        "interval",
        Kind::Seconds { max: Seconds::MAX },
        "`net.ipv4.tcp_keepalive_intvl`",
        "how long after each time without an answer the next one comes",
    ),
    Key::optional(
        "count",
        Kind::Integer { min: 1, max: 127 },
        "`net.ipv4.tcp_keepalive_probes`",
        "how many times without an answer there are until the connection fails",
    ),
];

static LISTENER_KEEPALIVE: Table = keepalive("listeners.NAME.keepalive");

static UPSTREAM_KEEPALIVE: Table = keepalive("upstreams.NAME.keepalive");
