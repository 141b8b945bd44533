//! Another process takes over: nobody is refused meanwhile, and a process that can't take over changes nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::config::{forward, route};
use crate::harness::echoed;
use crate::harness::heirs::Heirs;
use crate::harness::peer;
use crate::harness::process;
use crate::harness::program;
use crate::harness::proxy::{self, Proxy, configuration, configuration_with};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, End};

each_scheduler!(
    nobody_is_refused,
    a_process_that_cannot_take_over_changes_nothing,
    addresses_come_and_go,
    of_two_that_ask_at_once_one_is_told_to_ask_again,
    systemd_is_told_who_to_watch,
    a_signal_to_all_processes_at_once_is_one,
);

/// Between two connections of a client that comes again and again.
const INTERVAL: Duration = Duration::from_millis(5);

/// Descriptors of a process that watches another one: standard ones, its reactor, and the line on which it hears of the next.
const SUPERVISOR_DESCRIPTORS_MAX: usize = 12;

/// Upgrades that have succeeded.
pub(crate) fn upgrades(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_upgrades_total", &[("result", "success")])
}

/// SIGUSR2, until the new process runs alone.
pub(crate) fn upgrade(proxy: &Proxy, heirs: &Heirs) {
    let before = heirs.only();
    proxy.signal(Signal::USR2);
    wait::until("another process runs alone", || {
        let pids = heirs.pids();
        assert!(!pids.is_empty(), "{}", proxy.log());
        pids.len() == 1 && pids[0] != before
    });
}

/// `corelane upgrade`.
pub(crate) fn ask(socket: &Path, binary: Option<&Path>) -> Output {
    let mut command = proxy::command();
    command.arg("upgrade").args(binary);
    command.arg("--socket").arg(socket);
    command.output().expect("corelane runs")
}

fn words(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// Connections that come until it is over; none is refused, cut or given other bytes.
pub(crate) fn come(address: SocketAddr, over: &AtomicBool, came: &AtomicU64) {
    while !over.load(Relaxed) {
        echoed::visit(address, came.fetch_add(1, Relaxed));
        thread::sleep(INTERVAL);
    }
}

fn nobody_is_refused(scheduler: Scheduler) {
    let service = peer::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, path) = (
        folder.path().join("admin.sock"),
        folder.path().join("in.sock"),
    );
    let server = service.address().to_string();
    let bind = format!("unix:{}", path.display());
    let routes = forward(&[&server]) + &route("unix", &bind, &[&server], "", "");
    let admin = format!("socket = {socket:?}");
    let proxy = Proxy::start_file(&configuration_with(scheduler, "", &admin, &routes));
    let heirs = Heirs::of(&proxy);
    let address = proxy.address("main");
    let (over, came) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut stays = UnixStream::connect(&path).expect("it listens");
    stays
        .set_read_timeout(Some(wait::DEADLINE))
        .expect("timeout");
    let mut echoes = || {
        stays.write_all(b"stays").expect("send");
        let mut answer = [0; 5];
        stays.read_exact(&mut answer).expect("receive");
    };
    echoes();
    thread::scope(|scope| {
        let _end = End(&over);
        let client = scope.spawn(|| come(address, &over, &came));
        let unix = scope.spawn(|| {
            while !over.load(Relaxed) {
                let mut client = UnixStream::connect(&path).expect("it listens");
                client
                    .set_read_timeout(Some(wait::DEADLINE))
                    .expect("timeout");
                client.write_all(b"hello").expect("send");
                let mut answer = [0; 5];
                client.read_exact(&mut answer).expect("receive");
                thread::sleep(INTERVAL);
            }
        });
        for round in 1..=2 {
            let first = heirs.only();
            let enough = came.load(Relaxed) + 10;
            wait::until("clients come", || came.load(Relaxed) >= enough);
            if round == 1 {
                let asked = ask(&socket, None);
                assert!(asked.status.success(), "{asked:?}\n{}", proxy.log());
                assert!(words(&asked.stdout).contains("upgraded"), "{asked:?}");
            } else {
                upgrade(&proxy, &heirs);
            }
            assert_ne!(heirs.only(), first);
            assert_eq!(proxy.get("/readyz").status, 200);
            let words = format!("has taken over from process {first}");
            let by = if round == 1 { "uid=" } else { "SIGUSR2" };
            proxy.tells(by, &words);
            echoes();
            // The first one supervises, however many there were, and has nothing else.
            wait::until("it only supervises", || {
                process::descriptors(proxy.pid()) <= SUPERVISOR_DESCRIPTORS_MAX
            });
            let enough = came.load(Relaxed) + 10;
            wait::until("clients come", || came.load(Relaxed) >= enough);
        }
        over.store(true, Relaxed);
        client.join().expect("it saw nothing");
        unix.join().expect("it saw nothing");
    });
    drop(stays);
    let mut proxy = proxy;
    proxy.terminate();
    assert!(proxy.wait().success(), "{}", proxy.log());
    assert!(heirs.pids().is_empty(), "its supervisor waits for it");
    assert!(!path.exists() && !socket.exists(), "files are left behind");
}

