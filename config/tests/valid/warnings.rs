//! What is in order and doubted all the same.

use super::*;

#[test]
fn an_unused_upstream_is_a_warning() {
    let text = format!("{SMALLEST}[upstreams.\"c.d\"]\nservers = [\"c:1\"]\n");
    let loaded = parse(&text, "proxy.toml").unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(|w| w.to_string()).collect();
    let expected = "proxy.toml:7:1: no listener uses [upstreams.\"c.d\"]; \
        remove it, or write upstream = \"c.d\" in a listener";
    assert_eq!(warnings, [expected]);
    assert_eq!(loaded.config.upstreams.len(), 2);
}

/// One run of the check is enough to repair a file.
#[test]
fn warnings_come_with_errors_too() {
    let text = format!("{SMALLEST}[upstreams.c]\nservers = [\"c:1\"]\n[runtime]\npin = 1\n");
    let problems = parse(&text, "proxy.toml").unwrap_err();
    assert_eq!(problems.as_slice().len(), 1);
    let warnings: Vec<String> = problems.warnings().iter().map(|w| w.to_string()).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("proxy.toml:7:1: no listener uses [upstreams.c]"));
}

#[test]
fn an_upstream_that_a_listener_means_is_not_unused() {
    for upstream in ["\"bb\"", "1", "\"zzz\""] {
        let text = SMALLEST.replace("\"b\"\n[", &format!("{upstream}\n["));
        let problems = parse(&text, "proxy.toml").unwrap_err();
        assert_eq!(problems.as_slice().len(), 1);
        assert_eq!(problems.warnings(), [], "{text}");
    }
}

#[test]
fn options_of_tcp_beside_unix_sockets_alone_are_doubted() {
    let warnings = |binds: &str, server: &str| {
        let text = format!(
            "[listeners.l]\nbind = {binds}\nupstream = \"u\"\ndscp = 8\ntransparent = true\n\
             [upstreams.u]\nservers = [\"{server}\"]\nkeepalive = \"off\"\n"
        );
        let loaded = parse(&text, "f").unwrap_or_else(|problems| panic!("{problems}"));
        let warnings = loaded.warnings.iter();
        let keys = warnings.map(|warning| warning.key.clone().unwrap_or_default());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("\"unix:/a\"", "unix:/b"),
        [
            "listeners.l.dscp",
            "listeners.l.transparent",
            "upstreams.u.keepalive"
        ]
    );
    assert_eq!(warnings("[\"unix:/a\", \"127.0.0.1:0\"]", "a:1"), [""; 0]);
}

#[test]
fn who_may_announce_any_client_gets_around_what_goes_by_it() {
    let warnings = |bind: &str, keys: &str| -> Vec<_> {
        let text = format!(
            "[listeners.l]\nbind = \"{bind}\"\nupstream = \"u\"\n{keys}\n[upstreams.u]\nservers = [\"a:1\"]\n"
        );
        let loaded = parse(&text, "f").unwrap_or_else(|problems| panic!("{problems}"));
        let warnings = loaded.warnings.into_iter();
        warnings
            .map(|warning| warning.key.unwrap_or_default())
            .collect()
    };
    let (tcp, accepts) = ("127.0.0.1:1", "accept_proxy_protocol = true");
    for (rest, key) in [
        ("allow = [\"10.0.0.0/8\"]", "allow"),
        ("deny = [\"10.0.0.0/8\"]", "deny"),
        (
            "max_connections_per_source = 1",
            "max_connections_per_source",
        ),
        ("max_rate_per_source = 1", "max_rate_per_source"),
        (
            "[[listeners.l.routes]]\nsource = [\"10.0.0.0/8\"]\nreject = true",
            "routes",
        ),
    ] {
        let key = format!("listeners.l.{key}");
        assert_eq!(warnings(tcp, &format!("{accepts}\n{rest}")), [key]);
        let trusted = format!("{accepts}\ntrusted = [\"10.0.0.0/8\"]\n{rest}");
        assert_eq!(warnings(tcp, &trusted), [""; 0], "{rest}");
        assert_eq!(warnings(tcp, rest), [""; 0], "{rest}");
        assert_eq!(
            warnings("unix:/a", &format!("{accepts}\n{rest}")),
            [""; 0],
            "{rest}"
        );
    }
    assert_eq!(warnings(tcp, accepts), [""; 0]);
}

