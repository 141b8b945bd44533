//! What HAProxy says of servers and their checks, with what it itself does in a comment where that surprises.

use proxy_convert::{Converted, Input, Nowhere, convert};

const TIMES: &str = " timeout connect 2s\n timeout client 10s\n timeout server 10s\n";

/// What becomes of a section with these lines, after these of its defaults.
fn with(defaults: &str, lines: &str) -> Converted {
    let lines = lines.replace("; ", "\n");
    let defaults = defaults.replace("; ", "\n");
    let text =
        format!("defaults\n mode tcp\n{TIMES}{defaults}\nlisten a\n bind 127.0.0.1:80\n{lines}\n");
    let bytes = text.into_bytes();
    let name = "haproxy.cfg".to_owned();
    convert(&[Input { name, bytes }], None, &Nowhere).expect("a result")
}

/// The same without what else would be in the way: the result without comments, and the losses.
fn parts(defaults: &str, lines: &str) -> (String, Vec<String>) {
    let converted = with(defaults, lines);
    let lines = converted.file.lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| line.split("  # ").next().unwrap_or_default());
    let losses = converted.losses.iter();
    let losses = losses.map(|loss| format!("{}: {}", loss.what, loss.why));
    (lines.collect::<Vec<_>>().join("\n"), losses.collect())
}

const S1: &str = "server s1 192.0.2.1:80 check";

#[test]
fn rules_of_checks_replace_those_of_defaults() {
    let tcp = "option tcp-check; tcp-check expect string NEVER";
    let http = "option httpchk GET /a; http-check expect status 500";
    for (defaults, lines, found, missing) in [
        (
            tcp,
            "tcp-check expect string yes; ",
            "{ expect = \"yes\" }",
            "NEVER",
        ),
        (
            tcp,
            "tcp-check expect string yes; option tcp-check; ",
            "\"yes\"",
            "NEVER",
        ),
        (tcp, "option tcp-check; ", "NEVER", "yes"),
        (tcp, "", "NEVER", "yes"),
        // Without their option there they don't count.
        (
            "tcp-check expect string NEVER",
            "option tcp-check; ",
            "timeout",
            "NEVER",
        ),
        (tcp, "option httpchk GET /b; ", "/b", "NEVER"),
        (
            http,
            "option httpchk GET /b; http-check expect status 200; ",
            "status = [200]",
            "500",
        ),
        (http, "option httpchk GET /b; ", "path = \"/b\"", "500"),
        (http, "", "status = [500]", "yes"),
        // What the option of defaults asks for is forgotten.
        (
            http,
            "http-check send hdr X 1; ",
            "method = \"OPTIONS\", path = \"/\"",
            "500",
        ),
    ] {
        let (file, losses) = parts(defaults, &format!("{lines}{S1}"));
        assert!(
            file.contains(found) && !file.contains(missing),
            "{lines}: {file}"
        );
        assert_eq!(losses, [""; 0], "{lines}");
    }
    let (_, losses) = parts(
        "option httpchk GET /a",
        &format!("http-check expect status 200; {S1}"),
    );
    assert!(losses[0].contains("HAProxy sends no request"), "{losses:?}");
    let chain = "option httpchk GET /a; http-check expect status 500; defaults b from z; http-check expect status 200; option httpchk GET /b";
    let text = format!(
        "defaults z\n{TIMES}{}\nlisten a from b\n bind :80\n {S1}\n",
        chain.replace("; ", "\n")
    );
    let input = Input {
        name: "haproxy.cfg".to_owned(),
        bytes: text.into_bytes(),
    };
    let file = convert(&[input], None, &Nowhere).expect("a result").file;
    assert!(file.contains("status = [200]"), "{file}");
}

#[test]
fn a_request_has_the_lines_that_count_and_its_answer_both_that_are_expected() {
    for (lines, expected) in [
        (
            "option httpchk GET /y HTTP/1.1\\r\\nHost:\\ foo\\r\\nX:\\ 1; http-check send hdr Y 1",
            "{ method = \"GET\", path = \"/y\", headers = [\"Y: 1\"] }",
        ),
        (
            "option httpchk GET /y HTTP/1.1\\r\\nHost:\\ foo; http-check send uri /z",
            "{ method = \"GET\", host = \"foo\", path = \"/z\" }",
        ),
        (
            "http-check send meth GET uri /x hdr Y 1; option httpchk GET /y",
            "{ method = \"GET\", path = \"/y\", headers = [\"Y: 1\"] }",
        ),
        (
            "option httpchk GET /; http-check expect string well; http-check expect status 200",
            "{ method = \"GET\", path = \"/\", body = \"well\", status = [200] }",
        ),
        (
            "option httpchk GET /; http-check expect string well",
            "{ method = \"GET\", path = \"/\", status = [\"100-599\"], body = \"well\" }",
        ),
    ] {
        let (file, losses) = parts("", &format!("{lines}; {S1}"));
        assert!(
            file.contains(&format!("http = {expected}")),
            "{lines}: {file}"
        );
        assert_eq!(losses, [""; 0], "{lines}");
    }
    for rule in [
        "http-check expect status 204",
        "http-check send hdr Host %[srv_name]",
    ] {
        let (_, losses) = parts(
            "",
            &format!("option httpchk GET /; http-check expect status 200; {rule}; {S1}"),
        );
        assert_eq!(losses.len(), 1, "{rule}: {losses:?}");
    }
}

