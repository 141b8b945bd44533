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
