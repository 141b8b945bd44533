//! What is said of `[upstreams]`.

use crate::{LISTENER, UPSTREAM, assert_problems};

#[test]
fn keys() {
    let render = |lines: &str| format!("{LISTENER}{UPSTREAM}{lines}\n");
    assert_problems(
        render,
        &[
            (
                "discovery = {}",
                "6:13: missing key `dns` in [upstreams.u.discovery]; write who says which servers there are, as in dns = \
                 \"_redis._tcp.example.com\"",
            ),
            (
                "discovery = { dns = \"a:1\", file = \"/a\" }",
                "6:35: `upstreams.u.discovery.file` is one source too many beside `dns`; write `dns` or `file`, or an upstream for \
                 each",
            ),
            (
                "discovery = { http = \"https://a/b\" }",
                "6:22: `upstreams.u.discovery.http` must be a URL such as \
                 \"http://127.0.0.1:8500/v1/health/service/web?passing\", not \"https://a/b\"; there is no TLS to sources; \
                 have one on this machine, such as an agent or a sidecar, speak it",
            ),
            (
                "discovery = { dns = \"_http._tcp.a.b:80\" }",
                "6:21: `upstreams.u.discovery.dns` must be \"_SERVICE._tcp.DOMAIN\" or \"HOST:PORT\", not \
                 \"_http._tcp.a.b:80\"; records of type SRV have ports of their own; write \"_http._tcp.a.b\"",
            ),
            (
                "balanse = \"round-robin\"",
                "6:1: unknown key `balanse` in [upstreams.u]; did you mean `balance`?",
            ),
            (
                "balance = \"random\"",
                "6:11: `upstreams.u.balance` must be \"round-robin\" or \"least-connections\" or \"random-two\" or \
                 \"source-hash\" or \"first\", not \"random\"; did you mean \"random-two\"?",
            ),
            (
                "hash_on = \"peer\"",
                "6:11: `upstreams.u.hash_on` is for balance = \"source-hash\", and this is \"round-robin\"; write that, or remove \
                 this",
            ),
            (
                "balance = \"source-hash\"\ncompare_by = \"connections\"",
                "7:14: `upstreams.u.compare_by` is for balance = \"random-two\", and this is \"source-hash\"; write that, or remove \
                 this",
            ),
            (
                "fallback = \"v\"",
                "6:12: `upstreams.u.fallback` must be the name of an upstream, not \"v\"; add a table [upstreams.NAME] of that \
                 name",
            ),
            (
                "fallback = \"u\"",
                "6:12: `upstreams.u.fallback` leads in a circle: u to u; remove one of these fallbacks",
            ),
            (
                "max_connections = 0",
                "6:19: `upstreams.u.max_connections` must be an integer of at least 1, not 0",
            ),
            (
                "when_all_down = \"close\"",
                "6:17: `upstreams.u.when_all_down` must be \"try\" or \"refuse\", not \"close\"",
            ),
            (
                "connect_timeout = \"2h\"",
                "6:19: `upstreams.u.connect_timeout` must be a duration from 1ms to 1h, not \"2h\"",
            ),
            (
                "retry_budget = \"101%\"",
                "6:16: `upstreams.u.retry_budget` must be a percentage from \"0%\" to \"100%\", not \"101%\"",
            ),
            (
                "on_removed = \"drop\"",
                "6:14: `upstreams.u.on_removed` must be \"keep\" or \"reset\" or \"close\", not \"drop\"",
            ),
            (
                "rise = 2",
                "6:1: unknown key `rise` in [upstreams.u]; it belongs in [upstreams.u.health]",
            ),
            (
                "weight = 2",
                "6:1: unknown key `weight` in [upstreams.u]; \
                 it belongs in `upstreams.u.servers[0]`",
            ),
            (
                "send_proxy_protocol = true",
                "6:23: `upstreams.u.send_proxy_protocol` must be \"v1\" or \"v2\", not true",
            ),
            (
                "proxy_tlvs = [\"alpn\"]",
                "6:14: `upstreams.u.proxy_tlvs` is for `send_proxy_protocol`, which is missing; add it, or remove this",
            ),
            (
                "send_proxy_protocol = \"v1\"\nproxy_tlvs = [\"alpn\"]",
                "7:14: `upstreams.u.proxy_tlvs` is for version 2 of the protocol: version 1 has no TLVs; write \
                 send_proxy_protocol = \"v2\", or remove this",
            ),
            (
                "send_proxy_protocol = \"v2\"\nproxy_tlvs = [\"crc32\"]",
                "7:15: `upstreams.u.proxy_tlvs[0]` must be \"authority\" or \"alpn\" or \"unique-id\" or \"crc32c\", not \
                 \"crc32\"; did you mean \"crc32c\"?",
            ),
            (
                "agent = { interval = \"1s\" }",
                "6:9: missing key `port` in [upstreams.u.agent]; write the port at which agents listen, as in port = 9777",
            ),
            (
                "zzz = 1",
                "6:1: unknown key `zzz` in [upstreams.u]; \
                 the keys are servers, balance, hash_on, compare_by, max_connections, queue, queue_timeout, slow_start, fallback, when_all_down, \
                 connect_timeout, starttls_timeout, retry_budget, send_proxy_protocol, proxy_tlvs, \
                 keepalive, user_timeout, notsent_lowat, receive_buffer, send_buffer, congestion, mark, dscp, \
                 interface, source_address, on_removed, on_down, close_over, health, agent, ejection, discovery",
            ),
            (
                "health = \"2s\"",
                "6:10: `upstreams.u.health` must be a table, not \"2s\"",
            ),
        ],
    );
}

