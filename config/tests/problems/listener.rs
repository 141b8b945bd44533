//! What is said of `[listeners]`.

use proxy_config::parse;

use crate::{LISTENER, UPSTREAM, assert_problems, problems};

#[test]
fn clients_of_mail_and_optional_headers_would_wait_for_each_other() {
    let text =
        format!("{LISTENER}accept_proxy_protocol = \"optional\"\nstarttls = \"smtp\"\n{UPSTREAM}");
    assert_eq!(
        problems(&text),
        [
            "5:12: `listeners.l.starttls` is for clients that wait for the proxy's word, and with accept_proxy_protocol = \
             \"optional\" the proxy waits for theirs; write accept_proxy_protocol = \"required\", or leave it out"
        ]
    );
}

#[test]
fn routes() {
    let render = |lines: &str| format!("{LISTENER}[[listeners.l.routes]]\n{lines}\n{UPSTREAM}");
    assert_problems(
        render,
        &[
            (
                "sni = \"a.example\"",
                "4:1: `listeners.l.routes[0]` must say where connections go, once: upstream = \"NAME\", upstreams = { NAME = \
                 90, OTHER = 10 }, or reject = true",
            ),
            (
                "upstream = \"u\"\nreject = true",
                "4:1: `listeners.l.routes[0]` must say where connections go, once: upstream = \"NAME\", upstreams = { NAME = \
                 90, OTHER = 10 }, or reject = true",
            ),
            (
                "sni = \"https://a.example\"\nupstream = \"u\"",
                "5:7: `listeners.l.routes[0].sni` must be a server name such as \"a.example\", \"*.example\" or \"*\", not \
                 \"https://a.example\"; write a name without a port, a scheme or a path",
            ),
            (
                "upstreams = { v = 1 }",
                "5:19: `listeners.l.routes[0].upstreams.v` is of no upstream; add a table [upstreams.NAME] of that name",
            ),
            (
                "port = \"8010-8000\"\nupstream = \"u\"",
                "5:8: `listeners.l.routes[0].port` must be a port from 1 to 65535, or a range of them such as \
                 \"8000-8010\", not \"8010-8000\"",
            ),
        ],
    );
}

