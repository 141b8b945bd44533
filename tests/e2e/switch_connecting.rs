//! A switch while a server lets the proxy wait: the connect goes on where it began, and the connection follows.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{SockAddr, Socket};

use crate::harness::bytes::{self, MIB, pattern};
use crate::harness::change;
use crate::harness::config::route;
use crate::harness::peer::{self, Full};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_connect_that_is_slow_ends_where_it_began_and_its_connection_follows,
    a_client_that_goes_while_its_server_is_waited_for_ends_the_switch,
    a_reload_does_not_wait_for_clients_that_are_still_heard,
);

/// More than the kernel keeps on the way.
const QUESTION: u64 = 12 * MIB;
const ANSWER: u64 = 3 * MIB;

/// What the server reads before the connection has followed.
const FIRST: usize = 64 * 1024;

/// Long enough for what must not happen.
const WHILE: Duration = Duration::from_millis(300);

/// Two servers that let wait, of each kind, and one that answers.
struct Scene {
    tcp: SocketAddr,
    unix: String,
}

impl Scene {
    fn text(&self, scheduler: Scheduler, cores: usize) -> String {
        let any = "127.0.0.1:0";
        let timeout = "connect_timeout = \"50s\"";
        let routes = [
            route("tcp", any, &[&self.tcp.to_string()], "", timeout),
            route("unix", any, &[&self.unix], "", timeout),
            route("main", any, &["builtin:echo"], "", ""),
        ];
        change::text(scheduler, cores, "", &routes.concat())
    }
}

/// A client that asks at once, and reads what it is told. What it sent and what it received.
fn ask(client: TcpStream, seed: u64) -> thread::JoinHandle<(bytes::Digest, bytes::Digest)> {
    thread::spawn(move || {
        let sent = bytes::send(&mut &client, seed, QUESTION);
        client.shutdown(Shutdown::Write).expect("half-close");
        (sent, bytes::receive(&mut &client))
    })
}

fn exchange(mut client: &TcpStream) {
    client.write_all(b"hello").expect("send");
    client.read_exact(&mut [0; 5]).expect("receive");
}

fn is_connecting(proxy: &Proxy, count: f64) {
    wait::until("the servers are waited for", || {
        proxy.metric("corelane_upstream_queue", &[]) == count
    });
}

fn a_connect_that_is_slow_ends_where_it_began_and_its_connection_follows(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    for (number, to) in Scheduler::ALL.into_iter().enumerate() {
        if !to.usable() {
            continue;
        }
        let path = folder.path().join(number.to_string());
        let unix_address = SockAddr::unix(&path).expect("a path");
        let (tcp, unix) = (Full::on_loopback(), Full::bind(&unix_address));
        let scene = Scene {
            tcp: tcp.address(),
            unix: format!("unix:{}", path.display()),
        };
        let proxy = Proxy::start_file(&scene.text(scheduler, 2));
        let asking = ["tcp", "unix"].map(|name| ask(proxy.connect(name), number as u64));
        is_connecting(&proxy, 2.0);
        // Other cores, where it is the same scheduler.
        change::reload(&proxy, &scene.text(to, 3));
        wait::until("the new scheduler is shown", || {
            change::shown(&proxy.metrics()) == (to, 3)
        });
        for _ in 0..8 {
            exchange(&proxy.connect("main"));
        }
        thread::sleep(WHILE);
        let metrics = proxy.metrics();
        assert_eq!(change::switched(&metrics), 0.0, "two have not left");
        assert_eq!(metrics.get("corelane_upstream_queue", &[]), 2.0);
        let mut servers = [tcp.accept(), unix.accept()];
        let first = servers.each_mut().map(|server| {
            let mut first = vec![0; FIRST];
            server.read_exact(&mut first).expect("the question");
            first
        });
        // They have neither sent nor received all.
        wait::until("the switch is over", || {
            change::switched(&proxy.metrics()) == 1.0
        });
        let moved = "corelane_runtime_moved_connections_total";
        assert_eq!(proxy.metric(moved, &[]), 2.0);
        for (first, server) in first.iter().zip(&servers) {
            assert!(*first == pattern(number as u64, FIRST), "other bytes");
            thread::scope(|scope| answer(scope, server, number as u64));
        }
        drop(servers);
        for asking in asking {
            let (sent, received) = asking.join().expect("it is answered");
            assert_eq!(sent.len, QUESTION);
            assert_eq!(received, bytes::digest(&pattern(9, ANSWER as usize)));
        }
        let ended = [("cause", "finished")];
        wait::until("all ends are counted", || {
            proxy.metric("corelane_listener_ended_total", &ended) == 10.0
        });
        let sent = [("listener", "tcp"), ("direction", "in")];
        let counted = proxy.metric("corelane_listener_bytes_total", &sent);
        assert_eq!(counted, QUESTION as f64);
        proxy.stop();
    }
}

