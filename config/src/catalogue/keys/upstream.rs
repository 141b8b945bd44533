//! `[upstreams.NAME]`, its servers and its checks.

use std::time::Duration;

use super::super::key::{Absent, Key, Kind, Syntax, Table};
use super::agent::AGENT;
use super::discovery::DISCOVERY;
use super::ejection::EJECTION;
use super::health::HEALTH;
use super::socket::{
    BUFFER, CONGESTION, CONGESTION_ABOUT, DSCP_ABOUT, INTERFACE, KEEPALIVE_ABOUT, MARK, MARK_ABOUT,
    NOTSENT_LOWAT_ABOUT, RECEIVE_BUFFER_ABOUT, SEND_BUFFER_ABOUT, SYSTEM, UPSTREAM_KEEPALIVE_KIND,
    USER_TIMEOUT, USER_TIMEOUT_ABOUT,
};
use super::values::HOUR;
use crate::raw::read::INTEGER_MAX;
use crate::sections::balance::{Balance, CompareBy, FALLBACKS_MAX, HashOn, QUEUE_MAX, WhenAllDown};
use crate::sections::proxy_protocol::{ProxyTlv, ProxyVersion};
use crate::sections::upstream::{ConnectionFate, SERVERS_MAX};

pub(crate) static UPSTREAM: Table = Table {
    path: "upstreams.NAME",
    about: "Servers that can stand in for each other.",
    keys: &[
        Key::optional(
            "servers",
            Kind::TextsOrTables {
                of: SERVER_ADDRESS,
                table: &SERVER,
                max: SERVERS_MAX,
            },
            "required, unless there is `discovery`",
            "`\"10.0.0.1:80\"`, `\"host:80\"`, `\"unix:/path\"`, `\"builtin:echo\"`, or a table of the keys below. A host's \
             name is one server: connections start with its addresses in turn, and each tries them all. A name is \
             resolved again when its TTL is over, after 1 s to 5 min",
        )
        .advising("write where connections go, as in servers = [\"127.0.0.1:6379\"]"),
        Key::new(
            "balance",
            Kind::Choice(Balance::NAMES),
            "\"round-robin\"",
            "how a connection's server is chosen: each in turn by weight; the one with the fewest open connections for its weight, \
             counted over all workers; the better one of two that are drawn by weight; the same one for the same client (a Maglev \
             table, see [Inside](inside.md#which-server)); or the first one that is not full, in the order of `servers`",
        ),
        Key {
            absent: Absent::Means("`\"source\"`"),
            ..Key::new(
                "hash_on",
                Kind::Choice(HashOn::NAMES),
                "",
                "what a server is chosen for by `\"source-hash\"`: the client's address, the announced one where there is one; the \
                 address of who has connected; or the server name of TLS, for which ClientHellos are heard. A client without a \
                 name is known by its address, and clients of unix sockets are spread",
            )
        },
        Key {
            absent: Absent::Means("`\"connections\"`"),
            ..Key::new(
                "compare_by",
                Kind::Choice(CompareBy::NAMES),
                "",
                "which of two servers is the better one for `\"random-two\"`: the one with fewer open connections for its weight, \
                 over all workers; or the one whose connects take less time lately, times its connections for its weight. Times are \
                 a mean that rises at once and falls by 1/e in 10 s; a server without one is compared by connections",
            )
        },
        Key::optional(
            "max_connections",
            COUNT,
            "no limit",
            "connections to all servers together at a time, over all workers, connects under way included. A client that finds the \
             upstream or all its servers full waits (`queue`) or is refused (`corelane_listener_rejected_total`, \"servers_full\")",
        ),
        Key::optional(
            "queue",
            Kind::Integer {
                min: 1,
                max: QUEUE_MAX,
            },
            "none waits",
            "clients that wait where the upstream or all servers that are up are full, at a time and over all workers. They are served \
             in the order in which they came, each by the first server that has a place; those beyond are refused \
             (\"servers_full\"). Backups and the `fallback` come before the wait. Over a reload those who wait go by the new \
             servers and limits",
        ),
        Key {
            absent: Absent::Means("`\"5s\"`"),
            ..Key::new(
                "queue_timeout",
                Kind::Duration {
                    min: Duration::from_millis(1),
                    max: HOUR,
                },
                "",
                "how long a client waits for its place; then it is refused (\"queue_timeout\")",
            )
        },
        Key::optional(
            "slow_start",
            Kind::Duration {
                min: Duration::from_millis(1),
                max: HOUR,
            },
            "none",
            "how long the weight of a server grows, from 1/256 of it to all of it, that a reload adds or that is up again. Not where \
             it is chosen by a hash or as the first one, and not for those of the start",
        ),
        Key::optional(
            "fallback",
            Kind::Text(Syntax {
                what: "name of another upstream",
                accepted: &[],
                refused: &["nowhere"],
                pattern: "^[A-Za-z0-9_.-]+$",
            }),
            "none",
            FALLBACK_ABOUT,
        ),
        Key {
            absent: Absent::Means("`\"refuse\"` where checks know what a server is, else `\"try\"`"),
            ..Key::new(
                "when_all_down",
                Kind::Choice(WhenAllDown::NAMES),
                "",
                "what becomes of connections while no server is up, here or at the `fallback`: servers that are down are tried all the \
                 same, as it may be the checks that are wrong; or clients are refused (`corelane_listener_rejected_total`, \
                 \"servers_down\")",
            )
        },
        Key::new(
            "connect_timeout",
            Kind::Duration {
                min: Duration::from_millis(1),
                max: HOUR,
            },
            "\"3s\"",
            "how long an attempt to connect may take; then the next address or server is tried",
        ),
        Key::new(
            "starttls_timeout",
            Kind::Duration {
                min: Duration::from_millis(1),
                max: HOUR,
            },
            "\"10s\"",
            "how long a server may take to greet and to take TLS, from the connect, where a listener has `starttls`. One that is \
             silent for so long, refuses or ends is a failed connect: the next one is tried, and the hello goes to the one that \
             agrees. Mail servers that delay their greeting against spam take 6 s and more",
        ),
        Key::optional(
            "retry_budget",
            Kind::Percent { max: 100 },
            "each address of each server is tried once",
            RETRY_BUDGET_ABOUT,
        ),
        Key::optional(
            "send_proxy_protocol",
            Kind::Choice(ProxyVersion::NAMES),
            "no header",
            "the version of the PROXY protocol in which each server is told of the client first, health checks included. What \
             was received in version 2 besides the addresses is passed on in version 2",
        ),
        Key::optional(
            "proxy_tlvs",
            Kind::Texts {
                of: Syntax {
                    what: "of `\"authority\"`, `\"alpn\"`, `\"unique-id\"`, `\"crc32c\"`",
                    accepted: ProxyTlv::NAMES,
                    refused: &["sni", "crc32", ""],
                    pattern: "^(authority|alpn|unique-id|crc32c)$",
                },
                max: 4,
            },
            "what was received",
            "what headers of version 2 say besides, where it was not received already: the server name of TLS, the protocol that \
             the client likes best, an id of the connection whose end is the `{id}` of the access log, and a checksum of the \
             header",
        )
        .advising("write what to add, as in proxy_tlvs = [\"unique-id\"]"),
        Key {
            absent: Absent::Means("on, at the system's times"),
            ..Key::new("keepalive", UPSTREAM_KEEPALIVE_KIND, "", KEEPALIVE_ABOUT)
        },
        Key::optional("user_timeout", USER_TIMEOUT, SYSTEM, USER_TIMEOUT_ABOUT),
        Key::optional("notsent_lowat", BUFFER, SYSTEM, NOTSENT_LOWAT_ABOUT),
        Key::optional("receive_buffer", BUFFER, SYSTEM, RECEIVE_BUFFER_ABOUT),
        Key::optional("send_buffer", BUFFER, SYSTEM, SEND_BUFFER_ABOUT),
        Key::optional("congestion", CONGESTION, SYSTEM, CONGESTION_ABOUT),
        Key::optional("mark", MARK, "none", MARK_ABOUT),
        Key::optional("dscp", Kind::Dscp, SYSTEM, DSCP_ABOUT),
        Key::optional(
            "interface",
            INTERFACE,
            "as the system routes",
            "the interface by which servers are connected to, such as `\"eth1\"` or a VRF (`SO_BINDTODEVICE`)",
        ),
        Key::optional(
            "source_address",
            Kind::Text(Syntax {
                what: "IP address or `\"client\"`",
                accepted: &["10.0.0.9", "2001:db8::9", "client"],
                refused: &["10.0.0.9:80", "eth0", "0.0.0.0", "::", "224.0.0.1", ""],
                pattern: "^(client|[0-9a-fA-F.:]+)$",
            }),
            "as the system chooses",
            "the address from which servers are connected to, one of this machine's; or `\"client\"`: that of the client, or \
             of who it was announced to be, for which see [Inside](inside.md#from-the-clients-address). Servers of the other \
             family can't be connected to",
        ),
        Key::new(
            "on_removed",
            Kind::Choice(ConnectionFate::NAMES),
            "\"keep\"",
            "what happens to the connections of a server that a reload or a source of servers removes: they go on; or are reset; \
             or are closed, both sides in an orderly manner, as soon as nothing is held for a side and none has said anything for \
             a second, and are reset where that doesn't come within five seconds. \
             See [Inside](inside.md#the-fate-of-connections)",
        ),
        Key::new(
            "on_down",
            Kind::Choice(ConnectionFate::NAMES),
            "\"keep\"",
            "the same of a server when its health checks (`health`) or its agent (`agent`) say that it is down. Those whose moment has not come when it \
             is up again go on, and so do those that come after the verdict",
        ),
        Key::new(
            "close_over",
            Kind::DurationOrOff {
                min: Duration::from_millis(1),
                max: HOUR,
            },
            "\"off\"",
            "over which time connections that `on_removed` or `on_down` ends are spread, evenly, so that their clients don't come \
             back at the same moment; `\"off\"`: they end at once",
        ),
        Key {
            absent: Absent::Means("no checks"),
            ..Key::table("health", &HEALTH)
        },
        Key {
            absent: Absent::Means("no agents"),
            ..Key::table("agent", &AGENT)
        },
        Key {
            absent: Absent::Means("nobody is ejected"),
            ..Key::table("ejection", &EJECTION)
        },
        Key {
            absent: Absent::Means("no other servers than those of `servers`"),
            ..Key::table("discovery", &DISCOVERY)
        },
    ],
};

