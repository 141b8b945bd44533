//! A process that may open few files: those who watch it are served, new clients wait, and everyone is told.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::harness::change;
use crate::harness::config::{forward, forward_with, route};
use crate::harness::http;
use crate::harness::peer::{self, Server, Service};
use crate::harness::process::descriptors;
use crate::harness::proxy::{self, Proxy};
use crate::harness::restrict;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    clients_leave_descriptors_to_those_who_watch,
    pipes_leave_descriptors_to_those_who_watch,
    a_drain_waits_until_there_are_descriptors_again,
    a_switch_loses_nobody_who_waits_for_descriptors,
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

/// A proxy of few descriptors in front of a server that greets, and more clients than fit.
fn crowd(scheduler: Scheduler) -> (Service, Proxy, Vec<TcpStream>) {
    let server = Server::bind().serve(|mut stream| {
        let _ = stream.write_all(b"!");
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let proxy = start(scheduler, LIMIT, &forward(&[&server.address().to_string()]));
    let clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
    wait::until("the lack is said", || proxy.log().contains(SAID));
    (server, proxy, clients)
}

/// The number after `before` in a text.
fn number_after(text: &str, before: &str) -> u64 {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before:?} in {text}"));
    let digits = rest.chars().take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().expect("a number")
}

/// Has those go who are served, until nobody is left. None of them may be turned away.
fn serve_all(mut clients: Vec<TcpStream>) {
    for client in &clients {
        client.set_nonblocking(true).expect("a socket");
    }
    wait::until("all are served", || {
        clients.retain(|mut client| match client.read(&mut [0]) {
            Ok(count) => {
                assert_eq!(count, 1, "a client was closed unserved");
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                true
            }
        });
        clients.is_empty()
    });
}

fn clients_leave_descriptors_to_those_who_watch(scheduler: Scheduler) {
    let (_server, proxy, clients) = crowd(scheduler);
    assert_watched(&proxy);
    let reason = [("reason", "descriptors")];
    assert!(proxy.metric("corelane_listener_rejected_total", &reason) > 0.0);
    // The page says how many fit, the same as the log, and so many are served.
    let state = proxy.get("/state").body;
    let state = String::from_utf8(state).expect("UTF-8");
    let fit = number_after(&state, "allow no more than ");
    assert_eq!(fit, number_after(&proxy.log(), "enough_for="), "{state}");
    let open = proxy.metric("corelane_listener_connections", &[]) as u64;
    assert!(open.abs_diff(fit) <= 2, "{open} are open, and {fit} fit");
    assert_some_are_kept(&proxy);
    // The log speaks of it once in a while.
    let log = proxy.log();
    assert!(log.matches(SAID).count() < 10, "{log}");
    serve_all(clients);
    let none = [("cause", "connect_failed")];
    assert_eq!(proxy.metric("corelane_listener_ended_total", &none), 0.0);
    proxy.stop();
}

fn a_drain_waits_until_there_are_descriptors_again(scheduler: Scheduler) {
    let (_server, mut proxy, clients) = crowd(scheduler);
    proxy.terminate();
    wait::until("the drain begins", || proxy.log().contains("draining"));
    serve_all(clients);
    assert_eq!(proxy.wait().code(), Some(0));
    wait::until("it says so", || proxy.log().contains("drained"));
}

/// Nor does it wait for them.
fn a_switch_loses_nobody_who_waits_for_descriptors(scheduler: Scheduler) {
    // Enough for two schedulers.
    const LIMIT: u64 = 400;
    const CLIENTS: usize = 220;
    let server = Server::bind().serve(|mut stream| {
        let _ = stream.write_all(b"!");
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let routes = route(
        "main",
        "127.0.0.1:0",
        &[&server.address().to_string()],
        "",
        "",
    );
    let text =
        |scheduler, cores| change::text(scheduler, cores, "drain_timeout = \"1h\"\n", &routes);
    let mut command = proxy::command();
    restrict::with_descriptors(&mut command, LIMIT);
    let proxy = Proxy::start_command(command, &text(scheduler, 2));
    let clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
    wait::until("the lack is said", || proxy.log().contains(SAID));
    let mut all = Scheduler::ALL.into_iter();
    let others = all.by_ref().filter(|to| *to != scheduler && to.usable());
    for to in others.chain([scheduler]) {
        change::switch(&proxy, &text(to, 1));
    }
    serve_all(clients);
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
    // The log is written by a thread of its own.
    let has_logged = |proxy: &Proxy| wait::until("it logs", || proxy.log().contains("running"));
    has_logged(&proxy);
    proxy.logs("max_connections allows 1000 connections");
    proxy.logs("may have 128 files open");
    let proxy = start(scheduler, 1024, &limited(10));
    has_logged(&proxy);
    assert!(!proxy.log().contains("max_connections"), "{}", proxy.log());
}
