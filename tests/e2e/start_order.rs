//! A start that fails has accepted no client; what Glommio lacks, Tokio makes do without.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::config::{forward, route};
use crate::harness::port;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::restrict::{as_own_user, with_memlock, with_threads};
use crate::harness::scheduler::{AUTO, Scheduler, each_scheduler};
use crate::harness::wait::{self, End};

each_scheduler!(
    an_admin_address_that_is_taken_costs_no_client,
    workers_that_can_t_be_started_cost_no_client,
    a_start_that_waits_for_an_address_ends_in_order_when_it_is_asked_to,
    a_start_is_ready_or_fails_with_any_number_of_threads,
);

/// Fewer threads than any scheduler needs: for the main thread, the log, two workers, the admin server and its sampler.
const TOO_FEW_THREADS: [u64; 4] = [2, 3, 4, 5];

/// How many clients could connect to an address while `run` ran: nobody should.
fn clients_while<T>(address: SocketAddr, run: impl FnOnce() -> T) -> (usize, T) {
    let (over, connected) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                if TcpStream::connect(address).is_ok() {
                    connected.fetch_add(1, Relaxed);
                }
                // Refused clients leave no trace; the kernel needs a moment for others.
                thread::yield_now();
            }
        });
        let _end = End(&over);
        let result = run();
        (connected.load(Relaxed), result)
    })
}

/// Runs it, which must fail, and returns what it says.
fn failure(config: &str, restrict: impl FnOnce(&mut Command) -> bool) -> Option<String> {
    let directory = tempfile::tempdir().expect("directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let file = directory.path().join("corelane.toml");
    fs::write(&file, config).expect("write");
    let mut command = proxy::command();
    command.arg("run").arg(&file);
    if !restrict(&mut command) {
        return None;
    }
    let mut child = Child::spawn(&mut command, Signal::KILL);
    let status = child.wait();
    let log = child.whole_log();
    assert!(
        status.code().is_some_and(|code| code != 0),
        "{status}: {log}"
    );
    Some(log)
}

fn an_admin_address_that_is_taken_costs_no_client(scheduler: Scheduler) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let admin = taken.local_addr().expect("address").to_string();
    let address = SocketAddr::from(([127, 0, 0, 1], port::free()));
    let routes = route("main", &address.to_string(), &["builtin:echo"], "", "");
    let config = configuration(scheduler, "", &routes)
        .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{admin}\""));
    let (clients, log) = clients_while(address, || failure(&config, |_| true));
    let log = log.expect("it was run");
    assert!(log.contains(&admin) && log.contains("in use"), "{log}");
    assert_eq!(clients, 0, "clients that were accepted and cut");
}

fn workers_that_can_t_be_started_cost_no_client(scheduler: Scheduler) {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return println!("skipped: one CPU has one worker");
    }
    for threads in TOO_FEW_THREADS {
        let address = SocketAddr::from(([127, 0, 0, 1], port::free()));
        let routes = route("main", &address.to_string(), &["127.0.0.1:9"], "", "");
        let config = configuration(scheduler, "", &routes);
        let (clients, log) = clients_while(address, || {
            failure(&config, |command| {
                with_threads(command, threads);
                as_own_user(command)
            })
        });
        let Some(log) = log else { return };
        assert!(
            log.contains("temporarily unavailable"),
            "{threads} threads: {log}"
        );
        // What is wrong and what to do, and nothing before it.
        let first = log.lines().next().unwrap_or_default();
        let is_sentence = first.starts_with("corelane: ") && !log.contains("panicked");
        assert!(is_sentence, "{threads} threads: {log}");
        assert_eq!(clients, 0, "with {threads} threads");
    }
}

/// Before, it went on until the address was free or its patience was over, and failed or served then.
fn a_start_that_waits_for_an_address_ends_in_order_when_it_is_asked_to(scheduler: Scheduler) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address.to_string()));
    let (_holder, taken) = taken.expect("address");
    let routes = |bind: &str| route("main", bind, &["builtin:echo"], "", "");
    let of_listener = configuration(scheduler, "", &routes(&taken));
    let of_admin = configuration(scheduler, "", &routes("127.0.0.1:0"))
        .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{taken}\""));
    for (config, signal) in [(of_listener, Signal::TERM), (of_admin, Signal::INT)] {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("corelane.toml");
        fs::write(&file, config).expect("write");
        let mut child = Child::spawn(proxy::command().arg("run").arg(&file), Signal::KILL);
        wait::until("it waits for the address", || {
            child.log().contains("the address is in use")
        });
        child.signal(signal);
        assert_eq!(child.wait().code(), Some(0), "{}", child.log());
        let log = child.whole_log();
        assert!(log.contains("asked to end before it had started"), "{log}");
        assert!(!log.contains("ready"), "{log}");
    }
}

