//! Rules that accept and refuse: their order, their stages, and what they ask for.

use super::{DEFAULT, WAIT, left_out, listener, made_of, partly, whole};

#[test]
fn an_earlier_rule_that_accepts_goes_before_a_later_one_that_refuses() {
    let by_name = " tcp-request content accept if { req.ssl_sni -i a.example.com }\n";
    let rest = "sni=a.example.com upstream=b";
    let all = format!("{WAIT}{by_name} tcp-request content reject");
    assert_eq!(whole(&all, ""), format!("\n{rest}"));
    let with_hello = format!(
        "{WAIT} tcp-request content accept if {{ req.ssl_hello_type 1 }} {{ req.ssl_sni -i a.example.com }}\n tcp-request content reject"
    );
    assert_eq!(whole(&with_hello, ""), format!("\n{rest}"));
    let by_source = format!("{WAIT}{by_name} tcp-request content reject if {{ src 127.0.0.0/8 }}");
    assert_eq!(
        whole(&by_source, ""),
        format!("upstream=b\n{rest}\nsource=127.0.0.0/8 reject=true")
    );
    let unless_named = format!(
        "{WAIT} tcp-request content accept if {{ src 127.0.0.0/8 }}\n tcp-request content reject if !{{ req.ssl_sni -i a.example.com }}"
    );
    assert_eq!(
        whole(&unless_named, ""),
        format!("\nsource=127.0.0.0/8 upstream=b\n{rest}")
    );
}

/// A stage decides of those that the one before it has accepted.
#[test]
fn who_one_stage_accepts_may_be_refused_by_the_next_one() {
    let rules = format!(
        "{DEFAULT} tcp-request session accept if {{ src 10.0.0.0/8 }}\n tcp-request session reject if {{ src 10.0.0.0/7 }}\n tcp-request content reject if {{ src 10.1.0.0/16 }}"
    );
    let found = whole(&rules, "");
    assert!(
        found.starts_with(
            "upstream=b allow=[ 10.0.0.0/8, 0.0.0.0/0, ::/0, unix, ] deny=[ 10.0.0.0/7, ]"
        ),
        "{found}"
    );
    assert!(
        found.ends_with("\nsource=10.1.0.0/16 reject=true"),
        "{found}"
    );
}

#[test]
fn what_a_client_says_first_is_known_by_its_hello_only() {
    let hello = "{ req.ssl_hello_type 1 }";
    let only_tls =
        format!("{WAIT} tcp-request content accept if {hello}\n tcp-request content reject");
    assert_eq!(
        whole(&only_tls, ""),
        "upstream=b not_tls=refuse\nsni=* upstream=b"
    );
    // Who says nothing is one of those that speak no TLS.
    left_out(
        &format!(
            "{WAIT} tcp-request content accept if {{ req.len gt 0 }}\n tcp-request content reject"
        ),
        "content reject",
    );
    let silent = format!("{WAIT} use_backend c if {{ req.len 0 }}");
    assert_eq!(
        partly(&silent, "", "{ req.len 0 }", "say nothing"),
        "upstream=b"
    );
    let ssh = format!("{WAIT} use_backend c if !{hello} {{ req.len 0 }}");
    assert_eq!(partly(&ssh, "", "req.len 0", "say nothing"), "upstream=b");
    let tls = format!("{WAIT} use_backend c if {hello}");
    assert_eq!(
        partly(&tls, "", hello, "no server name"),
        "upstream=b\nsni=* upstream=c"
    );
    for condition in [
        "{ req.ssl_ver lt 3.3 }",
        "{ req.ssl_hello_type 2 }",
        "{ req.len gt 5 }",
        "{ req.ssl_alpn -m reg ^imap }",
    ] {
        let line = format!("use_backend c if {condition}");
        assert_eq!(
            partly(&format!("{WAIT} {line}"), "", &line, ""),
            "upstream=b"
        );
        let line = format!("tcp-request content reject if {condition}");
        left_out(&format!("{WAIT} {line}"), &line);
    }
}