#[test]
fn keys() {
    let render = |lines: &str| format!("{LISTENER}{lines}\n{UPSTREAM}");
    assert_problems(
        render,
        &[
            (
                "idle_timout = \"1h\"",
                "4:1: unknown key `idle_timout` in [listeners.l]; did you mean `idle_timeout`?",
            ),
            (
                "shares = 0",
                "4:10: `listeners.l.shares` must be an integer from 1 to 1000, not 0",
            ),
            (
                "shares = 1001",
                "4:10: `listeners.l.shares` must be an integer from 1 to 1000, not 1001",
            ),
            (
                "shares = 0x3e9",
                "4:10: `listeners.l.shares` must be an integer from 1 to 1000, not 0x3e9",
            ),
            (
                "shares = 1.5",
                "4:10: `listeners.l.shares` must be an integer from 1 to 1000, not 1.5",
            ),
            (
                "latency = \"9us\"",
                "4:11: `listeners.l.latency` must be a duration from 10us to 100ms, not \"9us\"",
            ),
            (
                "latency = \"off\"",
                "4:11: `listeners.l.latency` must be a duration from 10us to 100ms, \
                 not \"off\"; write whole numbers with the units d, h, m, s, ms, us or ns, \
                 the largest first, as in \"1h30m\"",
            ),
            (
                "allow = [\"10.0.0.0/8\", \"10.0.0.1/8\"]",
                "4:24: `listeners.l.allow[1]` must be a network such as \"10.0.0.0/8\", an address, \"unix\" or \
                 \"file:/path\", not \"10.0.0.1/8\"; it has bits behind its prefix: did you mean 10.0.0.0/8, or \
                 10.0.0.1 alone?",
            ),
            (
                "deny = \"file:deny.txt\"",
                "4:8: `listeners.l.deny` must be a network such as \"10.0.0.0/8\", an address, \"unix\" or \
                 \"file:/path\", not \"file:deny.txt\"; write an absolute path, as in \"file:/etc/corelane/deny.txt\"",
            ),
            (
                "accept_proxy_protocol = \"maybe\"",
                "4:25: `listeners.l.accept_proxy_protocol` must be \"required\" or \"optional\", true or false, \
                 not \"maybe\"",
            ),
            (
                "trusted = [\"10.0.0.0/8\"]",
                "4:11: `listeners.l.trusted` is for `accept_proxy_protocol`, which is missing; add it, or remove this",
            ),
            (
                "accept_proxy_protocol = true\ntrusted = [\"10.0.0.1/8\"]",
                "5:12: `listeners.l.trusted[0]` must be a network such as \"10.0.0.0/8\", or an address, not \
                 \"10.0.0.1/8\"; it has bits behind its prefix: did you mean 10.0.0.0/8, or 10.0.0.1 alone?",
            ),
            (
                "accept_proxy_protocol = \"optional\"\ntrusted = [\"::1\", \"local\"]",
                "5:19: `listeners.l.trusted[1]` must be a network such as \"10.0.0.0/8\", or an address, not \
                 \"local\"; write a network as in 10.0.0.0/8 or 2001:db8::/32",
            ),
            (
                "bandwidth = \"1023B\"",
                "4:13: `listeners.l.bandwidth` must be a size from 1KiB to 1TiB, not \"1023B\"",
            ),
            (
                "bandwidth = \"1.5MiB\"",
                "4:13: `listeners.l.bandwidth` must be a size from 1KiB to 1TiB, not \"1.5MiB\"; write a whole number with a \
                 unit: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, as in \"100MiB\"",
            ),
            (
                "bandwidth = 1024",
                "4:13: `listeners.l.bandwidth` must be a size from 1KiB to 1TiB, not 1024; a size is a string with a unit, such \
                 as \"1024B\"",
            ),
            (
                "max_connections = 0",
                "4:19: `listeners.l.max_connections` must be an integer of at least 1, not 0",
            ),
            (
                "max_connections = 99999999999999999999",
                "4:19: `listeners.l.max_connections` must be an integer of at least 1, \
                 not 99999999999999999999",
            ),
            (
                "idle_timeout = \"0s\"",
                "4:16: `listeners.l.idle_timeout` must be a duration from 1ms to 365d or \"off\", \
                 not \"0s\"",
            ),
            (
                "idle_timeout = false",
                "4:16: `listeners.l.idle_timeout` must be a duration from 1ms to 365d or \"off\", \
                 not false",
            ),
            (
                "lifetime_jitter = \"51%\"",
                "4:19: `listeners.l.lifetime_jitter` must be a percentage from \"0%\" to \"50%\", not \"51%\"",
            ),
            (
                "keepalive = \"1500ms\"",
                "4:13: `listeners.l.keepalive` must be a duration of whole seconds, \"off\" or a table, not \"1500ms\"",
            ),
            (
                "keepalive = { idle = \"1m\", count = 0 }",
                "4:36: `listeners.l.keepalive.count` must be an integer from 1 to 127, not 0",
            ),
            (
                "dscp = \"cs9\"",
                "4:8: `listeners.l.dscp` must be an integer from 0 to 63 or a name such as \"ef\", \"cs1\" or \
                 \"af11\", not \"cs9\"; did you mean \"cs7\"?",
            ),
            (
                "receive_buffer = 65536",
                "4:18: `listeners.l.receive_buffer` must be a size from 4KiB to 1GiB, not 65536; a size is \
                 a string with a unit, such as \"65536B\"",
            ),
            (
                "interface = \"eth 1\"",
                "4:13: `listeners.l.interface` must be the name of an interface, not \"eth 1\"; `ip link` lists \
                 those of this machine",
            ),
            (
                "source_address = \"client\"",
                "4:1: unknown key `source_address` in [listeners.l]; it belongs in [upstreams.NAME]",
            ),
            (
                "backlog = 65536",
                "4:11: `listeners.l.backlog` must be an integer from 1 to 65535, not 65536",
            ),
            (
                "timeout = \"1h\"",
                "4:1: unknown key `timeout` in [listeners.l]; it belongs in [upstreams.NAME.health] or \
                 [upstreams.NAME.agent], or did you mean `idle_timeout`?",
            ),
            (
                "listen = \"127.0.0.1:1\"",
                "4:1: unknown key `listen` in [listeners.l]; it belongs in [admin]",
            ),
            (
                "\"ä\\n\" = 1",
                "4:1: unknown key `\"ä\\n\"` in [listeners.l]; the keys are bind, upstream, routes, not_tls, starttls, \
                 allow, deny, allow_peer, deny_peer, accept_proxy_protocol, trusted, untrusted, prologue_timeout, shares, latency, max_connections, \
                 max_connections_per_source, max_headers_per_peer, source_prefix, max_rate, burst, max_rate_per_source, burst_per_source, bandwidth, \
                 bandwidth_per_connection, over_limit, \
                 idle_timeout, client_idle_timeout, server_idle_timeout, half_closed_timeout, max_lifetime, \
                 lifetime_jitter, keepalive, user_timeout, fast_open, defer_accept, notsent_lowat, \
                 receive_buffer, send_buffer, congestion, mark, dscp, interface, transparent, backlog, splice",
            ),
        ],
    );
}

