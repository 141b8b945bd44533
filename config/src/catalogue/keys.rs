//! The keys.

use std::time::Duration;

use super::key::{Absent, Key, Kind, Syntax, Table};
use crate::config::{LISTENERS_MAX, UPSTREAMS_MAX};
use crate::files::include::INCLUDES_MAX;
use crate::raw::read::INTEGER_MAX;
use crate::sections::access_log::FormatName;
use crate::sections::admin::ADMIN_HOSTS_MAX;
use crate::sections::admission::{
    ACCESS_ENTRIES_MAX, BANDWIDTH_MAX, BANDWIDTH_MIN, OverLimit, RATE_MAX,
};
use crate::sections::listener::BINDS_MAX;
use crate::sections::proxy_protocol::{Expected, ProxyTlv, ProxyVersion, TRUSTED_MAX, Untrusted};
use crate::sections::route::{
    NotTls, ROUTE_NAMES_MAX, ROUTE_UPSTREAMS_MAX, ROUTE_VALUES_MAX, ROUTE_WEIGHT_MAX, ROUTES_MAX,
    Starttls,
};
use crate::sections::runtime::{OnSwitch, Placement, Scheduler, TokioMode};
use crate::sections::upstream::{Balance, OnRemoved, SERVERS_MAX};
use crate::values::duration::DURATION_MAX;
use crate::values::seconds::Seconds;

/// A time that ends connections, if there is one.
const TIME: Kind = Kind::DurationOrOff {
    min: Duration::from_millis(1),
    max: DURATION_MAX,
};

/// A bound on a kernel's buffer. The kernel's own limits are lower.
const BUFFER: Kind = Kind::Size {
    min: 4 << 10,
    max: 1 << 30,
};

const USER_TIMEOUT: Kind = Kind::Duration {
    min: Duration::from_millis(1),
    max: Duration::from_secs(24 * 60 * 60),
};

const MARK: Kind = Kind::Integer {
    min: 1,
    max: u32::MAX as u64,
};

const CONGESTION: Kind = Kind::Text(Syntax {
    what: "name",
    accepted: &["cubic", "bbr", "reno"],
    refused: &["", "a b", "0123456789abcdef"],
    pattern: "^[A-Za-z0-9_-]{1,15}$",
});

const INTERFACE: Kind = Kind::Text(Syntax {
    what: "name",
    accepted: &["eth1", "lo", "vrf-blue", "eth0.100"],
    refused: &["", "eth 1", "a/b", "0123456789abcdef"],
    pattern: "^[!-.0-9;-~]{1,15}$",
});

const LISTENER_KEEPALIVE_KIND: Kind = Kind::SecondsOrOffOrTable {
    max: Seconds::MAX,
    table: &LISTENER_KEEPALIVE,
};

const UPSTREAM_KEEPALIVE_KIND: Kind = Kind::SecondsOrOffOrTable {
    max: Seconds::MAX,
    table: &UPSTREAM_KEEPALIVE,
};

/// What it means that an option isn't written.
const SYSTEM: &str = "as the system has it";

const KEEPALIVE_ABOUT: &str = "after how long a silence the kernel asks the peer whether it is there, so that one that \
    vanished without a word is found out; a table has `interval` and `count`, too";
const USER_TIMEOUT_ABOUT: &str = "how long bytes that were sent may go without an acknowledgement, or a peer's full buffer \
    without room, until the connection fails (`TCP_USER_TIMEOUT`). With it, `count` of `keepalive` says nothing";
const NOTSENT_LOWAT_ABOUT: &str = "how many bytes may wait in the kernel before they are sent (`TCP_NOTSENT_LOWAT`): less \
    memory for slow peers, and more turns for fast ones";
const RECEIVE_BUFFER_ABOUT: &str = "the kernel's buffer for what comes (`SO_RCVBUF`), which it then doesn't fit to the \
    connection any more. Above `net.core.rmem_max` it needs CAP_NET_ADMIN";
const SEND_BUFFER_ABOUT: &str = "the kernel's buffer for what goes (`SO_SNDBUF`), likewise. Above `net.core.wmem_max` it \
    needs CAP_NET_ADMIN";
const CONGESTION_ABOUT: &str = "the congestion control (`TCP_CONGESTION`), one of \
    `net.ipv4.tcp_available_congestion_control`";
const MARK_ABOUT: &str = "the mark of packets, by which `ip rule` and the firewall know them (`SO_MARK`); needs \
    CAP_NET_ADMIN";
