//! What servers are told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::*;
use crate::harness::config::{forward_with, route};
use crate::harness::hello::client_hello;
use crate::harness::peer::Server;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    the_server_is_told_the_name_and_the_protocol,
    unix_sockets_have_headers_and_are_announced,
    header_for_servers_of_plain_clients,
    what_comes_with_local_is_discarded_and_udp_stays_udp,
    health_checks,
);

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
    let said = client_hello("a.example", b"h2");
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

/// As the protocol says: LOCAL is about nobody. And a client of UDP is none of TCP.
fn what_comes_with_local_is_discarded_and_udp_stays_udp(scheduler: Scheduler) {
    const TLV: &[u8] = b"\xe0\0\x02hi";
    const ENDS: &[u8] = b"\xc0\0\x02\x07\xc0\0\x02\x01\xdc\x04\x01\xbb";
    let server = Server::bind();
    let (listener, sends) = (
        "accept_proxy_protocol = true",
        "send_proxy_protocol = \"v2\"",
    );
    let routes = forward_with(&[&server.address().to_string()], listener, sends);
    let proxy = Proxy::start(scheduler, &routes);
    let sent = |kind: &[u8], block: &[u8]| {
        let mut client = proxy.connect("main");
        let length = (block.len() as u16).to_be_bytes();
        let header = [b"\r\n\r\n\0\r\nQUIT\n", kind, &length, block].concat();
        client.write_all(&header).expect("send");
        let (header, tlvs) = receive_v2(&server.accept(), 12);
        (header[12..14].to_vec(), tlvs)
    };
    let both = [ENDS, TLV].concat();
    assert_eq!(sent(b"\x20\0", TLV), (b"\x21\x11".to_vec(), Vec::new()));
    assert_eq!(
        sent(b"\x21\x12", &both),
        (b"\x21\x12".to_vec(), TLV.to_vec())
    );
    assert_eq!(
        sent(b"\x21\x11", &both),
        (b"\x21\x11".to_vec(), TLV.to_vec())
    );
    proxy.stop();
}
