//! The PROXY protocol, in and out, with HAProxy and nginx on both sides: who the client is, and that no byte is lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::harness::bytes::{Hasher, MIB, digest, send};
use crate::harness::config::{forward_with, route};
use crate::harness::http;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::haproxy::Haproxy;
use crate::service::nginx::{Nginx, NginxStream};

each_scheduler!(
    haproxy_in_front_and_behind,
    nginx_in_front_and_behind,
    bytes_in_both_directions,
    refusals,
    untrusted_peers,
    optional,
    the_server_is_told_the_name_and_the_protocol,
    unix_sockets_have_headers_and_are_announced,
    header_for_servers_of_plain_clients,
    health_checks,
    keys_change_by_a_reload,
    a_drain_waits_for_a_header,
    a_switch_waits_for_a_header
);

/// Another address of loopback's than the one that everybody else has.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";
const ANNOUNCED: &str = "192.0.2.7:56324";

fn prologues(proxy: &Proxy, result: &str) -> f64 {
    let labels = [("result", result)];
    proxy.metric("corelane_listener_prologue_total", &labels)
}

fn own(stream: &TcpStream) -> SocketAddr {
    stream.local_addr().expect("address")
}

fn list(proxy: &Proxy) -> Vec<Value> {
    let list: Value = serde_json::from_slice(&proxy.get("/connections").body).expect("JSON");
    list["connections"].as_array().expect("an array").clone()
}

/// A log in a file of its own, by its section.
fn access_log(directory: &tempfile::TempDir) -> String {
    let path = directory.path().join("access.log");
    format!("[access_log]\npath = {path:?}\nformat = \"json\"\n")
}