#[test]
fn defaults_of_servers_count_for_those_after_them() {
    let (file, losses) = parts(
        "default-server weight 3",
        "server s1 192.0.2.1:80; default-server disabled maxconn 9; server s2 192.0.2.2:80; server s3 192.0.2.3:80 enabled; default-server enabled \
         weight 5; server s4 192.0.2.4:80",
    );
    let expected = "servers = [\n    { address = \"192.0.2.1:80\", weight = 3 },\n    { address = \"192.0.2.2:80\", weight = 0, max_connections = 9 },\n    \
                    { address = \"192.0.2.3:80\", weight = 3, max_connections = 9 },\n    { address = \"192.0.2.4:80\", weight = 5, max_connections = 9 },\n]";
    assert!(file.contains(expected), "{file}");
    assert_eq!(losses, [""; 0]);
}

#[test]
fn what_only_some_servers_have_is_said() {
    for option in [
        "inter 10s",
        "fastinter 1s",
        "rise 5",
        "fall 10",
        "slowstart 60s",
        "on-marked-down shutdown-sessions",
        "tcp-ut 5s",
        "interface eth0",
        "source 192.0.2.9",
        "observe layer4",
        "agent-check agent-port 90",
    ] {
        for (one, other) in [(option, ""), ("", option)] {
            let (file, losses) = parts(
                "",
                &format!("{S1} {one}; server s2 192.0.2.2:80 check {other}"),
            );
            assert_eq!(losses.len(), 1, "{option}: {losses:?}\n{file}");
        }
    }
    let (file, _) = parts(
        "",
        &format!("{S1}; server s2 192.0.2.2:80 check on-marked-down shutdown-sessions inter 7s"),
    );
    assert!(!file.contains("on_down") && !file.contains("7s"), "{file}");
    // What HAProxy takes without the option is no difference, nor is the same time in other words.
    for (one, other) in [
        ("inter 2s rise 2 fall 3", ""),
        ("", "inter 2000 rise 2 fall 3 slowstart 0"),
        ("inter 3s", "inter 3000ms"),
    ] {
        let (_, losses) = parts(
            "",
            &format!("{S1} {one}; server s2 192.0.2.2:80 check {other}"),
        );
        assert_eq!(losses, [""; 0], "{one}, {other}");
    }
}

#[test]
fn a_server_that_gets_another_header_is_left_out() {
    for (one, other) in [
        ("", "send-proxy"),
        ("send-proxy", ""),
        ("send-proxy", "send-proxy-v2"),
    ] {
        let (file, losses) = parts(
            "",
            &format!("server s1 192.0.2.1:80 {one}; server s2 192.0.2.2:80 {other}"),
        );
        assert!(!file.contains("192.0.2.2"), "{file}");
        assert_eq!(losses.len(), 1, "{losses:?}");
    }
}

#[test]
fn converters_and_conditions_are_not_dropped() {
    for (line, balance, count) in [
        ("balance hash src", "source-hash", 0),
        ("balance hash src,ipmask(32)", "source-hash", 0),
        ("balance hash src,xxh32(1)", "source-hash", 0),
        ("balance hash src,ipmask(24)", "source-hash", 1),
        ("balance hash src,ipmask(24,64),crc32", "source-hash", 1),
        ("balance hash req.ssl_sni,lower", "source-hash", 0),
        ("balance hash req.ssl_sni,field(1,.)", "source-hash", 1),
        ("balance random(3)", "random-two", 0),
        ("balance leastconn; stick on src", "source-hash", 0),
        (
            "balance leastconn; stick on src,ipmask(24)",
            "source-hash",
            1,
        ),
        (
            "balance leastconn; stick on src if { src 10.0.0.0/8 }",
            "source-hash",
            1,
        ),
        (
            "balance leastconn; stick on src table b unless { src 10.0.0.0/8 }",
            "source-hash",
            2,
        ),
        ("balance leastconn; stick on dst", "least-connections", 1),
    ] {
        let (file, losses) = parts("", &format!("{line}; server s1 192.0.2.1:80"));
        assert!(
            file.contains(&format!("balance = \"{balance}\"")),
            "{line}: {file}"
        );
        assert_eq!(losses.len(), count, "{line}: {losses:?}");
    }
    let one = with("", "balance random(1); server s1 192.0.2.1:80").file;
    assert!(
        one.contains("`balance random(1)`: two servers are drawn"),
        "{one}"
    );
}

