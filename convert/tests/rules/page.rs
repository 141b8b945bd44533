//! The page of figures, which rules of HAProxy guard.

use proxy_convert::Converted;

use super::{DEFAULT, losses, made_of};

/// What a section of figures becomes.
fn page(lines: &str) -> Converted {
    let section = format!(
        "frontend stats\n mode http\n bind 127.0.0.1:8404\n stats enable\n stats uri /\n{lines}\n"
    );
    made_of(DEFAULT, &section).expect("it is")
}

#[test]
fn a_page_that_is_not_for_everybody_stays_where_it_is() {
    assert!(page("").file.contains("listen = \"127.0.0.1:8404\""));
    for line in [
        "http-request deny unless { src 127.0.0.9 }",
        "http-request auth unless { http_auth(people) }",
        "http-request reject",
        "tcp-request connection reject if !{ src 127.0.0.9 }",
        "tcp-request content reject if { src 10.0.0.0/8 }",
        "stats http-request deny if { src 10.0.0.0/8 }",
        "stats auth a:b",
    ] {
        let found = page(line);
        assert!(!found.file.contains("listen = "), "{line}:\n{}", found.file);
        assert!(losses(&found).contains(line), "{line}: {}", losses(&found));
    }
    let found = page(
        " bind 127.0.0.1:8405\n monitor-uri /up\n stats admin if TRUE\n stats refresh 5s\n no-such-word 1",
    );
    assert!(found.file.contains("listen = \"127.0.0.1:8404\""));
    for line in [
        "bind 127.0.0.1:8405",
        "stats admin if TRUE",
        "no-such-word 1",
    ] {
        assert!(losses(&found).contains(line), "{}", losses(&found));
    }
    for line in ["monitor-uri /up", "stats refresh 5s"] {
        assert!(found.file.contains(line), "{}", found.file);
    }
}
