//! Mistakes of an operator: each is named, with what to do about it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::config::{forward, route};
use crate::harness::proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(port_in_use);

/// Its end, and what it wrote to stdout and stderr.
fn corelane(arguments: [&str; 2]) -> (ExitStatus, String) {
    let mut child = Child::spawn(proxy::command().args(arguments), Signal::KILL);
    let status = child.wait();
    (status, child.whole_log())
}

fn with_file<T>(content: &str, test: impl FnOnce(&str) -> T) -> T {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("corelane.toml");
    fs::write(&file, content).expect("write");
    test(file.to_str().expect("UTF-8"))
}

fn assert_all_in(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

fn port_in_use(scheduler: Scheduler) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let config = proxy::configuration(
        scheduler,
        "",
        &route("main", &address, &["builtin:echo"], "", ""),
    );
    let (status, text) = with_file(&config, |file| corelane(["run", file]));
    assert!(status.code().is_some_and(|code| code != 0), "{}", status);
    assert_all_in(&text, &[&address, "in use"]);
}

#[test]
fn admin_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let config = proxy::configuration(Scheduler::WorkStealing, "", &forward(&["builtin:echo"]))
        .replace(
            "listen = \"127.0.0.1:0\"",
            &format!("listen = \"{address}\""),
        );
    let (status, text) = with_file(&config, |file| corelane(["run", file]));
    assert!(status.code().is_some_and(|code| code != 0), "{}", status);
    assert_all_in(&text, &[&address, "in use"]);
}

/// All of the problems at once, each with its place and the nearest valid name.
#[test]
fn unknown_keys() {
    let config = "[runtime]\nshceduler = \"tokio\"\n\n[listeners.main]\nbind = \"127.0.0.1:0\"\n\
                  upstraem = \"main\"\n\n[upstreams.main]\nservers = [\"builtin:echo\"]\n";
    for command in ["check", "run"] {
        with_file(config, |file| {
            let (status, text) = corelane([command, file]);
            assert!(!status.success(), "{command}: {}", status);
            let places = [format!("{file}:2:1"), format!("{file}:6:1")];
            assert_all_in(&text, &[&places[0], "shceduler", "`scheduler`"]);
            assert_all_in(&text, &[&places[1], "upstraem", "`upstream`"]);
        });
    }
}

#[test]
fn not_toml() {
    with_file("[runtime\n", |file| {
        let (status, text) = corelane(["check", file]);
        assert!(!status.success(), "{}", status);
        assert_all_in(&text, &[&format!("{file}:1:")]);
    });
}

#[test]
fn missing_file() {
    let (status, text) = corelane(["check", "/nonexistent/corelane.toml"]);
    assert!(!status.success(), "{}", status);
    assert_all_in(&text, &["/nonexistent/corelane.toml", "No such file"]);
}

#[test]
fn examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let files: Vec<_> = fs::read_dir(&examples)
        .expect("config/examples")
        .flatten()
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let path = file.path();
        let (status, text) = corelane(["check", path.to_str().expect("UTF-8")]);
        assert!(status.success(), "{}: {text}", path.display());
    }
}