const DSCP_ABOUT: &str = "the class of service of packets (`IP_TOS`, `IPV6_TCLASS`)";

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

const HOUR: Duration = Duration::from_secs(60 * 60);

pub(crate) static ROOT: Table = Table {
    path: "",
    about: "The file as a whole.",
    keys: &[
        Key::optional(
            "include",
            Kind::Texts {
                of: Syntax {
                    what: "paths",
                    accepted: &["conf.d/*.toml", "/etc/corelane/site.toml"],
                    refused: &["", "conf.d/", "conf.d/**/*.toml"],
                    pattern: "^.*[^/]$",
                },
                max: INCLUDES_MAX,
            },
            "one file",
            "more files of the configuration, relative to the file that includes them",
        )
        .advising("write files, as in include = [\"conf.d/*.toml\"]"),
        Key::table("runtime", &RUNTIME),
        Key::table("admin", &ADMIN),
        Key {
            absent: Absent::Means("no access log"),
            ..Key::table("access_log", &ACCESS_LOG)
        },
        Key::required(
            "listeners",
            Kind::Named {
                table: &LISTENER,
                max: LISTENERS_MAX,
            },
            "add a table [listeners.NAME] with bind = \"127.0.0.1:7000\" and upstream = \"NAME\"",
            LISTENER.about,
        ),
        Key::required(
            "upstreams",
            Kind::Named {
                table: &UPSTREAM,
                max: UPSTREAMS_MAX,
            },
            "add a table [upstreams.NAME] with servers = [\"HOST:PORT\"]",
            UPSTREAM.about,
        ),
    ],
};

pub(crate) static RUNTIME: Table = Table {
    path: "runtime",
    about: "The scheduler and its workers.",
    keys: &[
        Key::new(
            "scheduler",
            Kind::Choice(Scheduler::NAMES),
            "\"auto\"",
            "who runs the connections: `\"glommio\"` (one pinned executor a core, io_uring), `\"tokio\"`, or `\"auto\"`: \
             glommio where io_uring works, else tokio, and the log says why",
        ),
        Key::new(
            "cores",
            Kind::Cores,
            "\"all\"",
            "workers, one a core: `\"all\"` the CPUs that the process may use, a number, or a list of CPUs such as \
             `\"0-3,8\"`",
        ),
        Key::new("pin", Kind::Boolean, "true", "each worker stays on its CPU"),
        Key::new(
            "drain_timeout",
            Kind::Duration {
                min: Duration::ZERO,
                max: DURATION_MAX,
            },
            "\"30s\"",
            "how long connections may go on after SIGTERM, those in the backlogs included. Those that are left then are \
             reset, and the log says how many; `\"0s\"` resets all at once",
        ),
        Key::new(
            "on_switch",
            Kind::Choice(OnSwitch::NAMES),
            "\"move\"",
            "what happens to the established connections when a reload changes `scheduler`, `mode`, `cores` or `pin`: \
             `\"move\"` hands them to the new workers, `\"drain\"` lets them finish on the old ones, for `drain_timeout` \
             at most",
        ),
        Key::optional(
            "max_connections",
            Kind::Integer {
                min: 1,
                max: INTEGER_MAX,
            },
            "what the descriptors allow",
            "connections of all listeners at a time; what happens to more is what their listener's `over_limit` says",
        ),
        Key::new(
            "watch",
            Kind::Boolean,
            "false",
            "reload, as SIGHUP does, when a file of the configuration is replaced, written, or found by a pattern of `include`. \
             Renames and Kubernetes' swapped links are noticed; what another machine changes on a network file system is \
             not. Rename a file into place: one that is written slowly may be read in halves",
        ),
        Key::table("glommio", &GLOMMIO),
        Key::table("tokio", &TOKIO),
    ],
};

static GLOMMIO: Table = Table {
    path: "runtime.glommio",
    about: "What only Glommio uses.",
    keys: &[
        Key::new(
            "ring_depth",
            Kind::PowerOfTwo {
                min: 64,
                max: 32_768,
            },
            "1024",
            "requests that a core's ring takes before it must submit them",
        ),
        Key::new(
            "preempt_timer",
            Kind::Duration {
                min: Duration::from_micros(100),
                max: Duration::from_millis(100),
            },
            "\"1ms\"",
            "how long one listener runs while others of the core wait",
        ),
        Key::new(
            "placement",
            Kind::Choice(Placement::NAMES),
            "\"reuseport\"",
            "which core gets a new connection: `\"reuseport\"` (the kernel's hash), `\"least-loaded\"`, `\"round-robin\"`, \
             or `\"incoming-cpu\"` (the CPU on which the client's packets come in; Linux 6.2)",
        ),
        Key::table("rebalance", &REBALANCE),
    ],
};