const COUNT: Kind = Kind::Integer {
    min: 1,
    max: INTEGER_MAX,
};

const RETRY_BUDGET_ABOUT: &str = "how many connects there may be beyond the first one of each connection: this part of the connections \
    of the last ten seconds, and ten a second, over all workers. With it a server that takes a connection and ends it at once, before a \
    byte went either way, has failed, and another one takes its place; and servers that have all failed are tried again until \
    `connect_timeout` is over. When it is spent, the connection ends. See [Inside](inside.md#retries)";

const FALLBACK_ABOUT: &str = "the upstream that serves while no server of this one can: they are down, full or of weight 0, or were \
    tried in vain. Its connections are counted there. Fallbacks must not lead in a circle, and there are at most 8 in a row";

const _: () = assert!(FALLBACKS_MAX == 8, "the text says so");

const SERVER_ADDRESS: Syntax = Syntax {
    what: "address",
    accepted: &[
        "10.0.0.1:6379",
        "[::1]:6379",
        "redis.example:6379",
        "unix:/run/redis.sock",
        "builtin:echo",
    ],
    refused: &[
        "10.0.0.1",
        "10.0.0.1:0",
        "http://redis:6379",
        "unix:redis.sock",
        "builtin:ech",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "0.0.0.0:80",
        "[::]:80",
    ],
    pattern: "^(unix:/.*[^/]|builtin:echo|.+:[0-9]+)$",
};

pub(crate) static SERVER: Table = Table {
    path: "upstreams.NAME.servers[0]",
    about: "A server that is more than an address.",
    keys: &[
        Key::required(
            "address",
            Kind::Text(SERVER_ADDRESS),
            "write the server's address, as in address = \"127.0.0.1:6379\"",
            "where to connect to",
        ),
        Key::new(
            "weight",
            Kind::Integer { min: 0, max: 256 },
            "1",
            "how many connections it gets for each of a server of weight 1. With 0 it gets no new ones, and those that it has go on",
        ),
        Key::new(
            "backup",
            Kind::Boolean,
            "false",
            "it gets connections only while none of the others can have one: they are down, full or of weight 0",
        ),
        Key::optional(
            "max_connections",
            COUNT,
            "no limit",
            "its connections at a time, over all workers, connects under way included. While it has so many, it is passed over as one \
             that is down",
        ),
        Key::optional(
            "check_port",
            super::health::PORT,
            "`port` of `[upstreams.NAME.health]`",
            "the port at which its health checks are made, if it is another one than that of its connections",
        ),
    ],
};
