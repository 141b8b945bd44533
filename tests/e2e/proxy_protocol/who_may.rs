//! Headers that are refused, and those that need not be there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use super::*;
use crate::harness::config::{forward_with, route};
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(refusals, untrusted_peers, optional,);

/// Each refusal is counted by its reason, and has a line in the access log that says at what.
fn refusals(scheduler: Scheduler) {
    let server = peer::echo();
    let log = tempfile::tempdir().expect("directory");
    let listener = "accept_proxy_protocol = true\nprologue_timeout = \"1s\"";
    let routes = forward_with(&[&server.address().to_string()], listener, "");
    let proxy = Proxy::start(scheduler, &(access_log(&log) + &routes));
    let broken = |count: u8| [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", &[count][..]].concat();
    let mut checksum = broken(19);
    checksum.extend(b"\xc0\0\x02\x07\xc0\0\x02\x01\xdc\x04\x01\xbb\x03\0\x04abcd");
    let cases: [(&[u8], &str, &str); 6] = [
        (b"", "timeout", "cR"),
        (&HEADER[..30], "timeout", "cR"),
        (b"GET / HTTP/1.0\r\n\r\n", "no_header", "PR"),
        (b"PROXY TCP4 no addresses\r\n", "bad_header", "PR"),
        (&checksum, "checksum", "PR"),
        (&[b"PROXY ", &[b' '; 200][..]].concat(), "too_long", "PR"),
    ];
    for (place, (said, result, end)) in cases.iter().enumerate() {
        let before = prologues(&proxy, result);
        let mut client = proxy.connect("main");
        client.write_all(said).expect("send");
        let address = own(&client).to_string();
        peer::assert_closed_unanswered(client);
        wait::until("it is counted", || {
            prologues(&proxy, result) == before + 1.0
        });
        let line = &lines(&log, place + 1)[place];
        assert_eq!(
            (&line["end"], &line["client"]),
            (&(*end).into(), &address.into())
        );
        assert_eq!(line["server"], Value::Null);
    }
    // One that goes away in the middle.
    let mut client = proxy.connect("main");
    client.write_all(&HEADER[..30]).expect("send");
    client.shutdown(Shutdown::Write).expect("half-close");
    peer::assert_closed_unanswered(client);
    assert_eq!(lines(&log, 7)[6]["end"], "CR");
    assert_eq!(prologues(&proxy, "closed"), 1.0);
    // And one that was a probe.
    drop(proxy.connect("main"));
    let line = &lines(&log, 8)[7];
    assert_eq!(
        (&line["end"], &line["cause"]),
        (&"--".into(), &"finished".into())
    );
    assert_eq!(server.accepted(), 0);
    let log = proxy.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

fn untrusted_peers(scheduler: Scheduler) {
    let server = peer::echo();
    let address = server.address().to_string();
    let listener = "accept_proxy_protocol = true\ntrusted = [\"127.0.0.3\"]";
    let routes = [
        route("refuses", "127.0.0.1:0", &[&address], listener, ""),
        route(
            "plain",
            "127.0.0.1:0",
            &[&address],
            &format!("{listener}\nuntrusted = \"plain\""),
            "",
        ),
    ];
    let proxy = Proxy::start(scheduler, &routes.concat());
    let mut client = proxy.connect("refuses");
    // It may be closed already.
    let _ = client.write_all(HEADER);
    peer::assert_closed_unanswered(client);
    wait::until("it is counted", || prologues(&proxy, "untrusted") == 1.0);
    assert_eq!(server.accepted(), 0);
    // What an untrusted one says is for the server, be it a header.
    let mut client = proxy.connect("plain");
    client.write_all(HEADER).expect("send");
    let mut answer = vec![0; HEADER.len()];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(answer, HEADER);
    assert_eq!(list(&proxy)[0]["client"], own(&client).to_string());
    for listener in ["refuses", "plain"] {
        let mut trusted = peer::connect_from(CLIENT, proxy.address(listener));
        trusted
            .write_all(&[HEADER, b"hello"].concat())
            .expect("send");
        let mut answer = [0; 5];
        trusted.read_exact(&mut answer).expect("receive");
        assert_eq!(&answer, b"hello", "{listener}");
    }
}

/// Protocols in which the client speaks first, and in which the server does.
fn optional(scheduler: Scheduler) {
    let server = Server::bind().serve(|mut stream| {
        let _ = stream.write_all(b"220 hello\r\n");
        let _ = std::io::copy(&mut &stream, &mut &stream);
    });
    let listener = "accept_proxy_protocol = \"optional\"\nprologue_timeout = \"1s\"";
    let routes = forward_with(&[&server.address().to_string()], listener, "");
    let proxy = Proxy::start(scheduler, &routes);
    let greeted = |mut client: &TcpStream, then: &[u8]| {
        let mut answer = vec![0; 11 + then.len()];
        client.read_exact(&mut answer).expect("receive");
        assert_eq!(answer, [b"220 hello\r\n", then].concat());
    };
    // It waits to be greeted.
    let silent = proxy.connect("main");
    greeted(&silent, b"");
    let mut speaking = proxy.connect("main");
    speaking.write_all(b"PRESENT").expect("send");
    greeted(&speaking, b"PRESENT");
    let mut announced = proxy.connect("main");
    announced.write_all(HEADER).expect("send");
    greeted(&announced, b"");
    assert_eq!(prologues(&proxy, "plain"), 2.0);
    assert_eq!(prologues(&proxy, "header"), 1.0);
    let clients: Vec<_> = list(&proxy)
        .iter()
        .map(|row| row["client"].clone())
        .collect();
    assert!(clients.contains(&ANNOUNCED.into()), "{clients:?}");
    assert!(
        clients.contains(&own(&silent).to_string().into()),
        "{clients:?}"
    );
}