static REBALANCE: Table = Table {
    path: "runtime.glommio.rebalance",
    about: "Live connections that move off a hot core.",
    keys: &[
        Key::new("enabled", Kind::Boolean, "true", "connections move"),
        Key::new(
            "interval",
            Kind::Duration {
                min: Duration::from_millis(50),
                max: Duration::from_secs(60),
            },
            "\"500ms\"",
            "how often a core compares itself with the others",
        ),
        Key::new(
            "threshold",
            Kind::Number {
                min: 0.05,
                max: 10.0,
            },
            "0.25",
            "how much busier than the mean a core must be, as a part of the mean (its λ)",
        ),
        Key::new(
            "max_moves",
            Kind::Integer { min: 1, max: 1024 },
            "64",
            "connections that a core gives away in an interval, at most",
        ),
    ],
};

static TOKIO: Table = Table {
    path: "runtime.tokio",
    about: "What only Tokio uses.",
    keys: &[Key::new(
        "mode",
        Kind::Choice(TokioMode::NAMES),
        "\"work-stealing\"",
        "`\"work-stealing\"`: one runtime whose idle workers take tasks from busy ones; `\"per-core\"`: one runtime a core, \
         each with listening sockets of its own",
    )],
};

static ADMIN: Table = Table {
    path: "admin",
    about: "Where the proxy is watched and changed.",
    keys: &[
        Key::new(
            "listen",
            Kind::Text(Syntax {
                what: "address",
                accepted: &[
                    "127.0.0.1:9600",
                    "[::1]:9600",
                    "*:9600",
                    "0.0.0.0:0",
                    "[::]:0",
                ],
                refused: &["127.0.0.1", "localhost:9600", "*", "224.0.0.1:9600"],
                pattern: "^.+:[0-9]+$",
            }),
            "\"127.0.0.1:9600\"",
            "where the live page, `/metrics`, `/healthz`, `/readyz`, `/connections`, `/state` and `/config` are. With port \
             0 the kernel chooses one; `\"[::]:9600\"` and `\"*:9600\"` are as for `bind`",
        ),
        Key::optional(
            "hosts",
            Kind::Texts {
                of: Syntax {
                    what: "names",
                    accepted: &["corelane.example", "*"],
                    refused: &["corelane.example:9600", "http://corelane.example", ""],
                    pattern: "",
                },
                max: ADMIN_HOSTS_MAX,
            },
            "no more names",
            "more names by which people and programs ask the admin server, besides IP addresses, names without a dot and \
             the machine's own; `\"*\"` is every name",
        )
        .advising("write names, as in hosts = [\"corelane.example\"]"),
        Key::optional(
            "socket",
            Kind::Text(Syntax {
                what: "absolute path",
                accepted: &["/run/corelane/admin.sock"],
                refused: &["admin.sock", "/run/corelane/", ""],
                pattern: "^/.*[^/]$",
            }),
            "no such socket",
            "a unix socket for what changes the proxy (`corelane reload`). The caller must be root, the proxy's own user, or in \
             the socket's group",
        ),
        Key::new(
            "socket_mode",
            Kind::Text(Syntax {
                what: "octal mode",
                accepted: &["0600", "0660", "660", "0777"],
                refused: &["0888", "66", "01777", "rw", ""],
                pattern: "^0?[0-7]{3}$",
            }),
            "\"0660\"",
            "the mode of the file of `socket`",
        ),
        Key::optional(
            "socket_group",
            Kind::Text(Syntax {
                what: "group",
                accepted: &["adm", "corelane-admin", "1000"],
                refused: &["", "a b", "-a", "4294967295"],
                pattern: "^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
            }),
            "the process's own group",
            "the group of the file of `socket`, by its name or number",
        ),
    ],
};

