//! `corelane compare`: each scheduler that runs here is measured, one is named, and no server of the configuration hears
//! of it.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::child::{Child, run};
use crate::harness::config::route;
use crate::harness::peer;
use crate::harness::port;
use crate::harness::proxy::{Proxy, command};
use crate::harness::scheduler::Scheduler;
use crate::harness::wait;

const NAMES: [&str; 4] = [
    "glommio",
    "glommio without rebalancing",
    "tokio work-stealing",
    "tokio per-core",
];

/// Between two messages of the live load.
const PAUSE: Duration = Duration::from_millis(5);

const CLIENTS: usize = 8;

fn compare(file: &Path, arguments: &[&str]) -> Command {
    let mut command = command();
    command.arg("compare").arg(file).args(arguments);
    command
}

#[test]
fn it_names_a_scheduler() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("corelane.toml");
    let route = route("main", "127.0.0.1:0", &["builtin:echo"], "", "");
    // With a short interval a load has little to warm up for.
    let text = format!("[runtime.glommio.rebalance]\ninterval = \"50ms\"\n{route}");
    fs::write(&file, text).expect("write the configuration");
    let text = run(&mut compare(
        &file,
        &["--seconds=1", "--connections=8", "--bytes=20000"],
    ));
    for name in NAMES {
        let row = text.lines().find(|line| line.starts_with(name));
        assert!(row.is_some(), "no row of {name}:\n{text}");
    }
    let tie = "it is a tie: the configuration stays as it is, ";
    let choice = text
        .lines()
        .find_map(|line| line.strip_prefix("choose: ").or(line.strip_prefix(tie)));
    assert!(NAMES.contains(&choice.expect("a choice")), "{text}");
    assert!(text.contains("\n  Against "), "{text}");
    // The clients send as fast as they are answered, and once more at a rate that all keep up with.
    assert!(text.contains("count from when a message was due"), "{text}");
    assert!(text.contains("half of what the slowest"), "{text}");
}

#[test]
fn a_live_load_is_recorded_and_its_servers_are_left_alone() {
    let echo = peer::echo();
    let admin = port::free();
    let server = echo.address().to_string();
    let proxy = Proxy::start_file(&format!(
        "[runtime]\n{}cores = 1\nglommio.rebalance.interval = \"50ms\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [access_log]\npath = \"stdout\"\n{}",
        Scheduler::PerCore.runtime_toml(),
        route("main", "127.0.0.1:0", &[&server], "", "")
    ));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The load ends when this does, also by a panic.
        let _end = wait::End(&over);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
        let over = &over;
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for client in &mut clients {
                    client.write_all(&[1; 100]).expect("send");
                    client.read_exact(&mut [0; 100]).expect("receive");
                }
                thread::sleep(PAUSE);
            }
        });
        wait::until("all are served", || echo.accepted() == CLIENTS);
        let file = proxy.directory().join("corelane.toml");
        let text = run(&mut compare(&file, &["--record", "--seconds=1", "--json"]));
        // The load has no lines in the access log, which is on stdout.
        let found: Value = serde_json::from_str(&text).expect("JSON, and nothing else");
        let number = |value: &Value| value.as_u64().expect("a number");
        let connections =
            number(&found["light"]["connections"]) + number(&found["heavy"]["connections"]);
        assert_eq!(connections, CLIENTS as u64, "{text}");
        assert!(number(&found["light"]["message_bytes"]) <= 100, "{text}");
        assert_eq!(found["configured"], "tokio per-core");
        // It has a rate of its own, at which latencies are measured.
        assert!(found["light"]["interval_seconds"].is_f64(), "{text}");
        assert!(found["latency_requests_per_second"].is_null(), "{text}");
        let names = |key: &str| {
            let entries = found[key].as_array().expect("an array").iter();
            let names = entries.map(|entry| entry["name"].as_str().expect("a name").to_owned());
            names.collect::<Vec<_>>()
        };
        let measured = names("schedulers");
        assert_eq!(measured.len() + names("skipped").len(), NAMES.len());
        assert!(measured.contains(&found["choose"].as_str().expect("a name").to_owned()));
        for scheduler in found["schedulers"].as_array().expect("an array") {
            let requests = scheduler["median"]["requests_per_second"].as_f64();
            assert!(requests.expect("a number") > 0.0, "{scheduler}");
            assert_eq!(scheduler["rounds"].as_array().expect("an array").len(), 3);
        }
        assert_eq!(
            echo.accepted(),
            CLIENTS,
            "a server of the configuration got load"
        );
    });
}

#[test]
fn without_a_live_proxy_there_is_nothing_to_record() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("corelane.toml");
    let configuration = |port: u16| {
        let route = route("main", "127.0.0.1:0", &["builtin:echo"], "", "");
        format!("[admin]\nlisten = \"127.0.0.1:{port}\"\n{route}")
    };
    for port in [0, port::free()] {
        fs::write(&file, configuration(port)).expect("write the configuration");
        let mut child = Child::spawn(&mut compare(&file, &["--record"]), Signal::KILL);
        assert_eq!(child.wait().code(), Some(1));
        let log = child.whole_log();
        for part in [
            "no live proxy answers at [admin] listen",
            "corelane run",
            "--connections",
        ] {
            assert!(log.contains(part), "no {part:?} in {log}");
        }
    }
}