/// Where there is no thread left to write stdout, it is written all the same: a supervisor waits for "ready".
fn a_start_is_ready_or_fails_with_any_number_of_threads(scheduler: Scheduler) {
    /// More than any scheduler needs for two workers.
    const ENOUGH_THREADS: u64 = 14;
    let config = configuration(scheduler, "", &forward(&["127.0.0.1:9"]));
    let directory = tempfile::tempdir().expect("directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let file = directory.path().join("corelane.toml");
    fs::write(&file, config).expect("write");
    let mut outcomes = Vec::new();
    for threads in 2..=ENOUGH_THREADS {
        let mut command = proxy::command();
        with_threads(&mut command, threads);
        if !as_own_user(&mut command) {
            return;
        }
        let mut child = Child::spawn(command.arg("run").arg(&file), Signal::KILL);
        let is_ready = |child: &Child| child.log().lines().any(|line| line == "ready");
        wait::until(&format!("{threads} threads: it is ready or fails"), || {
            is_ready(&child) || child.exit_status().is_some()
        });
        outcomes.push(child.exit_status().is_none());
        if child.exit_status().is_none() {
            child.signal(Signal::TERM);
            assert_eq!(child.wait().code(), Some(0), "{}", child.log());
        }
    }
    assert_eq!(outcomes.first(), Some(&false), "{outcomes:?}");
    assert_eq!(outcomes.last(), Some(&true), "{outcomes:?}");
}

/// Enough for Glommio itself and for one worker; four workers need more where the kernel counts rings (Linux 6.14).
const ONE_WORKER_BYTES: u64 = 512 * 1024;

fn four_workers(scheduler: &str) -> String {
    format!(
        "[runtime]\n{scheduler}\ncores = 4\npin = false\n[admin]\nlisten = \"127.0.0.1:0\"\n{}",
        forward(&["127.0.0.1:9"])
    )
}

fn with_little_memory(command: &mut Command) -> bool {
    with_memlock(command, ONE_WORKER_BYTES);
    as_own_user(command)
}

/// Whether the kernel is one that counts rings against the limit of locked memory.
fn counts_rings() -> bool {
    let release = rustix::system::uname();
    let mut numbers = release.release().to_str().unwrap_or("").split(['.', '-']);
    let mut number = || numbers.next().and_then(|part| part.parse::<u32>().ok());
    (number(), number()) >= (Some(6), Some(14))
}

#[test]
fn locked_memory_for_one_worker_of_four_is_refused_with_what_is_needed() {
    if !Scheduler::Glommio.usable() {
        return;
    }
    if !counts_rings() {
        return println!("skipped: before Linux 6.14, rings are not counted");
    }
    let config = four_workers("scheduler = \"glommio\"");
    let Some(log) = failure(&config, with_little_memory) else {
        return;
    };
    for part in ["524288", "4 workers need", "ulimit -l 1856", "LimitMEMLOCK"] {
        assert!(log.contains(part), "{part:?} is missing in:\n{log}");
    }
}

#[test]
fn auto_falls_back_where_locked_memory_is_enough_for_some_workers_only() {
    if !Scheduler::Glommio.usable() {
        return;
    }
    let mut command = proxy::command();
    if !with_little_memory(&mut command) {
        return;
    }
    let proxy = Proxy::start_command(command, &four_workers(AUTO));
    if counts_rings() {
        let info = proxy.metric("corelane_runtime_info", &[("scheduler", "tokio")]);
        assert_eq!(info, 1.0, "{}", proxy.log());
        proxy.logs("4 workers need");
    }
    assert_eq!(proxy.metrics().series("corelane_core_info", &[]).count(), 4);
    proxy.stop();
}