pub(crate) static ACCESS_LOG: Table = Table {
    path: "access_log",
    about: "A line for each connection that has ended; see [access-log.md](access-log.md).",
    keys: &[
        Key::required(
            "path",
            Kind::Text(Syntax {
                what: "`\"stdout\"` or absolute path",
                accepted: &["stdout", "/var/log/corelane/access.log"],
                refused: &["access.log", "/var/log/", "stderr"],
                pattern: "^(stdout|/.*[^/])$",
            }),
            "write where the lines go, as in path = \"/var/log/corelane/access.log\" or path = \"stdout\"",
            "where the lines go. A file is appended to, and made if it doesn't exist",
        ),
        Key::new(
            "format",
            Kind::Choice(FormatName::NAMES),
            "\"text\"",
            "`\"text\"` by the `template`, or `\"json\"`: an object with every field",
        ),
        Key::new(
            "template",
            Kind::Text(Syntax {
                what: "text with fields",
                accepted: &["{time} {client} {server} {end}", "plain", "{{{client}}}"],
                refused: &["", "{clinet}", "{client", "a\nb"],
                pattern: "^.+$",
            }),
            "\"{time} {client} {listener} {server} {bytes_in} {bytes_out} {wait} {connect} {total} {retries} {core} {end}\"",
            "what a line of text is made of",
        ),
        Key::new(
            "queue",
            Kind::Integer {
                min: 1,
                max: 1 << 20,
            },
            "8192",
            "lines that may wait to be written, some 200 bytes of memory each; more are dropped and counted, and no \
             connection waits",
        ),
    ],
};