#[test]
fn rules_of_connections_go_by_who_has_connected() {
    let refuse = "tcp-request connection reject if { src 127.0.0.0/8 } !{ src 127.0.0.1 }";
    let announced = format!(" bind 127.0.0.1:81 accept-proxy\n {refuse}\n{DEFAULT}");
    let converted = made_of(&announced, "").expect("it is");
    for name in ["f", "f-2"] {
        let found = listener(&converted, name);
        assert!(
            found.ends_with("\npeer=127.0.0.1 upstream=b\npeer=127.0.0.0/8 reject=true"),
            "{found}"
        );
    }
    let plain = format!(" {refuse}\n{DEFAULT}");
    assert_eq!(
        whole(&plain, ""),
        "upstream=b\nsource=127.0.0.1 upstream=b\nsource=127.0.0.0/8 reject=true"
    );
    left_out(
        &format!(" tcp-request connection reject if {{ req.ssl_sni a }}\n{DEFAULT}"),
        "req.ssl_sni a",
    );
}

#[test]
fn a_bind_whose_clients_are_all_announced_trusts_everybody() {
    let rules = format!(
        " bind 127.0.0.1:81 accept-proxy\n tcp-request connection expect-proxy layer4 if {{ src 127.0.0.9 }}\n \
          tcp-request connection expect-proxy layer4 if {{ src 127.0.0.8 }}\n{DEFAULT}"
    );
    let converted = made_of(&rules, "").expect("it is");
    assert_eq!(
        listener(&converted, "f"),
        "upstream=b accept_proxy_protocol=required trusted=[127.0.0.9, 127.0.0.8] untrusted=plain"
    );
    assert_eq!(
        listener(&converted, "f-2"),
        "upstream=b accept_proxy_protocol=required"
    );
    left_out(
        &format!(
            " tcp-request connection accept if {{ src 10.0.0.0/8 }}\n tcp-request connection expect-proxy layer4\n{DEFAULT}"
        ),
        "expect-proxy",
    );
}

#[test]
fn a_backend_refuses_who_comes_to_it() {
    let rules = "backend d\n acl inside src 10.0.0.0/8\n tcp-request inspect-delay 3s\n tcp-request content reject if !inside\n server s 192.0.2.3:80\n";
    assert_eq!(
        whole(" default_backend d", rules),
        "\nsource=10.0.0.0/8 upstream=d"
    );
    let some = " use_backend d if { req.ssl_sni d.example.com }\n default_backend b";
    assert_eq!(
        whole(some, rules),
        "upstream=b\nsni=d.example.com source=10.0.0.0/8 upstream=d\nsni=d.example.com reject=true"
    );
    let converted = made_of(some, rules).expect("it is");
    assert!(
        converted.file.contains("prologue_timeout = \"3s\""),
        "{}",
        converted.file
    );
    let odd = "backend d\n tcp-request content reject if { src_is_bad }\n server s 192.0.2.3:80\n";
    let refused = partly(some, odd, "src_is_bad", "backend are refused");
    assert_eq!(refused, "upstream=b\nsni=d.example.com reject=true");
    let limit =
        "backend d\n tcp-request content reject if { src_conn_cur gt 3 }\n server s 192.0.2.3:80\n";
    partly(some, limit, "src_conn_cur", "backend are refused");
    // A section that is both has its rules once for its own clients, and for those that others lead there.
    let both = "listen d\n bind 127.0.0.1:81\n tcp-request content reject if { src 10.0.0.0/8 }\n server s 192.0.2.3:80\n";
    let converted = made_of(some, both).expect("it is");
    assert_eq!(listener(&converted, "d"), "upstream=d deny=[ 10.0.0.0/8, ]");
    assert_eq!(
        listener(&converted, "f"),
        "upstream=b\nsni=d.example.com source=10.0.0.0/8 reject=true\nsni=d.example.com upstream=d"
    );
}
