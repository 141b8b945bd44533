//! What is written reads back as the same.

use crate::parse;

#[test]
fn what_is_written_means_the_same() {
    let text = r#"
        [runtime]
        scheduler = "glommio"
        cores = "0-2,7"
        drain_timeout = "0s"
        close_over = "4s"
        on_switch = "drain"
        watch = true
        glommio.placement = "least-loaded"
        glommio.preempt_timer = "150us"
        glommio.rebalance.threshold = 1
        tokio.mode = "per-core"
        [admin]
        listen = "127.0.0.1:9700"
        hosts = ["corelane.example", "*"]
        socket = "/run/corelane/admin.sock"
        socket_mode = "600"
        socket_group = "adm"
        token_file = "/etc/corelane/token"
        tls_certificate = "/etc/corelane/admin.pem"
        tls_key = "/etc/corelane/admin.key"
        [access_log]
        path = "/var/log/\t\"corelane\".log"
        template = "{client} {{{bytes_in}}}"
        [listeners.a]
        bind = ["127.0.0.1:1", "[::]:2", "*:4", "unix:/run/\"é\".sock"]
        upstream = "main.pool"
        accept_proxy_protocol = "optional"
        trusted = ["10.0.0.0/8", "::1"]
        untrusted = "refuse"
        prologue_timeout = "250ms"
        latency = "2ms"
        max_connections = 7
        idle_timeout = "off"
        client_idle_timeout = "1m"
        server_idle_timeout = "2m"
        half_closed_timeout = "1500ms"
        max_lifetime = "1h"
        lifetime_jitter = "7%"
        keepalive = { idle = "1m30s", count = 3 }
        user_timeout = "1500ms"
        fast_open = 64
        defer_accept = "3s"
        notsent_lowat = "16KiB"
        receive_buffer = "1MiB"
        send_buffer = "5000B"
        congestion = "reno"
        mark = 0xff
        dscp = "ef"
        interface = "lo"
        transparent = true
        [listeners."b.c"]
        bind = "127.0.0.1:3"
        upstream = "main.pool"
        splice = false
        [upstreams."main.pool"]
        servers = [
            "builtin:echo",
            { address = "host:80", weight = 3 },
            { address = "host:81", weight = 0, backup = true, max_connections = 5 },
        ]
        balance = "source-hash"
        hash_on = "sni"
        max_connections = 9
        queue = 7
        queue_timeout = "2s"
        slow_start = "2500ms"
        fallback = "other"
        when_all_down = "refuse"
        connect_timeout = "1m1s"
        retry_budget = "25%"
        on_removed = "reset"
        on_down = "close"
        close_over = "20s"
        keepalive = "off"
        dscp = 0
        source_address = "client"
        send_proxy_protocol = "v2"
        proxy_tlvs = ["crc32c", "unique-id"]
        [upstreams."main.pool".ejection]
        consecutive_failures = 7
        early = "off"
        slow_factor = 3
        interval = "1s"
        base = "2s"
        max = "3s"
        largest_share = "40%"
        panic_threshold = "0%"

        [upstreams."main.pool".health]
        interval = "1500ms"
        fall = 1
        type = "http"
        fast_interval = "500ms"
        jitter = "0%"
        port = 8008
        http = { path = "/primary", status = [200, "300-302"], host = "a", headers = ["A: b"], body_regex = "\\\\d" }
        [upstreams.second]
        servers = [{ address = "h:1", check_port = 8 }]
        health = { type = "expect", expect = [{ send = "a\r\n" }, { expect_hex = "00ff" }, { expect_regex = "^a" }] }
        [upstreams.third]
        servers = ["h:1"]
        health = { type = "tls", tls = { verify = true, ca = "/ca.pem", server_name = "a.b" } }
        [upstreams.fourth]
        servers = ["h:1"]
        agent = { port = 9, interval = "1s", timeout = "20ms", send = "a\n\"b" }
        health = { type = "mysql", user = "me" }
        [upstreams.fifth]
        discovery.kubernetes = { service = "web", namespace = "shop", port = "http", api = "https://[::1]:6443/k8s", token_file = "/t", ca_file = "/c" }
        [upstreams.sixth]
        discovery.kubernetes = { service = "web", port = "80" }
        [upstreams.other]
        servers = ["builtin:echo"]
        balance = "random-two"
        compare_by = "connect-time"
    "#;
    let config = |text: &str| parse(text, "test").expect("valid").config;
    let given = config(text);
    let written = given.to_toml();
    assert_eq!(config(&written), given, "{written}");
    assert!(
        written.contains("\nconnect_timeout = \"61s\"\n"),
        "{written}"
    );
    let health = "jitter = \"0%\"\ntimeout = \"1s\"\nrise = 2\nfall = 1\n";
    assert!(written.contains(health), "{written}");
}

#[test]
fn the_hash_is_of_the_meaning() {
    let hash = |text: &str| parse(text, "test").expect("valid").config.hash();
    let text = "listeners.a = { bind = \"127.0.0.1:0\", upstream = \"a\" }\nupstreams.a.servers = [\"builtin:echo\"]";
    assert_eq!(hash(text).len(), 16);
    assert_eq!(
        hash(text),
        hash(&format!("# a comment\nruntime.pin = true\n{text}"))
    );
    assert_ne!(hash(text), hash(&format!("runtime.pin = false\n{text}")));
}

#[test]
fn defaults_are_written() {
    let text = "listeners.a = { bind = \"127.0.0.1:0\", upstream = \"a\" }\nupstreams.a.servers = [\"builtin:echo\"]";
    let config = parse(text, "test").expect("valid").config;
    let written = config.to_toml();
    assert!(
        written.contains("scheduler = \"auto\"\ncores = \"all\"\npin = true\n"),
        "{written}"
    );
    assert_eq!(parse(&written, "test").expect("valid").config, config);
}