pub(crate) static LISTENER: Table = Table {
    path: "listeners.NAME",
    about: "Where connections are accepted, and what each may cost.",
    keys: &[
        Key::required(
            "bind",
            Kind::TextOrTexts {
                of: Syntax {
                    what: "address",
                    accepted: &[
                        "127.0.0.1:7000",
                        "0.0.0.0:7001",
                        "[::]:7002",
                        "*:7003",
                        "127.0.0.1:8000-8010",
                        "unix:/run/corelane/web.sock",
                    ],
                    refused: &[
                        "127.0.0.1:8010-8000",
                        "127.0.0.1:0-10",
                        "127.0.0.1:1-1025",
                        "localhost:7000",
                        "127.0.0.1",
                        "unix:web.sock",
                        "224.0.0.1:7000",
                        "255.255.255.255:7000",
                    ],
                    pattern: "^(unix:/.*[^/]|.+:[0-9]+(-[0-9]+)?)$",
                },
                max: BINDS_MAX,
            },
            "write where to listen, as in bind = \"127.0.0.1:7000\"",
            "where to listen. `\"0.0.0.0:80\"` is every IPv4 address; `\"[::]:80\"` every IPv6 one and no IPv4 one, whatever \
             `net.ipv6.bindv6only` says; `\"*:80\"` both on one socket, with IPv4 clients shown as IPv4; `\"unix:/path\"` a \
             unix socket. Port 0 lets the kernel choose; `\"[::]:8000-8010\"` is each port of a range. No two may overlap",
        ),
        Key {
            absent: Absent::Means("required without routes; with routes, who takes none is refused"),
            ..Key::required(
                "upstream",
                UPSTREAM_NAME,
                "write where connections go, as in upstream = \"NAME\" for [upstreams.NAME]",
                "the name of the upstream; with `routes`, the one for connections that no route takes",
            )
        },
        Key::optional(
            "routes",
            Kind::Tables {
                table: &ROUTE,
                max: ROUTES_MAX,
            },
            "all connections go to `upstream`",
            "where connections go by what is known of them: `[[listeners.NAME.routes]]`, of which the first one that suits \
             takes a connection. Where one asks for `sni` or `alpn`, the client's ClientHello is heard first, up to 64 KiB \
             of it and no longer than `prologue_timeout`; TLS is not ended, and the server gets every byte. Names are \
             looked up, so thousands cost no more than one; routes without `sni` are looked at one by one",
        )
        .advising("write tables, as in [[listeners.NAME.routes]] with sni = \"a.example\" and upstream = \"a\""),
        Key::new(
            "not_tls",
            Kind::Choice(NotTls::NAMES),
            "\"accept\"",
            "clients that speak no TLS where a route asks for `sni` or `alpn`, or where `starttls` is written. `\"accept\"`: \
             they take a route that asks for neither, or none, at once if they say something else, and after \
             `prologue_timeout` if they say nothing. `\"refuse\"`: they are refused",
        ),
        Key::optional(
            "starttls",
            Kind::Choice(Starttls::NAMES),
            "TLS comes first",
            "a protocol that begins in the clear: `\"postgres\"` (SSLRequest; direct TLS works, too), `\"smtp\"` or `\"imap\"` \
             (STARTTLS). The proxy answers the client, hears the name that it asks for, and speaks the same with the \
             server before that gets the ClientHello; a server that takes no TLS ends the connection. Clients of mail that \
             don't ask for TLS are refused; PostgreSQL's are as `not_tls` says",
        ),
        Key::optional(
            "allow",
            Kind::TextOrTexts {
                of: CLIENTS,
                max: ACCESS_ENTRIES_MAX,
            },
            "everybody, but who is in `deny`",
            "who may connect: networks (`\"10.0.0.0/8\"`, `\"2001:db8::/32\"`), addresses, `\"unix\"` (clients of unix \
             sockets), and files that list them (`\"file:/etc/corelane/allow.txt\"`). Where it is written, who is in \
             neither list is denied. Of several entries the one with the longest prefix decides, and `deny` where both have \
             it. A file has an entry a line and comments after `#`, 1,048,576 entries and 48 MiB at most; when it is replaced \
             or written, the new list is in force for the next connection, and one that can't be read leaves the last good \
             list in force. Connections that are open stay",
        )
        .advising(CLIENTS_ADVICE),
        Key::optional(
            "deny",
            Kind::TextOrTexts {
                of: CLIENTS,
                max: ACCESS_ENTRIES_MAX,
            },
            "nobody",
            "who may not connect, as in `allow`: they are closed as soon as they are accepted, and counted",
        )
        .advising(CLIENTS_ADVICE),
        Key::new(
            "accept_proxy_protocol",
            Kind::ChoiceOrBoolean(Expected::NAMES),
            "false",
            "whether those who connect announce clients by a header of the PROXY protocol, version 1 or 2, as HAProxy's \
             `send-proxy` does. `\"required\"`, or `true`: who sends none is refused. `\"optional\"`: who sends none is a client \
             itself, at once if it says something else, and after `prologue_timeout` if it says nothing. Who opens and \
             closes without a byte is a check of a balancer, and no server hears of it",
        ),
        Key::optional(
            "trusted",
            Kind::Texts {
                of: Syntax {
                    what: "networks or addresses",
                    accepted: &["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"],
                    refused: &["10.0.0.1/8", "10.0.0.0/33", "localhost", ""],
                    pattern: "^[0-9a-fA-F.:]+(/[0-9]+)?$",
                },
                max: TRUSTED_MAX,
            },
            "everyone",
            "who may send a header: the addresses of the balancers in front. Who comes by a unix socket may",
        )
        .advising("write networks, as in trusted = [\"10.0.0.0/8\"]"),
        Key::optional(
            "untrusted",
            Kind::Choice(Untrusted::NAMES),
            "`\"refuse\"` where a header is required, `\"plain\"` where it is optional",
            "what happens to those who are not `trusted`: they are closed at once, or they are clients themselves, and what \
             they send is not looked at",
        ),
        Key::new(
            "prologue_timeout",
            Kind::Duration {
                min: Duration::from_millis(1),
                max: HOUR,
            },
            "\"5s\"",
            "how long a client may take, from the accept, to say what is heard before a server is looked for, such as a header \
             of the PROXY protocol. Where nothing is heard, it means nothing",
        ),
        Key::new(
            "shares",
            Kind::Integer { min: 1, max: 1000 },
            "1000",
            "CPU shares on each core, against the other listeners. Under tokio: how much a turn forwards, against the \
             listener with the most",
        ),
        Key::optional(
            "latency",
            Kind::Duration {
                min: Duration::from_micros(10),
                max: Duration::from_millis(100),
            },
            "throughput matters more",
            "how soon a connection that is ready should run. A turn of any listener's bulk then forwards only what takes \
             about that time (64 KiB for 10 µs, 256 KiB from 40 µs on), which costs the bulk more CPU. Under glommio no \
             listener of the core runs for much longer at a time, either",
        ),
        Key::optional(
            "max_connections",
            Kind::Integer {
                min: 1,
                max: INTEGER_MAX,
            },
            "no limit",
            "connections at a time; more are refused as `over_limit` says, and counted. Each takes two file descriptors, and a start warns \
             where they can't fit. When descriptors run out, new clients wait, and the admin server goes on",
        ),
        Key::optional(
            "max_connections_per_source",
            Kind::Integer {
                min: 1,
                max: u32::MAX as u64,
            },
            "no limit",
            "connections of one source at a time, counted over all workers; more are refused as `over_limit` says. A source is an \
             address of IPv4, or a network of IPv6 (`source_prefix`); clients of unix sockets have none. Connections that began \
             while there was no such limit are not counted",
        ),
        Key::new(
            "source_prefix",
            Kind::Integer { min: 1, max: 128 },
            "64",
            "how many bits of an address of IPv6 make a source: 64 is a network, within which a client may choose its address",
        ),
        Key::optional(
            "max_rate",
            Kind::Integer {
                min: 1,
                max: RATE_MAX,
            },
            "no limit",
            "new connections a second, over all workers; more are refused as `over_limit` says. In any time no more begin than \
             the rate allows for it and one `burst`",
        ),
        Key::optional(
            "burst",
            Kind::Integer {
                min: 1,
                max: RATE_MAX,
            },
            "as many as `max_rate` allows in a second",
            "how many of the connections of `max_rate` may begin at once, after a time with fewer",
        ),
        Key::optional(
            "max_rate_per_source",
            Kind::Integer {
                min: 1,
                max: RATE_MAX,
            },
            "no limit",
            "new connections of one source a second, as for `max_connections_per_source`. Of a listener 65,536 sources are \
             remembered (some 8 MB); under a flood of more, those are forgotten that have used least of what they may. A reload \
             that changes a rate begins with a full burst",
        ),
        Key::optional(
            "burst_per_source",
            Kind::Integer {
                min: 1,
                max: RATE_MAX,
            },
            "`burst`, or as many as `max_rate_per_source` allows in a second",
            "how many of the connections of `max_rate_per_source` may begin at once",
        ),
        Key::optional(
            "bandwidth",
            BANDWIDTH,
            "no limit",
            "bytes a second that all connections forward together, each way: so many from clients, and as many to clients. They \
             are paced and nothing is dropped: a connection that must wait isn't read from, and its sender stops. Connections get \
             theirs in turn, by 1 KiB to 256 KiB. After a silence a tenth of a second's bytes go at once, and a worker may have \
             one turn's left over. A reload changes it for open connections, too",
        ),
        Key::optional(
            "bandwidth_per_connection",
            BANDWIDTH,
            "no limit",
            "bytes a second of each connection, each way",
        ),
        Key::new(
            "over_limit",
            Kind::Choice(OverLimit::NAMES),
            "\"close\"",
            "what happens to a client that is denied or beyond a limit: `\"close\"` accepts and closes it, `\"reset\"` accepts \
             and resets it, which leaves nothing behind in the kernel, and `\"wait\"` leaves it in the backlog until there is \
             room. Only the limits of the listener and of the process are waited for; who is denied or beyond a limit of its \
             source is closed then, as others would wait behind it",
        ),
        Key::new(
            "idle_timeout",
            Kind::DurationOrOff {
                min: Duration::from_millis(1),
                max: DURATION_MAX,
            },
            "\"1h\"",
            "how long both sides may be silent; `\"off\"`: for ever",
        ),
        Key::new(
            "client_idle_timeout",
            TIME,
            "\"off\"",
            "how long the client may say nothing, whatever the server does: a long download is a silent client. It isn't silent \
             while the server doesn't take what it said, or once its stream has ended",
        ),
        Key::new(
            "server_idle_timeout",
            TIME,
            "\"off\"",
            "the same of the server. It begins with the server's last byte, and not with the client's question",
        ),
        Key::new(
            "half_closed_timeout",
            TIME,
            "\"off\"",
            "how long a connection goes on after one side has ended its stream, whether or not bytes come from the other one",
        ),
        Key::new(
            "max_lifetime",
            TIME,
            "\"off\"",
            "how long a connection may last, from its accept. Then it is closed in its first pause of 1 s; one that has none is \
             reset 5 s later. [Inside](inside.md#times) says how each time ends a connection, and what HAProxy and nginx call it",
        ),
        Key::new(
            "lifetime_jitter",
            Kind::Percent { max: 50 },
            "\"10%\"",
            "connections last for `max_lifetime` less a part of their own, which is at most this: those that begin together \
             don't end together",
        ),
        Key {
            absent: Absent::Means("on, at the system's times"),
            ..Key::new("keepalive", LISTENER_KEEPALIVE_KIND, "", KEEPALIVE_ABOUT)
        },
        Key::optional("user_timeout", USER_TIMEOUT, SYSTEM, USER_TIMEOUT_ABOUT),
        Key::optional(
            "fast_open",
            Kind::Integer {
                min: 1,
                max: u16::MAX as u64,
            },
            "no fast open",
            "clients that may send their first bytes along with the SYN and wait to be accepted (TCP Fast Open). Needs \
             `net.ipv4.tcp_fastopen` with 2 in it. Such bytes may come twice, so the protocol must bear that. Listeners only: \
             to a server the connect would seem to work before it has answered, and no other one would be tried",
        ),
        Key::optional(
            "defer_accept",
            Kind::Seconds { max: 3600 },
            "accepted at once",
            "how long the kernel keeps a client until its first bytes come; after about that time it is accepted without. Not \
             for protocols in which the server speaks first (SMTP, MySQL): their clients wait for all of it",
        ),
        Key::optional("notsent_lowat", BUFFER, SYSTEM, NOTSENT_LOWAT_ABOUT),
        Key::optional("receive_buffer", BUFFER, SYSTEM, RECEIVE_BUFFER_ABOUT),
        Key::optional("send_buffer", BUFFER, SYSTEM, SEND_BUFFER_ABOUT),
        Key::optional("congestion", CONGESTION, SYSTEM, CONGESTION_ABOUT),
        Key::optional("mark", MARK, "none", MARK_ABOUT),
        Key::optional("dscp", Kind::Dscp, SYSTEM, DSCP_ABOUT),
        Key::optional(
            "interface",
            INTERFACE,
            "every interface",
            "the interface by which clients come, such as `\"eth1\"` or a VRF (`SO_BINDTODEVICE`). Others are refused",
        ),
        Key::new(
            "transparent",
            Kind::Boolean,
            "false",
            "take connections to addresses that aren't this machine's, which a TPROXY rule of the firewall sends here \
             (`IP_TRANSPARENT`); needs CAP_NET_ADMIN or CAP_NET_RAW. They go to the upstream, not to that address",
        ),
        Key::new(
            "backlog",
            Kind::Integer {
                min: 1,
                max: u16::MAX as u64,
            },
            "4096",
            "connections that the kernel keeps for each socket until they are accepted, up to `net.core.somaxconn`",
        ),
        Key::new(
            "splice",
            Kind::Boolean,
            "true",
            "a direction that proves bulk goes through a pipe, uncopied",
        ),
    ],
};