#[test]
fn health() {
    let render = |lines: &str| format!("{LISTENER}{UPSTREAM}[upstreams.u.health]\n{lines}\n");
    let interval = "7:12: `upstreams.u.health.interval` must be a duration from 100ms to 1h, not";
    let timeout = "7:11: `upstreams.u.health.timeout` must be a duration from 1ms to 10s, not";
    assert_problems(
        render,
        &[
            (
                "intervall = \"2s\"",
                "7:1: unknown key `intervall` in [upstreams.u.health]; did you mean `interval`?",
            ),
            (
                "zzz = 1",
                "7:1: unknown key `zzz` in [upstreams.u.health]; \
                 the keys are type, interval, fast_interval, jitter, timeout, rise, fall, port, user, http, expect, tls",
            ),
            (
                "interval = 2",
                &format!("{interval} 2; a duration is a string with a unit, such as \"2s\""),
            ),
            ("interval = \"99ms\"", &format!("{interval} \"99ms\"")),
            ("interval = \"2h\"", &format!("{interval} \"2h\"")),
            ("timeout = \"0s\"", &format!("{timeout} \"0s\"")),
            ("timeout = \"2h\"", &format!("{timeout} \"2h\"")),
            (
                "rise = 0",
                "7:8: `upstreams.u.health.rise` must be an integer from 1 to 100, not 0",
            ),
            (
                "type = \"https\"",
                "7:8: `upstreams.u.health.type` must be \"tcp\" or \"http\" or \"tls\" or \"expect\" or \"postgres\" or \
                 \"mysql\" or \"redis\", not \"https\"; did you mean \"http\"?",
            ),
            (
                "http = {}",
                "7:8: `upstreams.u.health.http` needs type = \"http\", and this is \"tcp\"",
            ),
            (
                "type = \"redis\"\nuser = \"a\"",
                "8:8: `upstreams.u.health.user` needs type = \"postgres\" or \"mysql\", and this is \"redis\"",
            ),
            (
                "type = \"expect\"",
                "6:1: missing key `expect` in [upstreams.u.health]; write steps, as in expect = [{ send = \"PING\\r\\n\" }, \
                 { expect = \"+PONG\" }]",
            ),
            (
                "type = \"expect\"\nexpect = [{ send = \"a\", expect = \"b\" }]",
                "8:11: `upstreams.u.health.expect[0]` must say one thing: send, send_hex, expect, expect_hex or expect_regex",
            ),
            (
                "type = \"expect\"\nexpect = [{ expect_regex = \"a(\" }]",
                "8:28: `upstreams.u.health.expect[0].expect_regex` must be a regular expression of 1 to 1024 bytes, not \"a(\"; \
                 unclosed group",
            ),
            (
                "type = \"http\"\nhttp.status = [200, \"400-299\"]",
                "8:21: `upstreams.u.health.http.status[1]` must be a status from 100 to 599, or a range of them such as \
                 \"200-299\", not \"400-299\"",
            ),
            (
                "type = \"http\"\nhttp = { body = \"a\", body_regex = \"a\" }",
                "8:17: `upstreams.u.health.http.body` and `body_regex` say the same: write one of them",
            ),
            (
                "fall = 101",
                "7:8: `upstreams.u.health.fall` must be an integer from 1 to 100, not 101",
            ),
        ],
    );
}

