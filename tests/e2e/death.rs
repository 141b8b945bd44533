//! A worker that dies ends the process, at once and with a word: never a listening socket that nobody empties.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::config::{forward, forward_with};
use crate::harness::peer::{self, Server};
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_worker_that_loses_its_reactor_ends_the_process,
    a_reactor_that_is_half_there_serves_or_ends_the_process,
    a_reactor_that_is_half_there_connects_or_ends_the_process,
);

/// Enough for the kernel to choose each worker.
const CLIENTS: usize = 40;

/// A library that spoils descriptors of the process that it is loaded into. None, and says why, where there is no
/// compiler.
fn spoiler(directory: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/harness/spoil.c");
    let library = directory.join("spoil.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library);
    match compiler.arg(source).status() {
        Ok(status) => {
            assert!(status.success(), "cc: {status}");
            Some(library)
        }
        Err(error) => {
            println!("skipped: cc: {error}; `bash tests/run` installs it");
            None
        }
    }
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

fn a_worker_that_loses_its_reactor_ends_the_process(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let server = Server::bind();
    let routes = forward(&[&server.address().to_string()]);
    let Some(library) = spoiler(directory.path()) else {
        return;
    };
    let (proxy, list) = start(scheduler, &library, &routes);
    let mut client = proxy.connect("main");
    let upstream = server.accept();
    let reactors = reactors(proxy.pid(), scheduler);
    assert!(!reactors.is_empty());
    spoil(&proxy, &list, &reactors);
    // It notices at the latest when it has something to do.
    let address = proxy.address("main");
    let descriptors = format!("/proc/{}/fd/0", proxy.pid());
    wait::until("the process ends", || {
        let _ = TcpStream::connect(address);
        !Path::new(&descriptors).exists()
    });
    drop(upstream);
    assert_ends_loudly(proxy);
    assert_eq!(peer::end_of(&mut client), Some(ErrorKind::ConnectionReset));
}

/// Whether the client gets its byte back. It must be told one or the other.
fn answers(client: &mut TcpStream) -> bool {
    client
        .set_read_timeout(Some(wait::DEADLINE))
        .expect("timeout");
    let served = client.read_exact(&mut [0]);
    if let Err(error) = &served {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "a client hangs");
    }
    served.is_ok()
}

/// Whichever descriptor it is, of whichever worker: clients are served, or the process ends.
fn a_reactor_that_is_half_there_serves_or_ends_the_process(scheduler: Scheduler) {
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
        let serves = (0..CLIENTS).all(|_| {
            let Ok(mut client) = TcpStream::connect(address) else {
                return false;
            };
            client.write_all(b"!").is_ok() && answers(&mut client)
        });
        println!("descriptor {descriptor}: serves: {serves}");
        if serves {
            assert_stops_or_ends_loudly(proxy);
        } else {
            assert_ends_loudly(proxy);
        }
    }
}

/// Whichever descriptor it is, also where nobody comes any more: who was there before is served, or the process ends.
fn a_reactor_that_is_half_there_connects_or_ends_the_process(scheduler: Scheduler) {
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
        let mut asked = clients
            .iter_mut()
            .map(|client| client.write_all(b"PROXY UNKNOWN\r\n!"));
        let asked = asked.all(|written| written.is_ok());
        let serves = asked && clients.iter_mut().all(answers);
        println!("descriptor {descriptor}: serves: {serves}");
        drop(clients);
        if serves {
            assert_stops_or_ends_loudly(proxy);
        } else {
            assert_ends_loudly(proxy);
        }
    }
}