fn a_process_that_cannot_take_over_changes_nothing(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let admin = format!("socket = {socket:?}");
    let routes = forward(&["builtin:echo"]);
    let text = configuration_with(scheduler, "", &admin, &routes);
    let proxy = Proxy::start_file(&text);
    let heirs = Heirs::of(&proxy);
    let pid = heirs.only();
    let client = proxy.connect("main");
    let echoes = || {
        (&client).write_all(b"hello").expect("send");
        let mut answer = [0; 5];
        (&client).read_exact(&mut answer).expect("receive");
    };
    echoes();
    let script = folder.path().join("silent");
    program::write(&script, "#!/bin/sh\nexit 3\n");
    let refused = |binary: Option<&Path>, why: &str| {
        let asked = ask(&socket, binary);
        assert_eq!(asked.status.code(), Some(1), "{asked:?}");
        assert!(words(&asked.stderr).contains(why), "{asked:?}");
    };
    refused(Some(Path::new("/nonexistent")), "/nonexistent");
    refused(Some(folder.path()), "no file");
    refused(Some(&script), "exit status: 3");
    let file = proxy.directory().join("corelane.toml");
    fs::write(&file, "nonsense = 1").expect("write");
    refused(None, "nonsense");
    // An address that somebody else has.
    let taken = peer::echo();
    let more = route(
        "more",
        &taken.address().to_string(),
        &["builtin:echo"],
        "",
        "",
    );
    fs::write(&file, text.clone() + &more).expect("write");
    refused(None, "[listeners.more]");
    assert_eq!(heirs.only(), pid, "{}", proxy.log());
    let failed = proxy.metric("corelane_upgrades_total", &[("result", "failure")]);
    assert_eq!(failed, 5.0);
    let by = format!("uid={} ", rustix::process::geteuid().as_raw());
    proxy.tells(&by, "not upgraded");
    echoes();
    drop(proxy.connect("main"));
    drop(client);
    proxy.stop();
}

/// A new file goes with an upgrade: listeners that are new, and others that are no more.
fn addresses_come_and_go(scheduler: Scheduler) {
    let at = |name: &str, bind: &str| route(name, bind, &["builtin:echo"], "", "");
    let any = "127.0.0.1:0";
    let before = at("main", any) + &at("gone", any);
    let proxy = Proxy::start(scheduler, &before);
    let heirs = Heirs::of(&proxy);
    let (stays, gone) = (proxy.address("main"), proxy.address("gone"));
    let new = SocketAddr::from(([127, 0, 0, 1], crate::harness::port::free()));
    let after = at("renamed", &stays.to_string()) + &at("new", &new.to_string());
    let file = proxy.directory().join("corelane.toml");
    fs::write(file, proxy::configuration(scheduler, "", &after)).expect("write");
    upgrade(&proxy, &heirs);
    for address in [stays, new] {
        let client = peer::connect(address);
        (&client).write_all(b"hello").expect("send");
        let mut answer = [0; 5];
        (&client).read_exact(&mut answer).expect("receive");
    }
    wait::until("nobody listens there", || {
        std::net::TcpStream::connect_timeout(&gone, Duration::from_millis(100)).is_err()
    });
    assert_eq!(upgrades(&proxy), 1.0);
    proxy.stop();
}