#[test]
fn a_source_address_is_of_the_servers_family() {
    let text = "[listeners.l]\nbind = \"127.0.0.1:1\"\nupstream = \"u\"\n\
        [upstreams.u]\nservers = [\"a:1\", \"[::1]:1\"]\nsource_address = \"127.0.0.1\"\n";
    let problems = parse(text, "f")
        .expect_err("it can't be connected to")
        .to_string();
    assert!(problems.contains("`upstreams.u.source_address` is \"127.0.0.1\", from which [::1]:1"));
    parse(&text.replace("\"127.0.0.1\"\n", "\"::1\"\n"), "f").expect("it can");
}

#[test]
fn what_ends_no_connection_is_a_warning() {
    let warnings = |keys: &str| -> Vec<_> {
        let text = format!(
            "[listeners.l]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"\n\
             [upstreams.u]\nservers = [\"a:1\"]\n{keys}\n"
        );
        let loaded = parse(&text, "proxy.toml").expect("it is in order");
        let warnings = loaded.warnings.into_iter();
        warnings
            .map(|warning| warning.key.unwrap_or_default())
            .collect()
    };
    assert_eq!(warnings("on_down = \"reset\""), ["upstreams.u.on_down"]);
    assert_eq!(warnings("close_over = \"1s\""), ["upstreams.u.close_over"]);
    for keys in [
        "on_removed = \"close\"\nclose_over = \"1s\"",
        "on_down = \"close\"\nclose_over = \"1s\"\nhealth.interval = \"1s\"",
        "close_over = \"off\"",
    ] {
        assert_eq!(warnings(keys), [""; 0], "{keys}");
    }
}

#[test]
fn what_shares_no_connections_is_a_warning() {
    let warnings = |keys: &str, servers: &str| -> Vec<_> {
        let text = format!(
            "[listeners.l]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"\n\
             [upstreams.u]\n{servers}\n{keys}\n"
        );
        let loaded = parse(&text, "f").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let warnings = loaded.warnings.into_iter();
        let keys = warnings.map(|warning| warning.key.unwrap_or_default());
        keys.map(|key| key.replace("upstreams.u.", "")).collect()
    };
    let plain = "servers = [\"a:1\", \"b:1\"]";
    // The first one of several is full some time.
    let full = "servers = [{ address = \"a:1\", max_connections = 2 }, \"b:1\"]";
    for (keys, servers, warned) in [
        ("queue = 5", plain, "queue"),
        (
            "balance = \"first\"\nslow_start = \"1s\"",
            full,
            "slow_start",
        ),
        (
            "balance = \"source-hash\"\nslow_start = \"1s\"",
            plain,
            "slow_start",
        ),
        (
            "",
            "servers = [\"a:1\", { address = \"b:1\", check_port = 2 }]",
            "servers[1].check_port",
        ),
        (
            "health.type = \"tls\"\nhealth.tls.ca = \"/ca.pem\"",
            plain,
            "health.tls.ca",
        ),
        (
            "health.interval = \"1s\"\nhealth.fast_interval = \"2s\"",
            plain,
            "health.fast_interval",
        ),
        (
            "discovery.file = \"/f\"\ndiscovery.nameservers = [\"127.0.0.1:53\"]",
            plain,
            "discovery.nameservers",
        ),
    ] {
        assert_eq!(warnings(keys, servers), [warned], "{keys}");
    }
    let limited = "servers = [\"a:1\", { address = \"b:1\", max_connections = 2, check_port = 2 }]";
    for (keys, servers) in [
        ("queue = 5", full),
        ("queue = 5\nmax_connections = 9", plain),
        ("queue = 5\nagent.port = 9", plain),
        ("queue = 5\ndiscovery.file = \"/f\"", plain),
        ("slow_start = \"1s\"", plain),
        (
            "health.type = \"tls\"\nhealth.tls.ca = \"/ca.pem\"\nhealth.tls.verify = true",
            plain,
        ),
        (
            "health.interval = \"1s\"\nhealth.fast_interval = \"1s\"",
            limited,
        ),
        (
            "discovery.dns = \"a.b:1\"\ndiscovery.nameservers = [\"127.0.0.1:53\"]",
            plain,
        ),
    ] {
        assert_eq!(warnings(keys, servers), [""; 0], "{keys}");
    }
}

/// The keys and the texts of the warnings for routes of a listener that has these addresses.
fn of_routes(bind: &str, routes: &[&str]) -> Vec<(String, String)> {
    let mut text = format!(
        "[upstreams.u]\nservers = [\"a:1\"]\n[listeners.l]\nbind = {bind}\nupstream = \"u\"\n"
    );
    for route in routes {
        text += &format!("[[listeners.l.routes]]\n{route}\nupstream = \"u\"\n");
    }
    let loaded = parse(&text, "f").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let warnings = loaded.warnings.into_iter();
    let both = warnings.map(|warning| {
        let place = warning.to_string();
        (warning.key.unwrap_or_default(), place)
    });
    both.collect()
}

fn keys_of_routes(bind: &str, routes: &[&str]) -> Vec<String> {
    let warnings = of_routes(bind, routes).into_iter();
    warnings.map(|(key, _)| key).collect()
}

#[test]
fn routes_that_no_connection_takes_are_doubted() {
    let bind = "\"127.0.0.1:1\"";
    let warnings = of_routes(
        bind,
        &[
            "sni = [\"a.example\", \"b.example\"]",
            "sni = \"b.example\"\nname = \"late\"",
        ],
    );
    assert_eq!(
        warnings[0].1,
        "f:9:1: no connection comes by \"b.example\" of `listeners.l.routes[1].sni`: the route \"1\" before it takes all that ask \
         for it; put the narrower one first, or remove the name"
    );
    assert_eq!(warnings[0].0, "listeners.l.routes[1].sni");
    let warnings = of_routes(
        bind,
        &[
            "source = \"10.0.0.0/8\"",
            "source = \"10.1.0.0/16\"\nalpn = \"h2\"",
        ],
    );
    assert_eq!(
        warnings[0].1,
        "f:9:1: no connection takes `listeners.l.routes[1]`: the route \"1\" before it takes all that would; put the narrower one \
         first, or remove it"
    );
    for (first, second) in [
        ("sni = \"*.example\"", "sni = \"a.b.example\""),
        ("sni = \"*.example\"", "sni = \"*.b.example\""),
        ("sni = \"*\"", "sni = \"*.b.example\""),
        ("sni = \"*\"", "sni = \"b\"\nsource = \"10.0.0.0/8\""),
        (
            "sni = \"A.example\"\nport = \"1-5\"",
            "sni = \"a.example\"\nport = 1",
        ),
        ("alpn = [\"h2\", \"h3\"]", "alpn = \"h2\""),
        ("peer = \"::/0\"", "peer = \"2001:db8::/32\"\nsni = \"a\""),
        ("", "sni = \"a\""),
        ("", ""),
    ] {
        let keys = keys_of_routes(bind, &[first, second]);
        let is_second = |key: &String| key.starts_with("listeners.l.routes[1]");
        assert!(
            keys.len() == 1 && keys.iter().all(is_second),
            "{first}: {second}: {keys:?}"
        );
    }
}

#[test]
fn routes_that_some_connection_takes_are_not_doubted() {
    let bind = "\"127.0.0.1:1-9\"";
    for (first, second) in [
        ("sni = \"a.example\"\nalpn = \"h2\"", "sni = \"a.example\""),
        (
            "sni = \"a.example\"\nalpn = \"h2\"",
            "sni = \"a.example\"\nalpn = [\"h2\", \"h3\"]",
        ),
        ("sni = \"*.example\"", "sni = \"example\""),
        ("sni = \"*.b.example\"", "sni = \"*.example\""),
        ("sni = \"*\"", "alpn = \"h2\""),
        ("sni = \"*\"", ""),
        ("source = \"10.0.0.0/8\"", "peer = \"10.0.0.0/8\""),
        (
            "source = \"10.0.0.0/8\"",
            "source = [\"10.0.0.0/8\", \"::1\"]",
        ),
        ("port = \"1-5\"", "port = \"5-6\""),
        ("port = 1\nsni = \"a\"", "port = 2\nsni = \"a\""),
    ] {
        assert_eq!(
            keys_of_routes(bind, &[first, second]),
            [""; 0],
            "{first}: {second}"
        );
    }
    let many: Vec<_> = (0..2_000)
        .map(|place| format!("sni = [\"n{place}.example\", \"m{place}.example\"]"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(keys_of_routes(bind, &many), [""; 0]);
}

#[test]
fn a_port_of_a_route_that_is_not_bound_is_doubted() {
    let warnings = of_routes(
        "[\"127.0.0.1:80\", \"*:90-91\"]",
        &["port = [80, 91]", "port = \"81-89\""],
    );
    assert_eq!(
        warnings,
        [(
            "listeners.l.routes[1].port".to_owned(),
            "f:9:1: no connection comes to 81-89 of `listeners.l.routes[1].port`: the listener is not bound to it; add it to `bind`, \
             or remove it"
                .to_owned()
        )]
    );
    assert_eq!(
        keys_of_routes("\"127.0.0.1:80\"", &["port = \"1-100\""]),
        [""; 0]
    );
    // The kernel chooses that one.
    assert_eq!(keys_of_routes("\"127.0.0.1:0\"", &["port = 80"]), [""; 0]);
    // Whoever started the process chose that one.
    assert_eq!(keys_of_routes("\"fd:web\"", &["port = 80"]), [""; 0]);
    let unix = keys_of_routes("\"unix:/a\"", &["port = 80"]);
    assert_eq!(unix, ["listeners.l.routes[0].port"]);
}

#[test]
fn keys_that_do_nothing_beside_the_others_are_doubted() {
    let warnings = |keys: &str, upstream: &str| -> Vec<_> {
        let text = format!(
            "[listeners.l]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"\n{keys}\n[upstreams.u]\nservers = [\"a:1\"]\n{upstream}"
        );
        let loaded = parse(&text, "f").unwrap_or_else(|problems| panic!("{problems}"));
        let warnings = loaded.warnings.into_iter();
        warnings
            .map(|warning| warning.key.unwrap_or_default())
            .collect()
    };
    for (keys, key) in [
        ("burst = 1", "burst"),
        (
            "burst = 1\nmax_rate_per_source = 1\nburst_per_source = 2",
            "burst",
        ),
        ("burst_per_source = 1\nmax_rate = 5", "burst_per_source"),
        ("prologue_timeout = \"1s\"", "prologue_timeout"),
        (
            "prologue_timeout = \"1s\"\nroutes = [{ port = 5, reject = true }]",
            "prologue_timeout",
        ),
        ("max_headers_per_peer = 5", "max_headers_per_peer"),
        ("not_tls = \"refuse\"", "not_tls"),
        (
            "not_tls = \"refuse\"\naccept_proxy_protocol = \"required\"\ntrusted = [\"10.0.0.1\"]",
            "not_tls",
        ),
        ("lifetime_jitter = \"20%\"", "lifetime_jitter"),
        ("source_prefix = 48\nmax_connections = 5", "source_prefix"),
    ] {
        assert_eq!(warnings(keys, ""), [format!("listeners.l.{key}")], "{keys}");
    }
    for (keys, upstream) in [
        ("burst = 1\nmax_rate = 1", ""),
        ("burst = 1\nmax_rate_per_source = 1", ""),
        ("burst_per_source = 1\nmax_rate_per_source = 1", ""),
        (
            "prologue_timeout = \"1s\"\naccept_proxy_protocol = \"optional\"\nmax_headers_per_peer = 5",
            "",
        ),
        ("prologue_timeout = \"1s\"\nstarttls = \"postgres\"", ""),
        (
            "prologue_timeout = \"1s\"\nroutes = [{ sni = \"a\", reject = true }]",
            "",
        ),
        (
            "prologue_timeout = \"1s\"\nnot_tls = \"refuse\"",
            "balance = \"source-hash\"\nhash_on = \"sni\"",
        ),
        ("not_tls = \"refuse\"\nstarttls = \"postgres\"", ""),
        ("lifetime_jitter = \"20%\"\nmax_lifetime = \"1h\"", ""),
        ("source_prefix = 48\nmax_connections_per_source = 5", ""),
    ] {
        assert_eq!(warnings(keys, upstream), [""; 0], "{keys}");
    }
}

#[test]
fn times_that_others_cut_short_are_doubted() {
    let warnings = |runtime: &str, ejection: &str| {
        let text = format!("[runtime]\n{runtime}\n{SMALLEST}[upstreams.b.ejection]\n{ejection}\n");
        let loaded = parse(&text, "f").unwrap_or_else(|problems| panic!("{problems}"));
        let keys = loaded.warnings.iter().map(|warning| warning.key.clone());
        keys.flatten().collect::<Vec<_>>()
    };
    assert_eq!(
        warnings(
            "drain_timeout = \"10s\"\nclose_over = \"31s\"",
            "base = \"301s\"\nmax = \"20s\""
        ),
        ["runtime.close_over", "upstreams.b.ejection.max"]
    );
    assert_eq!(
        warnings(
            "drain_timeout = \"10s\"\nclose_over = \"10s\"",
            "base = \"20s\"\nmax = \"20s\""
        ),
        [""; 0]
    );
}
