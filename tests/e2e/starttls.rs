//! Servers that are asked for TLS before they get a client's hello (`starttls`): those that take none are failed connects.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::change;
use crate::harness::config::forward_with;
use crate::harness::hello::client_hello;
use crate::harness::peer::{Server, Service};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    servers_that_take_no_tls_are_passed_over_and_ejected,
    without_another_server_the_log_says_that_none_answered,
    a_greeting_may_come_later_than_a_connect_may_take,
    a_reload_changes_how_long_a_server_may_take,
);

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A server of PostgreSQL that answers so when it is asked for TLS, and waits for the end.
fn answering(answer: &'static [u8]) -> Service {
    Server::bind().serve(move |mut stream: TcpStream| {
        let mut asked = [0; SSL_REQUEST.len()];
        if stream.read_exact(&mut asked).is_err() {
            return;
        }
        let _ = stream.write_all(answer);
        if answer == b"S" {
            let mut hello = vec![0; hello().len()];
            if stream.read_exact(&mut hello).is_ok() && hello == self::hello() {
                let _ = stream.write_all(b"OK");
            }
        }
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

fn hello() -> Vec<u8> {
    client_hello("db.example", b"postgresql")
}

/// What a client of PostgreSQL hears behind its hello.
fn word(proxy: &Proxy) -> String {
    let mut client = proxy.connect("main");
    client.write_all(SSL_REQUEST).expect("send");
    client.read_exact(&mut [0; 1]).expect("the proxy takes TLS");
    client.write_all(&hello()).expect("send");
    let mut word = [0; 2];
    let heard = client.read_exact(&mut word);
    heard.map_or(String::new(), |()| String::from_utf8_lossy(&word).into())
}

fn failures(proxy: &Proxy, server: &str, reason: &str) -> f64 {
    let labels = [("server", server), ("reason", reason)];
    proxy.metric("corelane_upstream_connect_failures_total", &labels)
}

fn servers_that_take_no_tls_are_passed_over_and_ejected(scheduler: Scheduler) {
    let servers = [&b"N"[..], b"", b"S"].map(answering);
    let addresses = servers
        .each_ref()
        .map(|server| server.address().to_string());
    let [refuses, silent, takes] = addresses.each_ref().map(String::as_str);
    let upstream = "connect_timeout = \"30s\"\nstarttls_timeout = \"300ms\"\n\
                    [upstreams.main.ejection]\nconsecutive_failures = 1\nbase = \"1h\"\nmax = \"1h\"\nlargest_share = \"100%\"";
    let routes = forward_with(
        &[refuses, silent, takes],
        "starttls = \"postgres\"",
        upstream,
    );
    let proxy = Proxy::start(scheduler, &routes);
    for _ in 0..6 {
        assert_eq!(word(&proxy), "OK");
    }
    for (server, reason) in [(refuses, "starttls"), (silent, "timeout")] {
        assert_eq!(failures(&proxy, server, reason), 1.0, "{reason}");
        let labels = [("server", server), ("state", "ejected")];
        assert_eq!(proxy.metric("corelane_upstream_server_state", &labels), 1.0);
    }
    assert_eq!(servers[2].accepted(), 6);
    proxy.stop();
}

fn without_another_server_the_log_says_that_none_answered(scheduler: Scheduler) {
    for (answer, end) in [(&b"N"[..], "SC"), (b"", "sC")] {
        let server = answering(answer);
        let log = tempfile::tempdir().expect("a directory");
        let path = log.path().join("access.log");
        let routes = forward_with(
            &[&server.address().to_string()],
            "starttls = \"postgres\"",
            "connect_timeout = \"30s\"\nstarttls_timeout = \"200ms\"",
        );
        let section = format!("[access_log]\npath = {path:?}\nformat = \"json\"\n");
        let proxy = Proxy::start(scheduler, &(section + &routes));
        assert_eq!(word(&proxy), "");
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        wait::until("a line in the log", || read().contains('\n'));
        let line: Value = serde_json::from_str(read().trim()).expect("JSON");
        assert_eq!(
            (&line["end"], &line["cause"]),
            (&end.into(), &"connect_failed".into())
        );
        assert_eq!(line["server"], server.address().to_string());
        proxy.stop();
    }
}

/// As mail servers do that keep those waiting who may send spam.
fn a_greeting_may_come_later_than_a_connect_may_take(scheduler: Scheduler) {
    let server = Server::bind().serve(|mut stream: TcpStream| {
        thread::sleep(Duration::from_millis(700));
        let mut lines = BufReader::new(stream.try_clone().expect("clone"));
        let mut line = String::new();
        let mut say = |words: &str| stream.write_all(words.as_bytes()).expect("send");
        say("220 mail ESMTP\r\n");
        lines.read_line(&mut line).expect("EHLO");
        say("250-mail\r\n250 STARTTLS\r\n");
        lines.read_line(&mut line).expect("STARTTLS");
        say("220 go\r\n");
        let mut heard = vec![0; hello().len()];
        lines.read_exact(&mut heard).expect("a hello");
        assert!(heard == hello());
        say("OK");
    });
    let routes = forward_with(
        &[&server.address().to_string()],
        "starttls = \"smtp\"",
        "connect_timeout = \"200ms\"",
    );
    let proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    let mut lines = BufReader::new(client.try_clone().expect("clone")).lines();
    lines.next();
    client.write_all(b"EHLO client\r\n").expect("send");
    lines.nth(1);
    client.write_all(b"STARTTLS\r\n").expect("send");
    lines.next();
    client.write_all(&hello()).expect("send");
    let mut word = Vec::new();
    let _ = client.read_to_end(&mut word);
    assert_eq!(word, b"OK");
    drop((client, lines));
    proxy.stop();
}

/// A connection that asks its server keeps the time that it began with; the next one has the new one.
fn a_reload_changes_how_long_a_server_may_take(scheduler: Scheduler) {
    let server = Server::bind();
    let address = server.address().to_string();
    let text = |timeout: &str| {
        let upstream = format!("connect_timeout = \"30s\"\nstarttls_timeout = \"{timeout}\"");
        let routes = forward_with(&[&address], "starttls = \"postgres\"", &upstream);
        change::text(scheduler, 2, "", &routes)
    };
    let asks = |client: &mut TcpStream| {
        client.write_all(SSL_REQUEST).expect("send");
        client.read_exact(&mut [0; 1]).expect("the proxy takes TLS");
        client.write_all(&hello()).expect("send");
    };
    let is_asked = || {
        let mut asked = [0; SSL_REQUEST.len()];
        let mut stream = server.accept();
        stream.read_exact(&mut asked).expect("a request");
        assert_eq!(asked, SSL_REQUEST);
        stream
    };
    let proxy = Proxy::start_file(&text("1h"));
    let mut patient = proxy.connect("main");
    asks(&mut patient);
    let mut late = is_asked();
    change::reload(&proxy, &text("200ms"));
    let mut other = proxy.connect("main");
    asks(&mut other);
    let silent = is_asked();
    // Nobody is left to ask.
    let mut end = Vec::new();
    let _ = other.read_to_end(&mut end);
    assert_eq!(end, b"");
    assert_eq!(failures(&proxy, &address, "timeout"), 1.0);
    drop(silent);
    change::reload(&proxy, &text("1h"));
    let mut next = proxy.connect("main");
    asks(&mut next);
    for (client, stream) in [(&mut patient, &mut late), (&mut next, &mut is_asked())] {
        stream.write_all(b"S").expect("send");
        let mut heard = vec![0; hello().len()];
        stream.read_exact(&mut heard).expect("the hello");
        assert!(heard == hello());
        stream.write_all(b"OK").expect("send");
        let mut word = [0; 2];
        client.read_exact(&mut word).expect("an answer");
        assert_eq!(&word, b"OK");
    }
    assert_eq!(failures(&proxy, &address, "timeout"), 1.0);
    drop((patient, next, late));
    proxy.stop();
}
