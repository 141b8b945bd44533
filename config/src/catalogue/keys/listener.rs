//! `[listeners.NAME]`.

use std::time::Duration;

use super::super::key::{Absent, Key, Kind, Syntax, Table};
use super::route::ROUTE;
use super::socket::{
    BUFFER, CONGESTION, CONGESTION_ABOUT, DSCP_ABOUT, INTERFACE, KEEPALIVE_ABOUT,
    LISTENER_KEEPALIVE_KIND, MARK, MARK_ABOUT, NOTSENT_LOWAT_ABOUT, RECEIVE_BUFFER_ABOUT,
    SEND_BUFFER_ABOUT, SYSTEM, USER_TIMEOUT, USER_TIMEOUT_ABOUT,
};
use super::values::{HOUR, TIME, UPSTREAM_NAME, networks};
use crate::raw::read::INTEGER_MAX;
use crate::sections::admission::{
    ACCESS_ENTRIES_MAX, BANDWIDTH_MAX, BANDWIDTH_MIN, OverLimit, RATE_MAX,
};
use crate::sections::listener::BINDS_MAX;
use crate::sections::proxy_protocol::{Expected, TRUSTED_MAX, Untrusted};
use crate::sections::route::{NotTls, ROUTES_MAX, Starttls};
use crate::values::duration::DURATION_MAX;

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
                        "fd:web",
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
                        "fd:",
                        "fd:we b",
                    ],
                    pattern: "^(unix:/.*[^/]|fd:[A-Za-z0-9._@-]{1,255}|.+:[0-9]+(-[0-9]+)?)$",
                },
                max: BINDS_MAX,
            },
            "write where to listen, as in bind = \"127.0.0.1:7000\"",
            "where to listen. `\"0.0.0.0:80\"` is every IPv4 address; `\"[::]:80\"` every IPv6 one and no IPv4 one, whatever \
             `net.ipv6.bindv6only` says; `\"*:80\"` both on one socket, with IPv4 clients shown as IPv4; `\"unix:/path\"` a \
             unix socket. Port 0 lets the kernel choose; `\"[::]:8000-8010\"` is each port of a range. `\"fd:web\"` is what systemd listens on \
             for a socket unit with `FileDescriptorName=web`. No two may overlap, \
             unless their listeners have different `interface`s",
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
                example: "{ sni = \"a\", reject = true }",
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
             `prologue_timeout` if they say nothing; a route by `source` or `port` alone that comes first is taken at once. \
             `\"refuse\"`: they are refused",
        ),
        Key::optional(
            "starttls",
            Kind::Choice(Starttls::NAMES),
            "TLS comes first",
            "a protocol that begins in the clear: `\"postgres\"` (SSLRequest; direct TLS works, too), `\"smtp\"` or `\"imap\"` \
             (STARTTLS). The proxy answers the client, hears the name that it asks for, and speaks the same with the \
             server before that gets the ClientHello; a server that takes no TLS is a failed connect, and the next one is asked \
             (`starttls_timeout`). Clients of mail that \
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
            "who may not connect, as in `allow`: they are closed as soon as they are accepted, and counted. Where a header of \
             the PROXY protocol announces a client, both lists go by that client, and it is closed after its header",
        )
        .advising(CLIENTS_ADVICE),
        Key::optional(
            "allow_peer",
            Kind::TextOrTexts {
                of: CLIENTS,
                max: ACCESS_ENTRIES_MAX,
            },
            "everybody, but who is in `deny_peer`",
            "who may connect by the address that the connection really comes from, whichever client a header of the PROXY \
             protocol announces: as `allow`, which goes by the announced one. It is decided at the accept, before a byte is \
             read",
        )
        .advising(CLIENTS_ADVICE),
        Key::optional(
            "deny_peer",
            Kind::TextOrTexts {
                of: CLIENTS,
                max: ACCESS_ENTRIES_MAX,
            },
            "nobody",
            "who may not, as in `allow_peer`",
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
                of: networks("networks or addresses"),
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
             address of IPv4, or a network of IPv6 (`source_prefix`); clients of unix sockets have none. Where a header of the \
             PROXY protocol announces a client, that one's address counts, and not its peer's; see `max_headers_per_peer`. \
             Connections that began while there was no such limit are not counted",
        ),
        Key::optional(
            "max_headers_per_peer",
            Kind::Integer {
                min: 1,
                max: u32::MAX as u64,
            },
            "`max_connections_per_source` for each peer that `trusted` doesn't name; no limit for those that it names",
            "connections of one peer of which the PROXY header is still to come, so that nobody fills the listener with half \
             headers; more are refused as `over_limit` says. It is counted by the real address, as by `source_prefix`, and no \
             longer once the header is there: who is announced counts from then on",
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
             theirs in turn, by 1 KiB to 256 KiB; what is heard of a client before it has a server waits as well. After a silence a tenth of a second's bytes go at once, and a worker may have \
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
             room. At a stop, those who wait get the places that become free, and are reset when none has for a second. Only the \
             limits of the listener and of the process are waited for; who is denied or beyond a limit of its \
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
             reset 5 s later, and one that has no server yet at once. [Inside](inside.md#times) says how each time ends a connection, and what HAProxy and nginx call it",
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