const BANDWIDTH: Kind = Kind::Size {
    min: BANDWIDTH_MIN,
    max: BANDWIDTH_MAX,
};

const CLIENTS: Syntax = Syntax {
    what: "network, address, `\"unix\"` or file",
    accepted: &[
        "10.0.0.0/8",
        "192.0.2.7",
        "2001:db8::/32",
        "unix",
        "file:/etc/corelane/deny.txt",
    ],
    refused: &[
        "10.0.0.1/8",
        "10.0.0.0/33",
        "localhost",
        "file:deny.txt",
        "",
    ],
    pattern: "^(unix|file:/.*[^/]|[0-9a-fA-F.:]+(/[0-9]+)?)$",
};
const CLIENTS_ADVICE: &str =
    "write networks, as in [\"10.0.0.0/8\", \"file:/etc/corelane/list.txt\"]";

const UPSTREAM_NAME: Kind = Kind::Text(Syntax {
    what: "name",
    accepted: &["u"],
    refused: &["nobody"],
    pattern: "",
});

static ROUTE: Table = Table {
    path: "listeners.NAME.routes[0]",
    about: "A route, written as `[[listeners.NAME.routes]]`. It suits a connection that has one of what each of `sni`, `alpn`, \
        `source` and `port` asks for. It says `upstream`, `upstreams` or `reject`.",
    keys: &[
        Key::optional(
            "name",
            Kind::Text(Syntax {
                what: "text",
                accepted: &["canary"],
                refused: &["", "a\nb"],
                pattern: "",
            }),
            "its place among the routes, from 1",
            "what it is called in metrics, in the access log and at `/connections`. Routes of one name are counted together",
        ),
        Key::optional(
            "sni",
            Kind::TextOrTexts {
                of: Syntax {
                    what: "server name",
                    accepted: &["a.example.com", "*.b.example.com", "*"],
                    refused: &["", "a.example.com:443", "https://a", "a.*", "*a"],
                    pattern: "",
                },
                max: ROUTE_NAMES_MAX,
            },
            "any, or none",
            "names of which the client asks for one under TLS: `\"a.example.com\"`; `\"*.b.example.com\"`, which is every name \
             below, at any depth, and not `b.example.com` itself; or `\"*\"`, any name. Of a client that encrypts its hello \
             (ECH) it is the outer name",
        )
        .advising("write names, as in sni = [\"a.example.com\"]"),
        Key::optional(
            "alpn",
            Kind::TextOrTexts {
                of: Syntax {
                    what: "protocol",
                    accepted: &["h2", "http/1.1", "postgresql"],
                    refused: &[""],
                    pattern: "",
                },
                max: ROUTE_VALUES_MAX,
            },
            "any, or none",
            "protocols of which the client offers one under TLS",
        )
        .advising("write names of protocols, as in alpn = [\"h2\"]"),
        Key::optional(
            "source",
            Kind::TextOrTexts {
                of: Syntax {
                    what: "network or address",
                    accepted: &["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"],
                    refused: &["10.0.0.1/8", "10.0.0.0/33", "localhost", ""],
                    pattern: "^[0-9a-fA-F.:]+(/[0-9]+)?$",
                },
                max: ROUTE_VALUES_MAX,
            },
            "anywhere",
            "where the client is: the announced one, where its peer announces it by the PROXY protocol",
        )
        .advising("write networks, as in source = [\"10.0.0.0/8\"]"),
        Key::optional(
            "port",
            Kind::Ports {
                max: ROUTE_VALUES_MAX,
            },
            "any",
            "ports of the listener of which the connection has come to one",
        )
        .advising("write ports, as in port = [8001, \"8010-8019\"]"),
        Key::optional(
            "upstream",
            UPSTREAM_NAME,
            "see `upstreams` and `reject`",
            "where the connections go",
        ),
        Key::optional(
            "upstreams",
            Kind::Weights {
                highest: ROUTE_WEIGHT_MAX,
                max: ROUTE_UPSTREAMS_MAX,
            },
            "see `upstream` and `reject`",
            "where they go by weight, as in `{ web = 90, canary = 10 }`: of so many connections in a row as the weights are \
             together, each upstream gets its weight. One with 0 gets none",
        )
        .advising("write names and weights, as in upstreams = { web = 90, canary = 10 }"),
        Key::new("reject", Kind::Boolean, "false", "the connections are refused"),
    ],
};

