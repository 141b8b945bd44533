//! A process that may open few files: those who watch it are served, new clients wait, and everyone is told.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::harness::config::{forward, forward_with};
use crate::harness::http;
use crate::harness::peer::{self, Server};
use crate::harness::process::descriptors;
use crate::harness::proxy::{self, Proxy};
use crate::harness::restrict;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    clients_leave_descriptors_to_those_who_watch,
    pipes_leave_descriptors_to_those_who_watch,
    a_limit_that_max_connections_does_not_fit_is_said,
);

/// Files that the proxy may open.
const LIMIT: u64 = 64;

/// More clients than fit.
const CLIENTS: usize = 60;

/// What the log says of it.
const SAID: &str = "new connections wait in the backlog";

fn start(scheduler: Scheduler, limit: u64, routes: &str) -> Proxy {
    let mut command = proxy::command();
    restrict::with_descriptors(&mut command, limit);
    Proxy::start_command(command, &proxy::configuration(scheduler, "", routes))
}

/// Whoever watches gets an answer, several at a time and as often as they ask.
fn assert_watched(proxy: &Proxy) {
    const PATHS: [&str; 4] = ["/healthz", "/metrics", "/state", "/connections"];
    for _ in 0..3 {
        let open = PATHS.map(|path| (path, peer::connect(proxy.admin())));
        for (path, stream) in open {
            assert_eq!(http::get_on(stream, path).status, 200, "{path}");
        }
    }
}

/// Half of what is kept, at least, is free while few watch.
fn assert_some_are_kept(proxy: &Proxy) {
    let used = descriptors(proxy.pid()) as u64;
    assert!(used <= LIMIT - LIMIT / 8, "{used} of {LIMIT} in use");
}

fn clients_leave_descriptors_to_those_who_watch(scheduler: Scheduler) {
    // Greets.
    let server = Server::bind().serve(|mut stream| {
        let _ = stream.write_all(b"!");
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let proxy = start(scheduler, LIMIT, &forward(&[&server.address().to_string()]));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
    wait::until("the lack is said", || proxy.log().contains(SAID));
    assert_watched(&proxy);
    let reason = [("reason", "descriptors")];
    assert!(proxy.metric("corelane_listener_rejected_total", &reason) > 0.0);
    assert_some_are_kept(&proxy);
    // The log speaks of it once in a while.
    let log = proxy.log();
    assert!(log.matches(SAID).count() < 10, "{log}");
    // Nobody is turned away: as some go, others are served.
    let none = [("cause", "connect_failed")];
    for served in 0..CLIENTS {
        clients.retain(|client| {
            client.set_nonblocking(true).expect("a socket");
            let mut byte = [0];
            match (&*client).read(&mut byte) {
                Ok(count) => {
                    assert_eq!(count, 1, "a client was closed unserved, after {served}");
                    false
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    true
                }
            }
        });
        if clients.is_empty() {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(200));
    }
    assert!(clients.is_empty(), "{} still wait", clients.len());
    assert_eq!(proxy.metric("corelane_listener_ended_total", &none), 0.0);
    proxy.stop();
}

fn pipes_leave_descriptors_to_those_who_watch(scheduler: Scheduler) {
    const CLIENTS: usize = 12;
    // Says much, and reads nothing.
    let server = Server::bind().serve(|mut stream| {
        let _ = stream.write_all(&vec![0; 64 << 20]);
    });
    let proxy = start(scheduler, LIMIT, &forward(&[&server.address().to_string()]));
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
    thread::scope(|scope| {
        for mut client in &clients {
            scope.spawn(move || {
                let _ = client.write_all(&vec![0; 64 << 20]);
            });
        }
        wait::until("nothing moves any more", || {
            let moved = || {
                let metrics = proxy.metrics();
                metrics.get("corelane_listener_bytes_total", &[])
            };
            let before = moved();
            thread::sleep(std::time::Duration::from_millis(300));
            before > 0.0 && moved() == before
        });
        assert_some_are_kept(&proxy);
        assert_watched(&proxy);
        for client in &clients {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    });
    drop(clients);
    assert_watched(&proxy);
}

fn a_limit_that_max_connections_does_not_fit_is_said(scheduler: Scheduler) {
    let server = peer::echo();
    let servers = [&*server.address().to_string()];
    let limited = |max: usize| forward_with(&servers, &format!("max_connections = {max}"), "");
    let proxy = start(scheduler, 128, &limited(1000));
    let log = proxy.log();
    assert!(
        log.contains("max_connections allows 1000 connections"),
        "{log}"
    );
    assert!(log.contains("may have 128 files open"), "{log}");
    let proxy = start(scheduler, 1024, &limited(10));
    assert!(!proxy.log().contains("max_connections"), "{}", proxy.log());
}
