//! Kinds of addresses to listen on and to connect to.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use crate::harness::bytes::{MIB, receive, send};
use crate::harness::config::{forward, route};
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::DEADLINE;

each_scheduler!(
    unix_bind,
    unix_upstream,
    ipv6_bind,
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

fn ipv6_bind(scheduler: Scheduler) {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return println!("skipped: this machine has no IPv6 loopback");
    }
    let echo = peer::echo();
    let servers = [echo.address().to_string()];
    let proxy = Proxy::start(scheduler, &route("main", "[::1]:0", &[&servers[0]], "", ""));
    assert!(proxy.address("main").is_ipv6());
    assert_echoes(&mut proxy.connect("main"));
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
