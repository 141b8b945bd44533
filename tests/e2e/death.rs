//! A worker that dies ends the process, at once and with a word: never a listening socket that nobody empties.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::config::forward;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_worker_that_loses_its_reactor_ends_the_process,
    a_reactor_that_is_half_there_serves_or_ends_the_process,
);

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
fn start(scheduler: Scheduler, directory: &Path, servers: &[&str]) -> Option<(Proxy, PathBuf)> {
    let library = spoiler(directory)?;
    let list = directory.join("list");
    let mut command = proxy::command();
    command.env("LD_PRELOAD", library).env("SPOIL", &list);
    let config = configuration(scheduler, "", &forward(servers));
    Some((Proxy::start_command(command, &config), list))
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
    let servers = [&*server.address().to_string()];
    let Some((proxy, list)) = start(scheduler, directory.path(), &servers) else {
        return;
    };
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

/// Whichever descriptor it is, of whichever worker: clients are served, or the process ends.
fn a_reactor_that_is_half_there_serves_or_ends_the_process(scheduler: Scheduler) {
    /// Enough for the kernel to choose each worker.
    const CLIENTS: usize = 40;
    let echo = peer::echo();
    let servers = [&*echo.address().to_string()];
    for index in 0.. {
        let directory = tempfile::tempdir().expect("directory");
        let started = start(scheduler, directory.path(), &servers);
        let Some((proxy, list)) = started else {
            return;
        };
        let Some(&descriptor) = reactors(proxy.pid(), scheduler).get(index) else {
            return proxy.stop();
        };
        spoil(&proxy, &list, &[descriptor]);
        let address = proxy.address("main");
        let serves = (0..CLIENTS).all(|_| {
            let Ok(mut client) = TcpStream::connect(address) else {
                return false;
            };
            client
                .set_read_timeout(Some(wait::DEADLINE))
                .expect("timeout");
            let served = client
                .write_all(b"!")
                .and_then(|()| client.read_exact(&mut [0]));
            if let Err(error) = &served {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "a client hangs");
            }
            served.is_ok()
        });
        println!("descriptor {descriptor}: serves: {serves}");
        if serves {
            proxy.stop();
        } else {
            assert_ends_loudly(proxy);
        }
    }
}
