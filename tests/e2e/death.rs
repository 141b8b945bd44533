//! A worker that loses what it gets its events from is replaced: clients are served, or reset, and never left to wait.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::harness::config::{forward, forward_with};
use crate::harness::doom;
use crate::harness::peer;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    workers_that_lose_their_reactors_are_replaced,
    a_reactor_that_is_half_there_serves_or_is_replaced,
    a_reactor_that_is_half_there_connects_or_is_replaced,
);

/// Enough for the kernel to choose each worker.
const CLIENTS: usize = 40;

/// A library that spoils descriptors of the process that it is loaded into.
fn spoiler(directory: &Path) -> Option<PathBuf> {
    doom::library(directory, "spoil.c")
}

/// Has descriptors of the proxy lead to its stdin, /dev/null.
fn spoil(proxy: &Proxy, list: &Path, descriptors: &[i32]) {
    let lines = descriptors
        .iter()
        .map(|descriptor| format!("{descriptor}\n"));
    fs::write(list, lines.collect::<String>()).expect("write");
    proxy.signal(Signal::WINCH);
}

/// What the workers get their events from: all of it, except what the other threads have.
fn reactors(pid: u32, scheduler: Scheduler) -> Vec<i32> {
    let kind = match scheduler {
        Scheduler::Glommio => "io_uring",
        Scheduler::WorkStealing | Scheduler::PerCore => "eventpoll",
    };
    let directory = fs::read_dir(format!("/proc/{pid}/fd")).expect("fd");
    let mut found: Vec<i32> = directory
        .flatten()
        .filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains(kind))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    found.sort_unstable();
    if kind == "eventpoll" {
        // Tokio has two descriptors a reactor: the main thread's are the first, the admin server's the last.
        found.drain(..2);
        found.truncate(found.len() - 2);
    }
    found
}

/// A proxy whose descriptors can be spoiled by a list in this file.
fn start(scheduler: Scheduler, library: &Path, routes: &str) -> (Proxy, PathBuf) {
    let list = library.with_file_name("list");
    let mut command = proxy::command();
    command.env("LD_PRELOAD", library).env("SPOIL", &list);
    let config = configuration(scheduler, "", routes);
    (Proxy::start_command(command, &config), list)
}

/// What is spoiled may be needed only at the end, and then it says so as at any other time.
fn assert_stops_or_ends_loudly(mut proxy: Proxy) {
    proxy.terminate();
    let status = proxy.wait();
    if !status.success() {
        assert_ends_loudly(proxy);
    }
}

fn assert_ends_loudly(mut proxy: Proxy) {
    let status = proxy.wait();
    let log = proxy.whole_log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("a worker died"), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("corelane: worker "), "{log}");
    assert!(last.contains(" died: "), "{log}");
}

/// Whether a client gets its byte back. It must be told one or the other, and no client that it was served to the end.
fn answers(client: &mut TcpStream) -> bool {
    let served = client
        .write_all(b"!")
        .and_then(|()| client.read_exact(&mut [0]));
    if let Err(error) = &served {
        let is_reset = matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        );
        assert!(is_reset, "{error}");
    }
    served.is_ok()
}

/// The same for one that comes now; it may be reset before it knows that it is connected.
fn comes(address: SocketAddr) -> bool {
    match TcpStream::connect(address) {
        Ok(mut client) => {
            let timeout = Some(wait::DEADLINE);
            client.set_read_timeout(timeout).expect("timeout");
            answers(&mut client)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            false
        }
    }
}

fn workers_that_lose_their_reactors_are_replaced(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let echo = peer::echo();
    let routes = forward(&[&echo.address().to_string()]);
    let Some(library) = spoiler(directory.path()) else {
        return;
    };
    let (proxy, list) = start(scheduler, &library, &routes);
    let mut before: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
    let reactors = reactors(proxy.pid(), scheduler);
    assert!(!reactors.is_empty());
    spoil(&proxy, &list, &reactors);
    // They notice at the latest when they have something to do.
    wait::until("they are replaced", || {
        drop(TcpStream::connect(proxy.address("main")));
        proxy.metric("corelane_worker_restarts_total", &[]) > 0.0
    });
    wait::until("all is over", || proxy.get("/healthz").body == b"ok\n");
    proxy.tells("worker ", "and new workers have taken over");
    let served = before
        .iter_mut()
        .map(answers)
        .filter(|served| *served)
        .count();
    println!("{served} of {CLIENTS} are served that came before");
    let mut after: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
    assert!(after.iter_mut().all(answers));
    drop((before, after));
    proxy.stop();
}

/// Whichever descriptor it is, of whichever worker: clients are served in the end.
fn a_reactor_that_is_half_there_serves_or_is_replaced(scheduler: Scheduler) {
    let echo = peer::echo();
    let routes = forward(&[&echo.address().to_string()]);
    let directory = tempfile::tempdir().expect("directory");
    let Some(library) = spoiler(directory.path()) else {
        return;
    };
    for index in 0.. {
        let (proxy, list) = start(scheduler, &library, &routes);
        let Some(&descriptor) = reactors(proxy.pid(), scheduler).get(index) else {
            return proxy.stop();
        };
        spoil(&proxy, &list, &[descriptor]);
        let address = proxy.address("main");
        let served = (0..CLIENTS).filter(|_| comes(address));
        println!(
            "descriptor {descriptor}: {} of {CLIENTS} are served",
            served.count()
        );
        wait::until("clients are served", || {
            (0..CLIENTS).all(|_| comes(address))
        });
        assert_stops_or_ends_loudly(proxy);
    }
}

/// Whichever descriptor it is, also where nobody comes any more: who was there before is served, or reset.
fn a_reactor_that_is_half_there_connects_or_is_replaced(scheduler: Scheduler) {
    let echo = peer::echo();
    let routes = forward_with(
        &[&echo.address().to_string()],
        "accept_proxy_protocol = \"required\"\ntrusted = [\"127.0.0.1\"]",
        "",
    );
    let directory = tempfile::tempdir().expect("directory");
    let Some(library) = spoiler(directory.path()) else {
        return;
    };
    for index in 0.. {
        let (proxy, list) = start(scheduler, &library, &routes);
        let Some(&descriptor) = reactors(proxy.pid(), scheduler).get(index) else {
            return proxy.stop();
        };
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
        wait::until("all are accepted", || {
            let taken = proxy.metric(
                "corelane_listener_connections_total",
                &[("listener", "main")],
            );
            taken == CLIENTS as f64
        });
        spoil(&proxy, &list, &[descriptor]);
        for client in &mut clients {
            // One that was reset says so when it is read.
            let _ = client.write_all(b"PROXY UNKNOWN\r\n");
        }
        let served = clients.iter_mut().map(answers).filter(|served| *served);
        println!(
            "descriptor {descriptor}: {} of {CLIENTS} are served",
            served.count()
        );
        drop(clients);
        assert_stops_or_ends_loudly(proxy);
    }
}