#[test]
fn bind() {
    let render = |bind: &str| LISTENER.replace("\"127.0.0.1:1\"", bind) + UPSTREAM;
    let forms =
        "must be \"IP:PORT\", \"[IPV6]:PORT\", \"*:PORT\", \"unix:/PATH\" or \"fd:NAME\", not";
    let an_ip = "a listener has an IP address: \"0.0.0.0:PORT\" is every IPv4 one, \
        \"[::]:PORT\" every IPv6 one, \"*:PORT\" every one of both";
    assert_problems(
        render,
        &[
            (
                "[]",
                "2:8: `listeners.l.bind` is empty; write where to listen, \
                 as in bind = \"127.0.0.1:7000\"",
            ),
            ("80", &format!("2:8: `listeners.l.bind` {forms} 80")),
            (
                "\"localhost:80\"",
                &format!("2:8: `listeners.l.bind` {forms} \"localhost:80\"; {an_ip}"),
            ),
            (
                "[\"[::1]:1\", \":80\"]",
                &format!("2:20: `listeners.l.bind[1]` {forms} \":80\"; {an_ip}"),
            ),
            (
                "\"unix:run\"",
                &format!(
                    "2:8: `listeners.l.bind` {forms} \"unix:run\"; \
                     the path of a socket is absolute and names a file"
                ),
            ),
            (
                "\"[::ffff:10.0.0.1]:80\"",
                &format!(
                    "2:8: `listeners.l.bind` {forms} \"[::ffff:10.0.0.1]:80\"; \
                     write the IPv4 address itself, as in \"10.0.0.1:80\""
                ),
            ),
            (
                "\"[fe80::1]:80\"",
                &format!(
                    "2:8: `listeners.l.bind` {forms} \"[fe80::1]:80\"; a link-local address needs \
                     the number of its interface (`ip link` shows it), as in \"[fe80::1%2]:80\""
                ),
            ),
            (
                "\"239.1.1.1:80\"",
                &format!(
                    "2:8: `listeners.l.bind` {forms} \"239.1.1.1:80\"; a multicast address has no connections of TCP; write \
                     the address of one machine"
                ),
            ),
            (
                "\"255.255.255.255:80\"",
                &format!(
                    "2:8: `listeners.l.bind` {forms} \"255.255.255.255:80\"; a broadcast address has no connections of \
                     TCP; write the address of one machine"
                ),
            ),
            (
                "[\"unix:/tmp/a\", \"unix:/tmp/../tmp/a\"]",
                "2:24: `listeners.l.bind[1]` is \"unix:/tmp/../tmp/a\", which `listeners.l.bind[0]` has already; choose \
                 another address",
            ),
            (
                "[\"[::1]:1\", \"[0::1]:1\"]",
                "2:20: `listeners.l.bind[1]` is \"[::1]:1\", which `listeners.l.bind[0]` has \
                 already; choose another address",
            ),
        ],
    );
}