fn of_two_that_ask_at_once_one_is_told_to_ask_again(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let admin = format!("socket = {socket:?}");
    let routes = forward(&["builtin:echo"]);
    let proxy = Proxy::start_file(&configuration_with(scheduler, "", &admin, &routes));
    let heirs = Heirs::of(&proxy);
    let asked: Vec<Output> = thread::scope(|scope| {
        let asking: Vec<_> = (0..3).map(|_| scope.spawn(|| ask(&socket, None))).collect();
        let asked = asking.into_iter().map(thread::ScopedJoinHandle::join);
        asked.map(|one| one.expect("it asks")).collect()
    });
    // One that comes when that is over asks the new process.
    let done = asked.iter().filter(|one| one.status.success()).count();
    assert!(done >= 1, "{asked:?}\n{}", proxy.log());
    for one in asked.iter().filter(|one| !one.status.success()) {
        assert!(words(&one.stderr).contains("ask again"), "{asked:?}");
    }
    heirs.only();
    assert_eq!(upgrades(&proxy), done as f64);
    proxy.stop();
}

/// What systemd watches is the new process: the old one ends.
fn systemd_is_told_who_to_watch(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let notified = UnixDatagram::bind(&path).expect("a socket");
    notified
        .set_read_timeout(Some(wait::DEADLINE))
        .expect("timeout");
    let service = peer::echo();
    let routes = forward(&[&service.address().to_string()]);
    let mut command = proxy::command();
    command.env("NOTIFY_SOCKET", &path);
    let mut proxy = Proxy::start_command(command, &configuration(scheduler, "", &routes));
    let heirs = Heirs::of(&proxy);
    let old = heirs.only();
    let mut client = proxy.connect("main");
    proxy.signal(Signal::USR2);
    let told = loop {
        let mut words = [0; 4096];
        let count = notified.recv(&mut words).expect("it is told");
        let words = String::from_utf8_lossy(&words[..count]).into_owned();
        let pid = words
            .lines()
            .find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok());
        // Whoever starts may say who it is.
        if let Some(pid) = pid.filter(|pid| *pid != old) {
            break pid;
        }
    };
    assert_eq!(proxy.wait().code(), Some(0), "the old one ends");
    assert_eq!(heirs.only(), told);
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    drop(client);
    crate::harness::heirs::signal(told, Signal::TERM);
    wait::until("it ends", || heirs.pids().is_empty());
}

/// A terminal's Ctrl-C comes to the supervisor, which passes it on, and to the process that runs: the connections drain all the same.
fn a_signal_to_all_processes_at_once_is_one(scheduler: Scheduler) {
    const SAME: &str = "it is the same one";
    let service = peer::echo();
    let routes = forward(&[&service.address().to_string()]);
    for signal in [Signal::INT, Signal::TERM] {
        let text = configuration(scheduler, "drain_timeout = \"1h\"\n", &routes);
        let mut proxy = Proxy::start_file(&text);
        let heirs = Heirs::of(&proxy);
        let mut client = proxy.connect("main");
        let mut echoes = || {
            client.write_all(b"stays").expect("send");
            let mut answer = [0; 5];
            client.read_exact(&mut answer).expect("it is not cut");
        };
        echoes();
        upgrade(&proxy, &heirs);
        let new = heirs.only();
        wait::until("it only supervises", || {
            process::descriptors(proxy.pid()) <= SUPERVISOR_DESCRIPTORS_MAX
        });
        let both = || {
            proxy.signal(signal);
            crate::harness::heirs::signal(new, signal);
        };
        both();
        wait::until("it has both signals", || {
            echoes();
            proxy.log().contains(SAME)
        });
        echoes();
        both();
        assert_eq!(proxy.wait().code(), Some(0), "a second one stops at once");
        client.read_exact(&mut [0]).expect_err("it is cut");
    }
}
