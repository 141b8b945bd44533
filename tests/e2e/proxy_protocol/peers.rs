//! HAProxy and nginx on both sides.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use super::*;
use crate::harness::bytes::{Hasher, MIB, digest, send};
use crate::harness::config::{forward_with, route};
use crate::harness::http;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::haproxy::Haproxy;
use crate::service::nginx::{Nginx, NginxStream};

each_scheduler!(
    haproxy_in_front_and_behind,
    nginx_in_front_and_behind,
    bytes_in_both_directions,
);

/// Checks of the servers have headers, too, which HAProxy and nginx insist on.
const CHECKED: &str = "[upstreams.NAME.health]\ntype = \"http\"\nhttp = { path = \"/client\" }\ninterval = \"100ms\"\ntimeout = \"10s\"";

fn checked(name: &str, upstream: &str) -> String {
    format!("{upstream}\n{}", CHECKED.replace("NAME", name))
}

fn expect_checks_to_pass(proxy: &Proxy, upstream: &str) {
    let results = || {
        let metrics = proxy.metrics();
        let name = "corelane_upstream_health_checks_total";
        let all: f64 = metrics
            .series(name, &[("upstream", upstream)])
            .map(|(_, count)| count)
            .sum();
        let passed = [("upstream", upstream), ("result", "passed")];
        (metrics.get(name, &passed), all)
    };
    wait::until("checks pass", || results().0 >= 2.0);
    let (passed, all) = results();
    assert_eq!(passed, all, "{upstream}");
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
            &checked("v1", "send_proxy_protocol = \"v1\""),
        ),
        route(
            "v2",
            "127.0.0.1:0",
            &[&server],
            accept,
            &checked(
                "v2",
                "send_proxy_protocol = \"v2\"\nproxy_tlvs = [\"crc32c\"]",
            ),
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
        expect_checks_to_pass(&proxy, name);
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
        let send = checked("main", &format!("send_proxy_protocol = \"{version}\""));
        let routes = forward_with(&[&server], "accept_proxy_protocol = \"required\"", &send);
        let proxy = Proxy::start(scheduler, &routes);
        let front = NginxStream::start(proxy.address("main"));
        let client = peer::connect_from(CLIENT, front.address);
        let address = own(&client).to_string();
        assert_eq!(text(http::get_on(client, "/client")), address);
        let client = peer::connect_from(CLIENT, front.address);
        let answer = http::get_on(client, "/large");
        assert_eq!(digest(&answer.body), written);
        expect_checks_to_pass(&proxy, "main");
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
