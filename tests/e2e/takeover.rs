//! One process after another at the same addresses: the old one drains, or was killed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::config::route;
use crate::harness::peer::{self, Server};
use crate::harness::port;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_successor_s_unix_socket_outlives_the_drain,
    a_file_in_a_unix_socket_s_place_is_left_alone,
    a_successor_starts_while_the_drain_goes_on,
    a_killed_proxy_is_started_again_at_once,
    addresses_that_come_free_are_taken,
);

/// Longer than a test lasts: what drains waits for its connection.
const DRAIN: &str = "drain_timeout = \"1h\"\n";

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port::free()))
}

/// A configuration whose listener and admin server have these addresses.
fn at(scheduler: Scheduler, bind: &str, admin: SocketAddr, servers: &[&str]) -> String {
    let routes = route("main", bind, servers, "", "");
    configuration(scheduler, DRAIN, &routes)
        .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{admin}\""))
}

fn assert_echoes(client: &mut (impl Read + Write)) {
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
}

fn unix_client(path: &std::path::Path) -> UnixStream {
    let client = UnixStream::connect(path).expect("connect");
    client
        .set_read_timeout(Some(wait::DEADLINE))
        .expect("timeout");
    client
}

fn a_successor_s_unix_socket_outlives_the_drain(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("in.sock");
    let bind = format!("unix:{}", path.display());
    let start = || Proxy::start_file(&at(scheduler, &bind, loopback(), &["builtin:echo"]));
    let mut old = start();
    let mut client = unix_client(&path);
    assert_echoes(&mut client);
    old.terminate();
    wait::until("/readyz says 503", || old.get("/readyz").status == 503);
    let new = start();
    assert_echoes(&mut unix_client(&path));
    // The old one's connection goes on, and its end leaves the new one's file alone.
    assert_echoes(&mut client);
    drop(client);
    assert_eq!(old.wait().code(), Some(0));
    assert_echoes(&mut unix_client(&path));
    new.stop();
    assert!(!path.exists(), "its own file is left behind");
}

fn a_file_in_a_unix_socket_s_place_is_left_alone(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("in.sock");
    let bind = format!("unix:{}", path.display());
    let proxy = Proxy::start_file(&at(scheduler, &bind, loopback(), &["builtin:echo"]));
    // Somebody else puts a socket of theirs there, without asking.
    std::fs::remove_file(&path).expect("remove");
    let _other = std::os::unix::net::UnixListener::bind(&path).expect("bind");
    proxy.stop();
    UnixStream::connect(&path).expect("the other one's file is there");
}

fn a_successor_starts_while_the_drain_goes_on(scheduler: Scheduler) {
    let server = Server::bind();
    let servers = [&*server.address().to_string()];
    let (bind, admin) = (loopback().to_string(), loopback());
    let config = at(scheduler, &bind, admin, &servers);
    let mut old = Proxy::start_file(&config);
    let mut client = old.connect("main");
    let mut upstream = server.accept();
    old.terminate();
    // The drain is watched at the old one's address.
    wait::until("/readyz says 503", || old.get("/readyz").status == 503);
    assert_eq!(old.get("/healthz").status, 200);

    let new = Proxy::start_file(&config);
    assert_eq!(new.admin(), admin);
    // From here on it is the new one that answers there.
    assert_eq!(new.get("/readyz").status, 200);
    let _second = new.connect("main");
    let _second_upstream = server.accept();
    upstream.write_all(b"!").expect("send");
    client
        .read_exact(&mut [0; 1])
        .expect("the old one forwards");
    drop((client, upstream));
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(new.get("/readyz").status, 200);
}

/// The kernel keeps the addresses of a process that is killed for as long as it takes its io_uring apart.
fn a_killed_proxy_is_started_again_at_once(scheduler: Scheduler) {
    const TIMES: usize = 5;
    const CONNECTIONS: usize = 50;
    let server = Server::bind();
    let servers = [&*server.address().to_string()];
    let config = at(scheduler, &loopback().to_string(), loopback(), &servers);
    let mut proxy = Proxy::start_file(&config);
    for _ in 0..TIMES {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| proxy.connect("main")).collect();
        let upstreams: Vec<_> = (0..CONNECTIONS).map(|_| server.accept()).collect();
        proxy.signal(Signal::KILL);
        proxy.wait();
        // It starts or the test fails.
        proxy = Proxy::start_file(&config);
        drop((clients, upstreams));
    }
    proxy.stop();
}

fn addresses_that_come_free_are_taken(scheduler: Scheduler) {
    let (bind, admin) = (loopback(), loopback());
    let held = [bind, admin].map(Server::bind_at);
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("corelane.toml");
    let config = at(scheduler, &bind.to_string(), admin, &["builtin:echo"]);
    std::fs::write(&file, config).expect("write");
    let mut child = Child::spawn(proxy::command().arg("run").arg(&file), Signal::KILL);
    let lines = |child: &Child, address: SocketAddr, text: &str| {
        let log = child.log();
        let named = log
            .lines()
            .filter(|line| line.contains(&address.to_string()));
        named.filter(|line| line.contains(text)).count()
    };
    let (waits, is_free) = ("in use; trying again", "free now");
    for (listener, address) in held.into_iter().zip([bind, admin]) {
        // It starts, or ends, when it has waited for long.
        wait::until("it waits for the address", || {
            lines(&child, address, waits) == 1 || child.exit_status().is_some()
        });
        drop(listener);
        wait::until("the address is taken", || {
            lines(&child, address, is_free) == 1 || child.exit_status().is_some()
        });
    }
    wait::until("it is ready", || {
        child.log().lines().any(|line| line == "ready") || child.exit_status().is_some()
    });
    for address in [bind, admin] {
        let counts = [waits, is_free].map(|text| lines(&child, address, text));
        assert_eq!(counts, [1, 1], "{address}:\n{}", child.log());
    }
    assert_echoes(&mut peer::connect(bind));
    TcpStream::connect(admin).expect("the admin server listens");
    child.signal(Signal::TERM);
    assert_eq!(child.wait().code(), Some(0), "{}", child.log());
}