#[test]
fn two_listeners_cannot_have_one_address() {
    for bind in ["127.0.0.1:1", "unix:/a"] {
        let first = LISTENER.replace("127.0.0.1:1", bind);
        let second = first.replace("[listeners.l]", "[listeners.\"m.n\"]");
        let problem = format!(
            "5:8: `listeners.\"m.n\".bind` is \"{bind}\", which `listeners.l.bind` has already; \
             choose another address"
        );
        assert_eq!(problems(&format!("{first}{second}{UPSTREAM}")), [problem]);
    }
}

#[test]
fn addresses_of_two_listeners_do_not_overlap() {
    let render = |second: &str| {
        let first = LISTENER.replace("127.0.0.1:1", "0.0.0.0:80");
        let second = LISTENER
            .replace("127.0.0.1:1", second)
            .replace("[listeners.l]", "[listeners.m]");
        format!("{first}{second}{UPSTREAM}")
    };
    let either = "remove one of the two, or choose another port";
    assert_problems(
        render,
        &[
            (
                "127.0.0.1:80",
                &format!(
                    "5:8: `listeners.m.bind` is \"127.0.0.1:80\", which is part of \"0.0.0.0:80\", \
                     which `listeners.l.bind` has already; {either}"
                ),
            ),
            (
                "*:80",
                &format!(
                    "5:8: `listeners.m.bind` is \"*:80\", which includes \"0.0.0.0:80\", \
                     which `listeners.l.bind` has already; {either}"
                ),
            ),
        ],
    );
    parse(&render("[::]:80"), "f").expect("that is IPv6");
}

#[test]
fn addresses_of_one_listener_do_not_overlap() {
    let binds = "[\"[::1]:80\", \"127.0.0.1:80\", \"[::]:80\"]";
    let text = LISTENER.replace("\"127.0.0.1:1\"", binds) + UPSTREAM;
    let problem = "2:37: `listeners.l.bind[2]` is \"[::]:80\", which includes \"[::1]:80\", which \
        `listeners.l.bind[0]` has already; remove one of the two, or choose another port";
    assert_eq!(problems(&text), [problem]);
}

#[test]
fn a_listener_names_an_upstream_of_the_file() {
    let render = |name: &str| {
        let listener = LISTENER.replace("\"u\"", name);
        format!("{listener}[upstreams.redis]\nservers = [\"a:1\"]\n")
    };
    assert_problems(
        render,
        &[
            (
                "\"rediss\"",
                "3:12: `listeners.l.upstream` must be the name of an upstream, not \"rediss\"; \
                 did you mean \"redis\"?",
            ),
            (
                "\"rdeis\"",
                "3:12: `listeners.l.upstream` must be the name of an upstream, not \"rdeis\"; \
                 did you mean \"redis\"?",
            ),
            (
                "\"web\"",
                "3:12: `listeners.l.upstream` must be the name of an upstream, not \"web\"; \
                 add a table [upstreams.NAME] of that name",
            ),
            (
                "1",
                "3:12: `listeners.l.upstream` must be the name of an upstream, not 1",
            ),
        ],
    );
}

#[test]
fn letters_of_a_short_name_that_changed_places_are_noticed() {
    let text = LISTENER.replace("\"u\"", "\"wbe\"") + &UPSTREAM.replace(".u]", ".web]");
    assert_eq!(
        problems(&text),
        [
            "3:12: `listeners.l.upstream` must be the name of an upstream, not \"wbe\"; \
             did you mean \"web\"?"
        ]
    );
}

#[test]
fn a_listener_may_name_an_upstream_that_has_problems() {
    let text = format!("{LISTENER}[upstreams.u]\nservers = [1]\n");
    assert_eq!(problems(&text).len(), 1);
}