#[test]
fn a_check_with_another_header_than_haproxys_is_a_loss() {
    let tcp = "option tcp-check; tcp-check connect";
    let implicit = "option tcp-check; tcp-check expect string x";
    for (lines, options, differs) in [
        ("", "check", false),
        ("", "check send-proxy", false),
        ("", "check send-proxy check-send-proxy", false),
        ("", "check send-proxy port 90", false),
        ("", "check send-proxy port 90 check-send-proxy", true),
        ("", "check check-send-proxy", true),
        (implicit, "check send-proxy", false),
        // Without `default` it goes by none of its server's options.
        (tcp, "check send-proxy", true),
        (&format!("{tcp} default"), "check send-proxy", false),
        (
            &format!("{tcp} default"),
            "check send-proxy port 90 check-send-proxy",
            true,
        ),
        (&format!("{tcp} port 90"), "check send-proxy", false),
        (
            &format!("{tcp} port 90 send-proxy"),
            "check send-proxy",
            true,
        ),
        (&format!("{tcp} send-proxy"), "check send-proxy", false),
        (&format!("{tcp} send-proxy"), "check", true),
        (
            "option httpchk; http-check connect",
            "check send-proxy",
            true,
        ),
    ] {
        let (_, losses) = parts("", &format!("{lines}; server s1 192.0.2.1:80 {options}"));
        assert_eq!(
            losses.len(),
            usize::from(differs),
            "{lines}, {options}: {losses:?}"
        );
    }
}

#[test]
fn a_check_inside_tls_is_a_handshake() {
    for (lines, options, server_name, count) in [
        // The recipe of kubeadm.
        (
            "option httpchk; http-check connect ssl; http-check send meth GET uri /healthz; http-check expect status 200",
            "check verify none",
            None,
            3,
        ),
        ("option httpchk", "check check-ssl verify none", None, 1),
        (
            "option tcp-check; tcp-check connect ssl port 90 sni b",
            "check",
            Some("b"),
            0,
        ),
        (
            "option tcp-check; tcp-check connect ssl; tcp-check expect string x",
            "check",
            None,
            1,
        ),
        (
            "option tcp-check; tcp-check connect default",
            "check check-ssl verify none check-sni c",
            Some("c"),
            0,
        ),
        (
            "",
            "check check-ssl verify required ca-file /etc/ca.pem",
            None,
            1,
        ),
    ] {
        let (file, losses) = parts("", &format!("{lines}; server s1 192.0.2.1:80 {options}"));
        assert!(
            file.contains("type = \"tls\"") && !file.contains("http ="),
            "{lines}: {file}"
        );
        let tls = server_name.map(|name| format!("tls = {{ server_name = \"{name}\" }}"));
        assert!(tls.is_none_or(|tls| file.contains(&tls)), "{lines}: {file}");
        assert_eq!(losses.len(), count, "{lines}: {losses:?}");
    }
    // Without `default` it goes by none of its server's options.
    let (file, _) = parts(
        "",
        "option tcp-check; tcp-check connect; server s1 192.0.2.1:80 check check-ssl verify none",
    );
    assert!(!file.contains("\"tls\""), "{file}");
}

#[test]
fn what_is_said_over_a_second_connection_is_left_out() {
    let (file, losses) = parts(
        "",
        "option tcp-check; tcp-check connect port 110; tcp-check expect string +OK; tcp-check connect port 143; tcp-check expect string *\\ OK; server s1 \
         192.0.2.1:80 check port 99",
    );
    assert!(
        file.contains("port = 110") && file.contains("\"+OK\""),
        "{file}"
    );
    assert!(
        !file.contains("* OK") && !file.contains("143") && !file.contains("99"),
        "{file}"
    );
    assert_eq!(losses.len(), 1, "{losses:?}");
    let (file, losses) = parts(
        "",
        "option httpchk; http-check connect; http-check send uri /a; http-check expect status 200; http-check connect port 81; http-check send uri /b; \
         server s1 192.0.2.1:80 check",
    );
    assert!(
        file.contains("path = \"/a\"") && !file.contains("/b"),
        "{file}"
    );
    assert_eq!(losses.len(), 1, "{losses:?}");
}