pub(crate) static UPSTREAM: Table = Table {
    path: "upstreams.NAME",
    about: "Servers that can stand in for each other.",
    keys: &[
        Key::required(
            "servers",
            Kind::TextsOrTables {
                of: SERVER_ADDRESS,
                table: &SERVER,
                max: SERVERS_MAX,
            },
            "write where connections go, as in servers = [\"127.0.0.1:6379\"]",
            "`\"10.0.0.1:80\"`, `\"host:80\"`, `\"unix:/path\"`, `\"builtin:echo\"`, or `{ address = …, weight = … }`. A host's \
             name is one server: connections start with its addresses in turn, and each tries them all. Names are \
             resolved every 30 s",
        ),
        Key::new(
            "balance",
            Kind::Choice(Balance::NAMES),
            "\"round-robin\"",
            "how a connection's server is chosen: each in turn, or the one with the fewest open connections; both by weight",
        ),
        Key::new(
            "connect_timeout",
            Kind::Duration {
                min: Duration::from_millis(1),
                max: HOUR,
            },
            "\"3s\"",
            "how long an attempt to connect may take; then the next address or server is tried",
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
            Kind::Choice(OnRemoved::NAMES),
            "\"keep\"",
            "what happens to the connections of a server that a reload removes: they go on, or are reset",
        ),
        Key {
            absent: Absent::Means("no checks"),
            ..Key::table("health", &HEALTH)
        },
    ],
};

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
            Kind::Integer { min: 1, max: 256 },
            "1",
            "how many connections it gets for each of a server of weight 1",
        ),
    ],
};

pub(crate) static HEALTH: Table = Table {
    path: "upstreams.NAME.health",
    about: "Checks: a connect to each server, closed as soon as it works. Without the section there are none, and a server that \
        can't be connected to is left alone for 3 s while others work; then one connection tries it. A server that is down \
        gets connections only when all others are, or have failed to take the one at hand.",
    keys: &[
        Key::new(
            "interval",
            Kind::Duration {
                min: Duration::from_millis(100),
                max: HOUR,
            },
            "\"2s\"",
            "how often each server is checked",
        ),
        Key::new(
            "timeout",
            // Servers that don't answer take up the checks that may be under way, of all upstreams: not for long.
            Kind::Duration {
                min: Duration::from_millis(1),
                max: Duration::from_secs(10),
            },
            "\"1s\"",
            "how long a check may take. One that takes longer than the interval is followed by the next one at its next turn",
        ),
        Key::new(
            "rise",
            Kind::Integer { min: 1, max: 100 },
            "2",
            "checks in a row that must pass until a server that is down is up",
        ),
        Key::new(
            "fall",
            Kind::Integer { min: 1, max: 100 },
            "3",
            "checks in a row that must fail until a server that is up is down",
        ),
    ],
};