/// Waits for so many lines.
fn lines(directory: &tempfile::TempDir, count: usize) -> Vec<Value> {
    let path = directory.path().join("access.log");
    let read = || fs::read_to_string(&path).unwrap_or_default();
    wait::until("lines in the log", || read().lines().count() >= count);
    let read = read();
    let lines = read
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

fn text(response: http::Response) -> String {
    assert_eq!(response.status, 200);
    String::from_utf8(response.body).expect("text")
}

/// Both versions: HAProxy announces, the proxy passes it on, and the HAProxy behind it knows the client, the address that
/// it connected to, and the id that the one in front gave it.
fn haproxy_in_front_and_behind(scheduler: Scheduler) {
    let behind = Haproxy::start(1, |addresses| {
        format!(
            "frontend behind\n    mode http\n    bind {} accept-proxy\n    http-request return status 200 content-type text/plain \
             lf-string \"%[src]:%[src_port] %[dst]:%[dst_port] %[fc_pp_unique_id]\"\n",
            addresses[0]
        )
    });
    let server = behind.addresses[0].to_string();
    let accept = "accept_proxy_protocol = true\ntrusted = [\"127.0.0.0/8\"]";
    let log = tempfile::tempdir().expect("directory");
    let routes = [
        access_log(&log),
        route(
            "v1",
            "127.0.0.1:0",
            &[&server],
            accept,
            "send_proxy_protocol = \"v1\"",
        ),
        route(
            "v2",
            "127.0.0.1:0",
            &[&server],
            accept,
            "send_proxy_protocol = \"v2\"\nproxy_tlvs = [\"crc32c\"]",
        ),
    ];
    let proxy = Proxy::start(scheduler, &routes.concat());
    let (v1, v2) = (proxy.address("v1"), proxy.address("v2"));
    // Its checks announce nobody.
    let front = Haproxy::start(2, |addresses| {
        format!(
            "frontend v1\n    bind {}\n    default_backend v1\nbackend v1\n    server s {v1} send-proxy\n\
             frontend v2\n    bind {}\n    unique-id-format front-%pid\n    default_backend v2\nbackend v2\n    \
             server s {v2} send-proxy-v2 proxy-v2-options unique-id,crc32c check inter 100ms\n",
            addresses[0], addresses[1],
        )
    });
    for (front, name) in front.addresses.iter().zip(["v1", "v2"]) {
        let client = peer::connect_from(CLIENT, *front);
        let address = own(&client);
        let answer = text(http::get_on(client, "/"));
        let words: Vec<_> = answer.split(' ').collect();
        assert_eq!(
            words[..2],
            [address.to_string(), front.to_string()],
            "{name}"
        );
        assert_eq!(words[2].starts_with("front-"), name == "v2", "{answer}");
        let is_its = |line: &Value| line["client"] == address.to_string();
        wait::until("its line is in the log", || {
            lines(&log, 1).iter().any(is_its)
        });
        let lines = lines(&log, 1);
        let line = lines.iter().find(|line| is_its(line)).expect("it is there");
        let seen_peer = line["peer"].as_str().expect("a string");
        assert!(seen_peer.starts_with("127.0.0.1:"), "{line}");
        assert_eq!(
            (&line["listener"], &line["end"]),
            (&name.into(), &"--".into())
        );
    }
    wait::until("checks are nobody's", || prologues(&proxy, "local") >= 2.0);
    assert_eq!(prologues(&proxy, "no_header"), 0.0);
    assert!(prologues(&proxy, "header") >= 2.0);
    assert_eq!(
        proxy.metric("corelane_listener_ended_total", &[("cause", "refused")]),
        0.0
    );
}

fn nginx_in_front_and_behind(scheduler: Scheduler) {
    let nginx = Nginx::start();
    let server = nginx.behind_proxy.to_string();
    let written = nginx.write_file("large", 20 * MIB);
    for version in ["v1", "v2"] {
        let send = format!("send_proxy_protocol = \"{version}\"");
        let routes = forward_with(&[&server], "accept_proxy_protocol = \"required\"", &send);
        let proxy = Proxy::start(scheduler, &routes);
        let front = NginxStream::start(proxy.address("main"));
        let client = peer::connect_from(CLIENT, front.address);
        let address = own(&client).to_string();
        assert_eq!(text(http::get_on(client, "/client")), address);
        let client = peer::connect_from(CLIENT, front.address);
        let answer = http::get_on(client, "/large");
        assert_eq!(digest(&answer.body), written);
        proxy.stop();
    }
}

/// Many bytes both ways at once, behind a header each way; who is who is shown while they run.
fn bytes_in_both_directions(scheduler: Scheduler) {
    const LENGTH: u64 = 30 * MIB;
    let server = Server::bind();
    let routes = forward_with(
        &[&server.address().to_string()],
        "accept_proxy_protocol = true",
        "send_proxy_protocol = \"v1\"",
    );
    let proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    client.write_all(HEADER).expect("send");
    let mut upstream = server.accept();
    let mut header = vec![0; HEADER.len()];
    upstream.read_exact(&mut header).expect("a header");
    assert_eq!(header, HEADER);
    let rows = list(&proxy);
    assert_eq!(rows[0]["client"], ANNOUNCED);
    assert_eq!(rows[0]["peer"], own(&client).to_string());
    std::thread::scope(|scope| {
        let transfer = |from: &TcpStream, seed| {
            let sent = send(&mut &*from, seed, LENGTH);
            from.shutdown(Shutdown::Write).expect("half-close");
            sent
        };
        let receive = |mut from: &TcpStream| {
            let mut hasher = Hasher::default();
            std::io::copy(&mut from, &mut hasher).expect("receive");
            hasher.digest()
        };
        let (client, upstream) = (&client, &upstream);
        let up = scope.spawn(move || transfer(client, 1));
        let down = scope.spawn(move || transfer(upstream, 2));
        let got_up = scope.spawn(move || receive(upstream));
        assert_eq!(receive(client), down.join().expect("sent"));
        assert_eq!(got_up.join().expect("received"), up.join().expect("sent"));
    });
    wait::until("it has ended", || {
        proxy.metric("corelane_listener_ended_total", &[("cause", "finished")]) == 1.0
    });
    let bytes = |direction| {
        let labels = [("listener", "main"), ("direction", direction)];
        proxy.metric("corelane_listener_bytes_total", &labels)
    };
    assert_eq!((bytes("in"), bytes("out")), (LENGTH as f64, LENGTH as f64));
}

/// Each refusal is counted by its reason, and has a line in the access log that says at what.
fn refusals(scheduler: Scheduler) {
    let server = peer::echo();
    let log = tempfile::tempdir().expect("directory");
    let listener = "accept_proxy_protocol = true\nprologue_timeout = \"500ms\"";
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
        let mut client = proxy.connect("main");
        let before = prologues(&proxy, result);
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

/// A ClientHello for this name, which offers one protocol.
fn hello(name: &str, protocol: &str) -> Vec<u8> {
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let entry = [&[0][..], &vector(name.as_bytes())].concat();
    let sni = [&[0, 0][..], &vector(&vector(&entry))].concat();
    let protocol = [&[protocol.len() as u8][..], protocol.as_bytes()].concat();
    let alpn = [&[0, 16][..], &vector(&vector(&protocol))].concat();
    let extensions = vector(&[sni, alpn].concat());
    let suites = [0, 2, 0x13, 1, 1, 0];
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &extensions].concat();
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    [&[22, 3, 1][..], &vector(&message)].concat()
}

fn receive(mut from: impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    from.read_exact(&mut bytes).expect("receive");
    bytes
}

/// A header of version 2, and the bytes behind its addresses.
fn receive_v2(from: &TcpStream, addresses: usize) -> (Vec<u8>, Vec<u8>) {
    let mut header = receive(from, 16);
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    header.extend(receive(from, addresses));
    (header, receive(from, length - addresses))
}

/// By TLVs, and then it gets the ClientHello as it was.
fn the_server_is_told_the_name_and_the_protocol(scheduler: Scheduler) {
    let server = Server::bind();
    let listener = "[[listeners.main.routes]]\nsni = \"*.example\"\nupstream = \"main\"\n";
    let sends = "send_proxy_protocol = \"v2\"\nproxy_tlvs = [\"authority\", \"alpn\"]";
    let routes = forward_with(&[&server.address().to_string()], listener, sends);
    let proxy = Proxy::start(scheduler, &routes);
    let said = hello("a.example", "h2");
    let mut client = proxy.connect("main");
    client.write_all(&said).expect("send");
    let upstream = server.accept();
    let (header, tlvs) = receive_v2(&upstream, 12);
    assert_eq!(header[..14], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    assert_eq!(tlvs, b"\x02\0\x09a.example\x01\0\x02h2");
    assert_eq!(receive(&upstream, said.len()), said);
}

/// A balancer comes by a unix socket, and one announces a client that came by one.
fn unix_sockets_have_headers_and_are_announced(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("socket");
    let server = Server::bind();
    let listener = "accept_proxy_protocol = true\ntrusted = [\"192.0.2.0/24\"]";
    let sends = "send_proxy_protocol = \"v2\"";
    let bind = format!("unix:{}", path.display());
    let address = server.address().to_string();
    let routes = route("main", &bind, &[&address], listener, sends);
    let proxy = Proxy::start(scheduler, &routes);
    let connect = || UnixStream::connect(&path).expect("it listens");
    let mut announces = connect();
    announces
        .write_all(&[HEADER, b"hello"].concat())
        .expect("send");
    let upstream = server.accept();
    let (header, _) = receive_v2(&upstream, 12);
    assert_eq!(header[16..20], [192, 0, 2, 7]);
    assert_eq!(receive(&upstream, 5), b"hello");
    let row = &list(&proxy)[0];
    assert_eq!(
        (&row["client"], &row["peer"]),
        (&ANNOUNCED.into(), &"unix".into())
    );
    drop((announces, upstream));
    let mut paths = [0; 216];
    paths[..7].copy_from_slice(b"/run/in");
    paths[108..116].copy_from_slice(b"/run/out");
    let mut announced = connect();
    announced
        .write_all(&[&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &paths, b"hello"].concat())
        .expect("send");
    let upstream = server.accept();
    let (header, tlvs) = receive_v2(&upstream, 216);
    assert_eq!(
        (header[13], &header[16..], &tlvs[..]),
        (0x31, &paths[..], &b""[..])
    );
    assert_eq!(receive(&upstream, 5), b"hello");
    wait::until("who it is is shown", || {
        list(&proxy).iter().any(|row| row["client"] == "unix")
    });
}

/// Protocols in which the client speaks first, and in which the server does.
fn optional(scheduler: Scheduler) {
    let server = Server::bind().serve(|mut stream| {
        let _ = stream.write_all(b"220 hello\r\n");
        let _ = std::io::copy(&mut &stream, &mut &stream);
    });
    let listener = "accept_proxy_protocol = \"optional\"\nprologue_timeout = \"300ms\"";
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

/// Without any header in, servers are told of the client as it is.
fn header_for_servers_of_plain_clients(scheduler: Scheduler) {
    let server = Server::bind();
    let routes = forward_with(
        &[&server.address().to_string()],
        "",
        "send_proxy_protocol = \"v2\"\nproxy_tlvs = [\"unique-id\"]",
    );
    let proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    client.write_all(b"first").expect("send");
    let mut upstream = server.accept();
    let mut header = [0; 16 + 12];
    upstream.read_exact(&mut header).expect("a header");
    assert_eq!(&header[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    assert_eq!(header[16..24], [127, 0, 0, 1, 127, 0, 0, 1]);
    let ports = [own(&client).port(), proxy.address("main").port()];
    assert_eq!(header[24..], ports.map(u16::to_be_bytes).concat());
    let more = usize::from(u16::from_be_bytes([header[14], header[15]])) - 12;
    let mut tlv = vec![0; more];
    upstream.read_exact(&mut tlv).expect("a TLV");
    let id = list(&proxy)[0]["id"].to_string();
    assert_eq!(tlv[0], 5);
    assert!(
        tlv.ends_with(format!("-{id}").as_bytes()),
        "{tlv:?} of {id}"
    );
    let mut rest = [0; 5];
    upstream
        .read_exact(&mut rest)
        .expect("what the client said");
    assert_eq!(&rest, b"first");
}

/// A server that wants headers gets one of each check, too, which announces nobody.
fn health_checks(scheduler: Scheduler) {
    for (version, header) in [
        ("v1", &b"PROXY UNKNOWN\r\n"[..]),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
    ] {
        let server = Server::bind();
        let upstream = format!(
            "send_proxy_protocol = \"{version}\"\n[upstreams.main.health]\ninterval = \"100ms\"\n"
        );
        let routes = forward_with(&[&server.address().to_string()], "", &upstream);
        let proxy = Proxy::start(scheduler, &routes);
        for _ in 0..2 {
            let mut check = server.accept();
            let mut said = Vec::new();
            check.read_to_end(&mut said).expect("an orderly end");
            assert_eq!(said, header, "{version}");
        }
        wait::until("checks pass", || {
            let labels = [("result", "passed")];
            proxy.metric("corelane_upstream_health_checks_total", &labels) >= 1.0
        });
    }
}

/// Connections keep the settings that they began with; new ones have the new ones.
fn keys_change_by_a_reload(scheduler: Scheduler) {
    let server = peer::echo();
    let address = server.address().to_string();
    let routes = |listener: &str, upstream: &str| forward_with(&[&address], listener, upstream);
    let exchange = |mut client: &TcpStream, said: &[u8], heard: &[u8]| {
        client.write_all(said).expect("send");
        let mut answer = vec![0; heard.len()];
        client.read_exact(&mut answer).expect("receive");
        assert_eq!(answer, heard);
    };
    let proxy = Proxy::start(scheduler, &routes("", ""));
    let reload = |routes: &str| {
        let at = || proxy.metric("corelane_config_last_reload_timestamp_seconds", &[]);
        let before = at();
        proxy.reload(scheduler, routes);
        wait::until("it is reloaded", || at() > before);
    };
    let plain = proxy.connect("main");
    exchange(&plain, b"one", b"one");
    reload(&routes("accept_proxy_protocol = true", ""));
    let header = [HEADER, b"two"].concat();
    let announced = proxy.connect("main");
    exchange(&announced, &header, b"two");
    // One that is heard while the keys change goes on as it began.
    let mut heard = proxy.connect("main");
    heard.write_all(&HEADER[..20]).expect("send");
    wait::until("it is heard", || {
        list(&proxy).iter().any(|row| row["state"] == "prologue")
    });
    let send = "send_proxy_protocol = \"v1\"";
    reload(&routes(
        "accept_proxy_protocol = false\nprologue_timeout = \"1s\"",
        send,
    ));
    exchange(&heard, &[&HEADER[20..], b"three"].concat(), b"three");
    let told = proxy.connect("main");
    let line = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nfour",
        own(&told).port(),
        proxy.address("main").port()
    );
    exchange(&told, b"four", line.as_bytes());
    exchange(&plain, b"still here", b"still here");
    exchange(&announced, b"still here", b"still here");
}

/// A client whose header is under way when the proxy is to stop still gets its answer.
fn a_drain_waits_for_a_header(scheduler: Scheduler) {
    let server = peer::echo();
    let listener = "accept_proxy_protocol = true\nprologue_timeout = \"60s\"";
    let routes = forward_with(&[&server.address().to_string()], listener, "");
    let mut proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    client.write_all(&HEADER[..20]).expect("send");
    wait::until("it is heard", || list(&proxy).len() == 1);
    proxy.terminate();
    wait::until("nobody is taken any more", || {
        TcpStream::connect_timeout(&proxy.address("main"), Duration::from_secs(1)).is_err()
    });
    client
        .write_all(&[&HEADER[20..], b"hello"].concat())
        .expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
    drop(client);
    assert!(proxy.wait().success());
}

/// A client whose header is under way when the scheduler changes stays with the old one until it has a server; then it
/// follows.
fn a_switch_waits_for_a_header(scheduler: Scheduler) {
    let server = peer::echo();
    let listener = "accept_proxy_protocol = true\nprologue_timeout = \"60s\"";
    let routes = forward_with(&[&server.address().to_string()], listener, "");
    let proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    client.write_all(&HEADER[..20]).expect("send");
    wait::until("it is heard", || list(&proxy).len() == 1);
    let Some(other) = Scheduler::ALL
        .into_iter()
        .find(|other| *other != scheduler && other.usable())
    else {
        return;
    };
    let file = proxy.directory().join("corelane.toml");
    fs::write(file, proxy::configuration(other, "", &routes)).expect("write the configuration");
    proxy.signal(rustix::process::Signal::HUP);
    wait::until("the new scheduler runs", || {
        proxy.log().contains("another scheduler takes over")
    });
    client
        .write_all(&[&HEADER[20..], b"hello"].concat())
        .expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
    wait::until("the switch is over", || {
        let labels = [("to", other.name()), ("result", "success")];
        proxy.metric("corelane_runtime_switches_total", &labels) == 1.0
    });
    client.write_all(b"again").expect("send");
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"again");
    assert_eq!(
        proxy.metric("corelane_runtime_moved_connections_total", &[]),
        1.0
    );
    let rows = list(&proxy);
    assert_eq!(rows[0]["client"], ANNOUNCED);
}