#[test]
fn the_same_server_again_has_both_weights_and_limits() {
    for (lines, expected) in [
        (
            "server a 192.0.2.1:80 maxconn 5; server b 192.0.2.1:80 weight 2 maxconn 7",
            "weight = 3, max_connections = 12",
        ),
        (
            "server a 192.0.2.1:80 maxconn 5; server b 192.0.2.1:80",
            "\"192.0.2.1:80\", weight = 2 }",
        ),
        (
            "server a 192.0.2.1:80 maxconn 5; server b 192.0.2.1:80 disabled",
            "weight = 1, max_connections = 5",
        ),
    ] {
        let (file, losses) = parts("", lines);
        assert!(file.contains(expected), "{lines}: {file}");
        assert_eq!(losses, [""; 0], "{lines}");
    }
    let (_, losses) = parts("", "server a 192.0.2.1:80; server b 192.0.2.1:80 backup");
    assert_eq!(losses.len(), 1, "{losses:?}");
}

#[test]
fn times_are_those_that_haproxy_goes_by() {
    for (defaults, lines, idle) in [
        ("timeout tunnel 0", "", "idle_timeout = \"10s\""),
        (
            "timeout tunnel 1s",
            "timeout tunnel 0",
            "idle_timeout = \"10s\"",
        ),
        ("timeout tunnel 1s", "", "idle_timeout = \"1s\""),
        (
            "timeout tunnel 1h; option independent-streams",
            "",
            "client_idle_timeout = \"1h\"\nserver_idle_timeout = \"1h\"",
        ),
    ] {
        let (file, losses) = parts(defaults, &format!("{lines}; server s1 192.0.2.1:80"));
        assert!(file.contains(idle), "{defaults}, {lines}: {file}");
        assert_eq!(losses, [""; 0], "{defaults}, {lines}");
    }
    // That of a frontend is none.
    let text = format!(
        "defaults\n{TIMES}\nfrontend f\n bind :80\n timeout tunnel 1s\n default_backend b\nbackend b\n server s1 192.0.2.1:80\n"
    );
    let input = |text: String| Input {
        name: "haproxy.cfg".to_owned(),
        bytes: text.into_bytes(),
    };
    let file = convert(&[input(text)], None, &Nowhere)
        .expect("a result")
        .file;
    assert!(file.contains("idle_timeout = \"10s\""), "{file}");
    for line in ["", " timeout connect 0\n"] {
        let text = format!("listen a\n bind :80\n{line} server s1 192.0.2.1:80\n");
        let converted = convert(&[input(text)], None, &Nowhere).expect("a result");
        assert!(
            converted.file.contains("connect_timeout = \"127s\""),
            "{}",
            converted.file
        );
        assert!(converted.losses.is_empty());
    }
}

#[test]
fn words_that_need_more_than_a_remark_have_it_and_others_a_true_one() {
    let server = "server s1 192.0.2.1:80 maxconn 1 maxqueue 3";
    // HAProxy refuses the fifth client only where a hash has chosen the server.
    for (balance, count) in [("source", 1), ("roundrobin", 0)] {
        let (_, losses) = parts("", &format!("balance {balance}; {server}"));
        assert_eq!(losses.len(), count, "{balance}: {losses:?}");
    }
    for (lines, said) in [
        (
            "tcp-check expect string x",
            "HAProxy itself ignores it in `a`, which has no `option tcp-check`",
        ),
        (
            "option httpchk; server s2 192.0.2.2:80",
            "no server of `a` has `check`",
        ),
    ] {
        let server = if lines.contains("s2") { "" } else { S1 };
        let file = with("", &format!("{lines}; {server}")).file;
        assert!(file.contains(said), "{file}");
    }
    let text = format!(
        "global\n tune.rcvbuf.client 65536\n tune.sndbuf.client 5000\n tune.rcvbuf.server 131072\ndefaults\n{TIMES}listen a\n bind :80\n {S1}\n"
    );
    let input = Input {
        name: "haproxy.cfg".to_owned(),
        bytes: text.into_bytes(),
    };
    let file = convert(&[input], None, &Nowhere).expect("a result").file;
    for part in [
        "receive_buffer = \"64KiB\"",
        "send_buffer = \"5000B\"",
        "receive_buffer = \"128KiB\"",
    ] {
        assert!(file.contains(part), "{part}: {file}");
    }
}
