//! SIGTERM: what is under way finishes, nothing new begins, and the wait is bounded.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::bytes::{MIB, receive, send};
use crate::harness::config::{forward, route};
use crate::harness::halt::Halted;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    transfer_finishes,
    drain_timeout,
    second_signal,
    when_idle,
    a_late_worker_serves_its_backlog,
    a_unix_backlog_is_served_too,
    what_is_cut_is_said,
    clients_that_keep_coming_hold_nothing_up,
);

/// Clients that wait while the workers have no time.
const WAITING: usize = 20;

/// Threads that connect as fast as they can.
const FLOODS: usize = 3;

/// Long enough for a proxy that thinks that nothing is left to have ended.
const WHILE_LATE: Duration = Duration::from_millis(500);

fn start(scheduler: Scheduler, drain_timeout: &str) -> (Server, Proxy) {
    let server = Server::bind();
    let runtime = format!("drain_timeout = \"{drain_timeout}\"\n");
    let routes = forward(&[&server.address().to_string()]);
    let proxy = Proxy::start_with(scheduler, &runtime, &routes);
    (server, proxy)
}

fn established(server: &Server, proxy: &Proxy) -> (TcpStream, TcpStream) {
    let mut client = proxy.connect("main");
    let mut upstream = server.accept();
    upstream.write_all(b"!").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    (client, upstream)
}

/// From here on the proxy takes no connection: the balancer in front of it learns so, and clients too.
fn wait_until_draining(proxy: &Proxy) {
    wait::until("/readyz says 503", || proxy.get("/readyz").status == 503);
    assert_eq!(proxy.get("/healthz").status, 200, "/healthz while draining");
    let address = proxy.address("main");
    wait::until("new connections are refused", || {
        // One that is still admitted would be drained too, and its server says nothing: end it for good.
        TcpStream::connect(address).map(peer::reset).is_err()
    });
}

fn transfer_finishes(scheduler: Scheduler) {
    let (server, mut proxy) = start(scheduler, "1h");
    let (mut client, mut upstream) = established(&server, &proxy);
    let (to_the_middle, middle) = std::sync::mpsc::channel();
    let sender = std::thread::spawn(move || {
        let first = send(&mut upstream, 1, 5 * MIB);
        let () = middle.recv().expect("the drain has begun");
        (first, send(&mut upstream, 2, 5 * MIB))
    });
    let first = receive(&mut (&client).take(5 * MIB));
    proxy.terminate();
    wait_until_draining(&proxy);
    to_the_middle.send(()).expect("sender");
    let second = receive(&mut client);
    assert_eq!((first, second), sender.join().expect("sender"));
    drop(client);
    assert_eq!(proxy.wait().code(), Some(0));
}

fn drain_timeout(scheduler: Scheduler) {
    let (server, mut proxy) = start(scheduler, "500ms");
    let (mut client, _upstream) = established(&server, &proxy);
    proxy.terminate();
    // The client stays for good; the proxy doesn't.
    assert_eq!(proxy.wait().code(), Some(0));
    let _ = peer::end_of(&mut client);
}

fn second_signal(scheduler: Scheduler) {
    let (server, mut proxy) = start(scheduler, "1h");
    let (mut client, _upstream) = established(&server, &proxy);
    proxy.terminate();
    wait_until_draining(&proxy);
    proxy.terminate();
    proxy.wait();
    let _ = peer::end_of(&mut client);
}

fn when_idle(scheduler: Scheduler) {
    let (_server, proxy) = start(scheduler, "1h");
    proxy.stop();
}

/// SIGTERM, and the drain has begun.
fn begin_drain(proxy: &Proxy) {
    proxy.terminate();
    wait::until("the drain begins", || proxy.log().contains("draining"));
}

/// What a client has of its echo, in the end.
fn echoed(mut stream: impl Read) -> String {
    let mut text = [0; 5];
    match stream.read_exact(&mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => error.to_string(),
    }
}

