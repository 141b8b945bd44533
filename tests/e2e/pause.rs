//! A process that stood still (SIGSTOP, `docker pause`, a frozen machine) takes nothing for idle that came meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::config::forward_with;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upstream_failure::Blackhole;

each_scheduler!(
    bytes_of_a_pause_longer_than_the_idle_timeout_are_forwarded,
    what_a_pause_hid_from_a_full_side_goes_on,
    an_answer_that_a_pause_hid_while_connecting_arrives,
);

const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

fn bytes_of_a_pause_longer_than_the_idle_timeout_are_forwarded(scheduler: Scheduler) {
    let echo = peer::echo();
    let idle = format!("idle_timeout = \"{}s\"", IDLE_TIMEOUT.as_secs());
    let routes = forward_with(&[&echo.address().to_string()], &idle, "");
    let proxy = Proxy::start(scheduler, &routes);
    let mut clients = stopped_in_time(&proxy);
    for client in &mut clients {
        client.write_all(b"b").expect("send");
    }
    thread::sleep(2 * IDLE_TIMEOUT);
    proxy.signal(Signal::CONT);
    for client in &mut clients {
        let mut byte = [0; 1];
        client.read_exact(&mut byte).expect("the echo");
        assert_eq!(&byte, b"b");
    }
    // It still ends who says nothing.
    wait::until("the idle ones end", || {
        proxy.metric("corelane_listener_connections", &[("listener", "main")]) == 0.0
    });
}

/// Clients of a proxy that stands still, none of which was idle for too long before.
fn stopped_in_time(proxy: &Proxy) -> Vec<TcpStream> {
    let begun_at = Instant::now();
    loop {
        let tried_at = Instant::now();
        let clients: Vec<_> = (0..10).map(|_| proxy.connect("main")).collect();
        let is_served = clients.iter().all(|mut client| {
            let served = client.write_all(b"a");
            served.and_then(|()| client.read_exact(&mut [0; 1])).is_ok()
        });
        proxy.pause();
        if is_served && tried_at.elapsed() < IDLE_TIMEOUT {
            return clients;
        }
        // The machine had no time for them.
        proxy.signal(Signal::CONT);
        assert!(
            begun_at.elapsed() < wait::DEADLINE,
            "is served: {is_served}"
        );
    }
}

/// A server that took nothing makes room while the proxy stands still.
fn what_a_pause_hid_from_a_full_side_goes_on(scheduler: Scheduler) {
    const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
    let server = Server::bind();
    let idle = format!("idle_timeout = \"{}s\"", IDLE_TIMEOUT.as_secs());
    let routes = forward_with(&[&server.address().to_string()], &idle, "");
    let proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    client.write_all(b"x").expect("send");
    let mut upstream = server.accept();
    client.set_nonblocking(true).expect("an option");
    let mut sent = 1;
    let chunk = vec![b'u'; 64 * 1024];
    // Until all buffers are full.
    while wait::holds_within(Duration::from_millis(200), || match client.write(&chunk) {
        Ok(count) => {
            sent += count;
            true
        }
        Err(_) => false,
    }) {}
    proxy.pause();
    let mut received = 0;
    upstream.set_nonblocking(true).expect("an option");
    let mut buffer = vec![0; 64 * 1024];
    let mut take = |upstream: &mut std::net::TcpStream| match upstream.read(&mut buffer) {
        Ok(0) => panic!("an end that nobody sent"),
        Ok(count) => count,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error} with bytes left"),
    };
    thread::sleep(IDLE_TIMEOUT + Duration::from_secs(1));
    loop {
        match take(&mut upstream) {
            0 => break,
            count => received += count,
        }
    }
    proxy.signal(Signal::CONT);
    wait::until("all bytes", || {
        received += take(&mut upstream);
        received == sent
    });
}

/// The server accepts, answers and resets while the proxy, which waits for its connect, stands still until long after the
/// connect's timeout.
fn an_answer_that_a_pause_hid_while_connecting_arrives(scheduler: Scheduler) {
    const ANSWER: &[u8] = b"503 come back later";
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
    let server = Blackhole::open();
    let timeout = format!("connect_timeout = \"{}s\"", CONNECT_TIMEOUT.as_secs());
    let routes = forward_with(&[&server.address], "", &timeout);
    let proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    wait::until("it connects", || {
        proxy.metric("corelane_upstream_connections", &[]) == 1.0
    });
    let begun_at = Instant::now();
    proxy.pause();
    loop {
        let mut stream = server.accept();
        if server.is_filler(&stream) {
            continue;
        }
        stream.write_all(ANSWER).expect("send");
        wait::until("the proxy's machine has it", || {
            proxy_sys::unacknowledged(&stream).expect("a count") == 0
        });
        peer::reset(stream);
        break;
    }
    thread::sleep(CONNECT_TIMEOUT.saturating_sub(begun_at.elapsed()) + Duration::from_secs(1));
    proxy.signal(Signal::CONT);
    let mut answer = Vec::new();
    let error = client.read_to_end(&mut answer).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(answer, ANSWER);
    let failures = proxy.metric("corelane_upstream_connect_failures_total", &[]);
    assert_eq!(failures, 0.0, "it was connected");
}