/// Reads the rest of the question and answers.
fn answer<'scope>(scope: &'scope thread::Scope<'scope, '_>, server: &'scope Socket, seed: u64) {
    let sending = scope.spawn(|| bytes::send(&mut &*server, 9, ANSWER));
    let mut rest = pattern(seed, QUESTION as usize);
    rest.drain(..FIRST);
    assert_eq!(bytes::receive(&mut &*server), bytes::digest(&rest));
    sending.join().expect("it is sent");
    server.shutdown(Shutdown::Write).expect("half-close");
}

/// Nobody is left to wait for.
fn a_client_that_goes_while_its_server_is_waited_for_ends_the_switch(scheduler: Scheduler) {
    let tcp = Full::on_loopback();
    let scene = Scene {
        tcp: tcp.address(),
        unix: "unix:/nonexistent".to_owned(),
    };
    let proxy = Proxy::start_file(&scene.text(scheduler, 2));
    let client = proxy.connect("tcp");
    is_connecting(&proxy, 1.0);
    change::reload(&proxy, &scene.text(scheduler, 1));
    assert_eq!(change::switched(&proxy.metrics()), 0.0);
    peer::reset(client);
    wait::until("the switch is over", || {
        change::switched(&proxy.metrics()) == 1.0
    });
    let ended = [("cause", "client_reset")];
    assert_eq!(proxy.metric("corelane_listener_ended_total", &ended), 1.0);
    exchange(&proxy.connect("main"));
    proxy.stop();
}

/// Who says half of a header keeps a switch from its end, and nothing else: who is denied meanwhile is denied at once. Only another
/// switch waits.
fn a_reload_does_not_wait_for_clients_that_are_still_heard(scheduler: Scheduler) {
    let text = |scheduler, cores, lists: &str| {
        let any = "127.0.0.1:0";
        let hears = "accept_proxy_protocol = true\nprologue_timeout = \"1h\"";
        let routes = [
            route("main", any, &["builtin:echo"], lists, ""),
            route("late", any, &["builtin:echo"], hears, ""),
        ];
        change::text(scheduler, cores, "drain_timeout = \"1h\"", &routes.concat())
    };
    let mut others = Scheduler::ALL.into_iter();
    let to = others.find(|to| *to != scheduler && to.usable());
    let to = to.expect("Tokio has two modes");
    let proxy = Proxy::start_file(&text(scheduler, 2, ""));
    let open = proxy.connect("main");
    exchange(&open);
    let mut late = proxy.connect("late");
    late.write_all(b"PROXY TCP4 192.0.2.7 ").expect("send");
    wait::until("it is heard", || {
        proxy.metric("corelane_listener_connections", &[("listener", "late")]) == 1.0
    });
    change::reload(&proxy, &text(to, 1, ""));
    let denied = "deny = \"127.0.0.9\"";
    let serves = |last| {
        let client = peer::connect_from([127, 0, 0, last].into(), proxy.address("main"));
        let mut client = &client;
        client.write_all(b"?").is_ok() && client.read(&mut [0; 1]).is_ok_and(|size| size == 1)
    };
    assert!(serves(9));
    change::reload(&proxy, &text(to, 1, denied));
    assert!(!serves(9) && serves(8));
    assert_eq!(change::switched(&proxy.metrics()), 0.0);
    // Another scheduler waits for the end, and what is in force stays so.
    change::write(&proxy, &text(to, 2, denied));
    wait::until("it waits", || proxy.log().contains("a reload waits"));
    assert_eq!(change::shown(&proxy.metrics()), (to, 1));
    assert!(!serves(9) && serves(8));
    exchange(&open);
    late.write_all(b"192.0.2.1 5 443\r\n").expect("send");
    exchange(&late);
    wait::until("both are over", || {
        change::switched(&proxy.metrics()) == 2.0
    });
    assert_eq!(change::shown(&proxy.metrics()), (to, 2));
    exchange(&late);
    exchange(&open);
    drop((late, open));
    proxy.stop();
}