fn a_late_worker_serves_its_backlog(scheduler: Scheduler) {
    let server = peer::echo();
    let runtime = "drain_timeout = \"1h\"\n";
    let routes = forward(&[&server.address().to_string()]);
    let mut proxy = Proxy::start_with(scheduler, runtime, &routes);
    let Some(late) = Halted::workers(proxy.pid()) else {
        return;
    };
    let clients: Vec<_> = (0..WAITING).map(|_| proxy.connect("main")).collect();
    for mut client in &clients {
        client.write_all(b"hello").expect("send");
    }
    begin_drain(&proxy);
    thread::sleep(WHILE_LATE);
    let nobody = TcpStream::connect_timeout(&proxy.address("main"), WHILE_LATE);
    assert!(nobody.is_err(), "a drain takes new connections");
    assert!(!proxy.log().contains("drained"), "{}", proxy.log());
    drop(late);
    for client in &clients {
        assert_eq!(echoed(client), "hello");
    }
    drop(clients);
    assert_eq!(proxy.wait().code(), Some(0));
    wait::until("it says so", || proxy.log().contains("drained"));
    assert!(!proxy.log().contains("reset"), "{}", proxy.log());
}

fn a_unix_backlog_is_served_too(scheduler: Scheduler) {
    let server = peer::echo();
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("s");
    let servers = [&*server.address().to_string()];
    let bind = format!("unix:{}", path.display());
    let routes = route("main", &bind, &servers, "", "");
    let mut proxy = Proxy::start_with(scheduler, "drain_timeout = \"1h\"\n", &routes);
    let Some(late) = Halted::workers(proxy.pid()) else {
        return;
    };
    let clients: Vec<_> = (0..WAITING)
        .map(|_| UnixStream::connect(&path).expect("it listens"))
        .collect();
    for mut client in &clients {
        client.write_all(b"hello").expect("send");
    }
    begin_drain(&proxy);
    thread::sleep(WHILE_LATE);
    assert!(
        UnixStream::connect(&path).is_err(),
        "a drain takes new connections"
    );
    drop(late);
    for client in &clients {
        assert_eq!(echoed(client), "hello");
    }
    drop(clients);
    assert_eq!(proxy.wait().code(), Some(0));
}

fn what_is_cut_is_said(scheduler: Scheduler) {
    let (server, mut proxy) = start(scheduler, "500ms");
    let (_client, _upstream) = established(&server, &proxy);
    let Some(late) = Halted::workers(proxy.pid()) else {
        return;
    };
    let clients: Vec<_> = (0..WAITING).map(|_| proxy.connect("main")).collect();
    proxy.terminate();
    wait::until("it gives up", || proxy.log().contains("stopped before"));
    let log = proxy.log();
    let said = format!("connections=1 waiting={WAITING} listeners=1");
    assert!(log.contains(&said), "{log}");
    assert!(!log.contains("drained"), "{log}");
    drop(late);
    assert_eq!(proxy.wait().code(), Some(0));
    drop(clients);
}

/// Connects as fast as it can, and resets what it has, until told.
fn flood(address: SocketAddr, over: &AtomicBool) {
    const OPEN_MAX: usize = 256;
    let mut open = std::collections::VecDeque::new();
    for number in 0_u32.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("socket");
        let source = Ipv4Addr::from(0x7f01_0001 + number % 4000);
        socket
            .set_linger(Some(Duration::ZERO))
            .and_then(|()| socket.bind(&SocketAddr::from((source, 0)).into()))
            .expect("an address of loopback's");
        // Under way, done or refused: it goes on.
        let _ = socket.connect(&address.into());
        open.push_back(socket);
        if open.len() > OPEN_MAX {
            open.pop_front();
        }
    }
}

fn clients_that_keep_coming_hold_nothing_up(scheduler: Scheduler) {
    let runtime = "drain_timeout = \"1h\"\n";
    let routes = forward(&["builtin:echo"]);
    // One worker, so that it has less time than those who come.
    let configuration = proxy::configuration(scheduler, runtime, &routes);
    let configuration = configuration.replace("cores = 2", "cores = 1");
    let mut proxy = Proxy::start_file(&configuration);
    let address = proxy.address("main");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = wait::End(&over);
        for _ in 0..FLOODS {
            scope.spawn(|| flood(address, &over));
        }
        wait::until("the flood has come", || {
            proxy.metric("corelane_listener_connections_total", &[]) > 1000.0
        });
        proxy.terminate();
        assert_eq!(proxy.wait().code(), Some(0));
    });
    wait::until("it says so", || proxy.log().contains("drained"));
    assert!(!proxy.log().contains("stopped before"), "{}", proxy.log());
}
