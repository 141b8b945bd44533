//! Kinds of addresses to listen on and to connect to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use crate::harness::bytes::{MIB, receive, send};
use crate::harness::config::{forward, route};
use crate::harness::proxy::{self, Proxy};
use crate::harness::restrict::without_ipv6;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::DEADLINE;
use crate::harness::{http, peer};

each_scheduler!(
    unix_bind,
    unix_upstream,
    ipv6_bind,
    every_address,
    every_address_without_ipv6,
    every_admin_address,
    several_binds,
    name_of_a_host
);

fn assert_echoes(client: &mut (impl Read + Write)) {
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
}

fn unix_bind(scheduler: Scheduler) {
    let (echo, directory) = (peer::echo(), tempfile::tempdir().expect("directory"));
    let path = directory.path().join("in.sock");
    let bind = format!("unix:{}", path.display());
    let proxy = Proxy::start(
        scheduler,
        &route("main", &bind, &[&echo.address().to_string()], "", ""),
    );
    assert_eq!(proxy.addresses("main"), [bind]);
    for _ in 0..20 {
        let mut client = UnixStream::connect(&path).expect("connect");
        client.set_read_timeout(Some(DEADLINE)).expect("timeout");
        assert_echoes(&mut client);
    }
}

fn unix_upstream(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let server = format!("unix:{}", path.display());
    let proxy = Proxy::start(scheduler, &forward(&[&server]));
    let client = proxy.connect("main");
    let (mut upstream, _) = listener.accept().expect("the proxy connects");
    // Half-close and a full buffer behave on these sockets as on TCP.
    let sender = thread::spawn(move || {
        let sent = send(&mut &client, 8, 10 * MIB);
        client
            .shutdown(std::net::Shutdown::Write)
            .expect("shutdown");
        (sent, receive(&mut &client))
    });
    let at_server = receive(&mut upstream);
    let answered = send(&mut upstream, 9, 10 * MIB);
    drop(upstream);
    assert_eq!(sender.join().expect("client"), (at_server, answered));
}

fn has_ipv6() -> bool {
    let has = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !has {
        println!("skipped: this machine has no IPv6 loopback");
    }
    has
}

fn ipv6_bind(scheduler: Scheduler) {
    if !has_ipv6() {
        return;
    }
    let echo = peer::echo();
    let servers = [echo.address().to_string()];
    let proxy = Proxy::start(scheduler, &route("main", "[::1]:0", &[&servers[0]], "", ""));
    assert!(proxy.address("main").is_ipv6());
    assert_echoes(&mut proxy.connect("main"));
    // Every IPv6 address is no IPv4 one.
    let proxy = Proxy::start(scheduler, &route("main", "[::]:0", &[&servers[0]], "", ""));
    let port = proxy.address("main").port();
    assert_echoes(&mut peer::connect(([0, 0, 0, 0, 0, 0, 0, 1], port).into()));
    TcpStream::connect(("127.0.0.1", port)).expect_err("it is for IPv6 only");
}

/// The port of `*:PORT`, as it is printed.
fn port_of_every(printed: &str) -> u16 {
    let port = printed
        .strip_prefix("*:")
        .and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("{printed} is not *:PORT"))
}

/// Connects, and returns how the proxy calls the client.
fn shown_client(proxy: &Proxy, server: SocketAddr) -> (String, SocketAddr) {
    let mut client = peer::connect(server);
    assert_echoes(&mut client);
    let list = proxy.get("/connections").body;
    let list: serde_json::Value = serde_json::from_slice(&list).expect("JSON");
    let own = client.local_addr().expect("address");
    let rows = list["connections"].as_array().expect("an array");
    let mut clients = rows
        .iter()
        .map(|row| row["client"].as_str().expect("a string"));
    let suffix = format!(":{}", own.port());
    let shown = clients.find(|client| client.ends_with(&suffix));
    (shown.expect("it is listed").to_owned(), own)
}

fn every_address(scheduler: Scheduler) {
    if !has_ipv6() {
        return;
    }
    let echo = peer::echo();
    let proxy = Proxy::start(
        scheduler,
        &route("main", "*:0", &[&echo.address().to_string()], "", ""),
    );
    let addresses = proxy.addresses("main");
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    let port = port_of_every(addresses[0]);
    for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
        let server = SocketAddr::new(ip.parse().expect("an address"), port);
        let (shown, own) = shown_client(&proxy, server);
        assert_eq!(shown, own.to_string());
    }
    assert_eq!(
        proxy.metric(
            "corelane_listener_connections_total",
            &[("listener", "main")]
        ),
        3.0
    );
}

fn every_address_without_ipv6(scheduler: Scheduler) {
    let echo = peer::echo();
    let routes = route("main", "*:0", &[&echo.address().to_string()], "", "");
    let mut command = proxy::command();
    without_ipv6(&mut command);
    let proxy = Proxy::start_command(command, &proxy::configuration(scheduler, "", &routes));
    // What it prints is what it has.
    let printed = proxy.address("main");
    assert_eq!(printed.ip().to_string(), "0.0.0.0");
    let server = SocketAddr::from(([127, 0, 0, 1], printed.port()));
    let (shown, own) = shown_client(&proxy, server);
    assert_eq!(shown, own.to_string());
}

fn every_admin_address(scheduler: Scheduler) {
    if !has_ipv6() {
        return;
    }
    let config = proxy::configuration(scheduler, "", &forward(&["builtin:echo"]));
    let with = |listen: &str| {
        let admin = format!("listen = \"{listen}\"");
        Proxy::start_file(&config.replace("listen = \"127.0.0.1:0\"", &admin))
    };
    let loopback = |port: u16| {
        ["127.0.0.1", "::1"].map(|ip| (ip.parse::<std::net::IpAddr>().expect("an IP"), port))
    };
    let both = with("*:0");
    for address in loopback(both.admin().port()) {
        assert_eq!(http::get(SocketAddr::from(address), "/healthz").status, 200);
    }
    let ipv6_only = with("[::]:0");
    let [ipv4, ipv6] = loopback(ipv6_only.admin().port());
    assert_eq!(http::get(SocketAddr::from(ipv6), "/healthz").status, 200);
    TcpStream::connect(SocketAddr::from(ipv4)).expect_err("it is for IPv6 only");
}

fn several_binds(scheduler: Scheduler) {
    let echo = peer::echo();
    let routes = format!(
        "[listeners.main]\nbind = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\nupstream = \"main\"\n\
         [upstreams.main]\nservers = [\"{}\"]\n",
        echo.address()
    );
    let proxy = Proxy::start(scheduler, &routes);
    let addresses = proxy.addresses("main");
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    for address in addresses {
        let address: SocketAddr = address.parse().expect("an address and a port");
        assert_echoes(&mut peer::connect(address));
    }
}

fn name_of_a_host(scheduler: Scheduler) {
    let echo = peer::echo();
    let server = format!("localhost:{}", echo.address().port());
    let proxy = Proxy::start(scheduler, &forward(&[&server]));
    assert_echoes(&mut proxy.connect("main"));
}
