//! A reload, a drain and a switch while a header is on its way.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;
use crate::harness::config::forward_with;
use crate::harness::peer::{self};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    keys_change_by_a_reload,
    a_drain_waits_for_a_header,
    a_switch_waits_for_a_header,
);

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