#[test]
fn servers() {
    let render = |servers: &str| LISTENER.to_owned() + &UPSTREAM.replace("[\"a:1\"]", servers);
    let forms = "must be \"HOST:PORT\", \"IP:PORT\", \"[IPV6]:PORT\", \"unix:/PATH\" \
        or \"builtin:echo\", not";
    assert_problems(
        render,
        &[
            (
                "[]",
                "5:11: `upstreams.u.servers` is empty; write where connections go, \
                 as in servers = [\"127.0.0.1:6379\"]",
            ),
            (
                "\"a:1\"",
                "5:11: `upstreams.u.servers` must be an array, not \"a:1\"; \
                 write where connections go, as in servers = [\"127.0.0.1:6379\"]",
            ),
            ("[1]", &format!("5:12: `upstreams.u.servers[0]` {forms} 1")),
            (
                "[\"a:1\", \"10.0.0.256:1\"]",
                &format!(
                    "5:19: `upstreams.u.servers[1]` {forms} \"10.0.0.256:1\"; \
                     this is neither an IP address nor the name of a host"
                ),
            ),
            (
                "[\"224.0.0.1:80\"]",
                &format!(
                    "5:12: `upstreams.u.servers[0]` {forms} \"224.0.0.1:80\"; a multicast address has no connections of \
                     TCP; write the address of one machine"
                ),
            ),
            (
                "[\"[ff02::1]:80\"]",
                &format!(
                    "5:12: `upstreams.u.servers[0]` {forms} \"[ff02::1]:80\"; a multicast address has no connections of \
                     TCP; write the address of one machine"
                ),
            ),
            (
                "[\"255.255.255.255:80\"]",
                &format!(
                    "5:12: `upstreams.u.servers[0]` {forms} \"255.255.255.255:80\"; a broadcast address has no \
                     connections of TCP; write the address of one machine"
                ),
            ),
            (
                "[\"0.0.0.0:80\"]",
                &format!(
                    "5:12: `upstreams.u.servers[0]` {forms} \"0.0.0.0:80\"; \"0.0.0.0\" is where to listen, not where to \
                     connect to; write the server's address, as in \"127.0.0.1:80\""
                ),
            ),
            (
                "[\"[::]:80\"]",
                &format!(
                    "5:12: `upstreams.u.servers[0]` {forms} \"[::]:80\"; \"::\" is where to listen, not where to \
                     connect to; write the server's address, as in \"[::1]:80\""
                ),
            ),
            (
                "[\"[fe80::1]:80\"]",
                &format!(
                    "5:12: `upstreams.u.servers[0]` {forms} \"[fe80::1]:80\"; a link-local address needs the number of \
                     its interface (`ip link` shows it), as in \"[fe80::1%2]:80\""
                ),
            ),
            (
                "[\"unix:/run/a\", \"unix:/run/../run/./a\"]",
                "5:27: `upstreams.u.servers[1]` is \"unix:/run/../run/./a\", which is listed already; give it a weight \
                 instead",
            ),
            (
                "[{ address = \"a\" }]",
                &format!(
                    "5:24: `upstreams.u.servers[0].address` {forms} \"a\"; \
                     add a port from 1 to 65535"
                ),
            ),
            (
                "[{ weight = 2 }]",
                "5:12: missing key `address` in `upstreams.u.servers[0]`; \
                 write the server's address, as in address = \"127.0.0.1:6379\"",
            ),
            (
                "[{ address = \"a:1\", wieght = 2 }]",
                "5:31: unknown key `wieght` in `upstreams.u.servers[0]`; did you mean `weight`?",
            ),
            (
                "[{ address = \"a:1\", weight = 257 }]",
                "5:40: `upstreams.u.servers[0].weight` must be an integer from 0 to 256, not 257",
            ),
            (
                "[\"a:1\", { address = \"a:1\", weight = 2 }]",
                "5:31: `upstreams.u.servers[1].address` is \"a:1\", which is listed already; \
                 give it a weight instead",
            ),
        ],
    );
}

#[test]
fn fallbacks_lead_on() {
    let render = |lines: &str| format!("{LISTENER}{UPSTREAM}{lines}\n");
    let circle = "fallback = \"v\"\n[upstreams.v]\nservers = [\"a:1\"]\nfallback = \"w\"\n\
        [upstreams.w]\nservers = [\"b:1\"]\nfallback = \"v\"";
    let row: String = (0..8)
        .map(|place| {
            let next = place + 1;
            format!("[upstreams.v{place}]\nservers = [\"a{place}:1\"]\nfallback = \"v{next}\"\n")
        })
        .collect();
    let row = format!("fallback = \"v0\"\n{row}[upstreams.v8]\nservers = [\"b:1\"]");
    assert_problems(
        render,
        &[
            (
                circle,
                "9:12: `upstreams.v.fallback` leads in a circle: v to w to v; remove one of these fallbacks",
            ),
            (
                &row,
                "6:12: `upstreams.u.fallback` begins a row of more than 8 fallbacks; leave some out",
            ),
        ],
    );
}

#[test]
fn an_agent_is_at_a_port_of_each_server() {
    let render = |server: &str| {
        format!("{LISTENER}[upstreams.u]\nservers = [\"a:1\", \"{server}\"]\nagent.port = 9\n")
    };
    let problem = |server: &str| {
        format!(
            "6:1: `upstreams.u.agent` asks at a port of each server, and \"{server}\" has no ports; move it to an upstream of its own"
        )
    };
    for server in ["unix:/run/a", "builtin:echo"] {
        assert_problems(render, &[(server, &problem(server))]);
    }
}
