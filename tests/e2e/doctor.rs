//! `corelane doctor` on machines that lack something, and what `corelane check --explain` says.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::child::Child;
use crate::harness::config::{forward, forward_with};
use crate::harness::proxy::{Proxy, command, configuration};
use crate::harness::restrict;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(
    what_a_start_would_be_refused_is_a_failure,
    a_proxy_that_runs_is_no_obstacle,
    what_a_file_means_is_a_file_that_means_the_same,
    what_its_scheduler_needs_and_lacks_is_a_failure,
);

fn words(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// The finding of this name by `corelane doctor --json`, and whether all is well.
fn finding(command: &mut Command, name: &str) -> (Value, bool) {
    let output = command.output().expect("corelane runs");
    let text = words(&output.stdout);
    let json: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(json["ok"], output.status.success(), "{text}");
    let all = json["findings"].as_array().expect("findings");
    let found = all.iter().find(|one| one["name"] == name);
    (
        found.unwrap_or_else(|| panic!("no {name}: {text}")).clone(),
        output.status.success(),
    )
}

fn has(finding: &Value, level: &str, mend: &str) {
    assert_eq!(finding["level"], level, "{finding}");
    let told = finding["mend"].as_str().unwrap_or_default();
    assert!(told.contains(mend), "{finding}");
}

fn doctor() -> Command {
    let mut command = command();
    command.args(["doctor", "--json"]);
    command
}

/// The same, run by a command that takes another one.
fn doctor_by(program: &str, arguments: &[&str]) -> Command {
    let mut by = Command::new(program);
    by.args(arguments)
        .arg(command().get_program())
        .args(["doctor", "--json"]);
    by
}

#[test]
fn a_seccomp_profile_without_io_uring_shows() {
    let mut command = doctor();
    restrict::without_io_uring(&mut command);
    let (found, is_healthy) = finding(&mut command, "io_uring");
    has(&found, "warn", "--security-opt seccomp=");
    assert!(is_healthy, "\"auto\" runs tokio");
}

#[test]
fn little_locked_memory_shows() {
    let mut command = doctor();
    restrict::with_memlock(&mut command, 64 * 1024);
    let (found, _) = finding(&mut command, "locked memory");
    has(&found, "warn", "LimitMEMLOCK=");
}

#[test]
fn few_descriptors_show() {
    let mut command = doctor_by("prlimit", &["--nofile=512:512"]);
    let (found, _) = finding(&mut command, "descriptors");
    has(&found, "warn", "LimitNOFILE=");
    assert!(
        found["found"]
            .as_str()
            .is_some_and(|found| found.starts_with("512, ")),
        "{found}"
    );
}

/// Settings that each network namespace has of its own.
#[test]
fn settings_of_the_network_show() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make a network namespace");
        return;
    }
    let script = "echo 64 >/proc/sys/net/core/somaxconn && echo 40000 40099 >/proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    let arguments = ["--net", "sh", "-c", script, "sh"];
    let (found, _) = finding(&mut doctor_by("unshare", &arguments), "somaxconn");
    has(&found, "warn", "sysctl -w net.core.somaxconn=4096");
    let (found, _) = finding(&mut doctor_by("unshare", &arguments), "ports to servers");
    has(&found, "warn", "ip_local_port_range");
    assert!(
        found["found"]
            .as_str()
            .is_some_and(|found| found.contains(": 100 ")),
        "{found}"
    );
}

#[test]
fn people_read_a_table_and_a_bad_file_is_told() {
    let output = command().arg("doctor").output().expect("corelane runs");
    let text = words(&output.stdout);
    for name in [
        "kernel",
        "io_uring",
        "descriptors",
        "congestion control",
        "seccomp",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
    let missing = command().args(["doctor", "missing.toml"]).output();
    let missing = missing.expect("corelane runs");
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        words(&missing.stderr).contains("missing.toml"),
        "{missing:?}"
    );
}

fn written(folder: &Path, text: &str) -> String {
    let file = folder.join("corelane.toml");
    fs::write(&file, text).expect("write");
    file.display().to_string()
}

fn what_its_scheduler_needs_and_lacks_is_a_failure(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = written(
        folder.path(),
        &configuration(scheduler, "", &forward(&["127.0.0.1:1"])),
    );
    let mut command = doctor();
    command.arg(&file);
    restrict::without_io_uring(&mut command);
    let (found, is_healthy) = finding(&mut command, "io_uring");
    match scheduler {
        Scheduler::Glommio => has(&found, "fail", "--security-opt seccomp="),
        _ => has(&found, "ok", ""),
    }
    assert_eq!(is_healthy, scheduler != Scheduler::Glommio);
}

fn what_a_file_means_is_a_file_that_means_the_same(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let routes = forward_with(
        &["localhost:6379", "127.0.0.1:1"],
        "accept_proxy_protocol = true\nmax_connections = 100000000",
        "",
    );
    let file = written(folder.path(), &configuration(scheduler, "", &routes));
    let explained = |words: &[&str]| -> Output {
        let mut command = command();
        command.arg("check").args(words);
        command.output().expect("corelane runs")
    };
    let output = explained(&["--explain", &file]);
    assert!(output.status.success(), "{output:?}");
    let text = words(&output.stdout);
    for part in [
        "connect_timeout = \"3s\"",
        "# worker 0 on CPU 0",
        "# localhost is ",
        "127.0.0.1",
        "# WARN  descriptors: ",
        "#       mend: ",
        scheduler.name(),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let dangers = words(&output.stderr);
    for part in [
        "everyone may say to be any client",
        "[upstreams.main.health]",
    ] {
        assert!(dangers.contains(part), "{part}: {dangers}");
    }
    // Without it, a check says nothing of these.
    let plain = explained(&[&file]);
    assert!(plain.stderr.is_empty(), "{plain:?}");
    let same = folder.path().join("same.toml");
    fs::write(&same, &text).expect("write");
    let input = Stdio::from(fs::File::open(&same).expect("it is there"));
    let (code, log) = Child::end_with_input(command().args(["check", "-"]), input);
    assert_eq!(code, Some(0), "{log}");
}

/// Each would end a start, and does.
fn what_a_start_would_be_refused_is_a_failure(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let foreign = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = foreign.local_addr().expect("it has one");
    fs::write(folder.join("file"), "no socket").expect("write");
    let shown = folder.display();
    let main = |bind: &str, upstream: &str| {
        format!(
            "[listeners.main]\nbind = \"{bind}\"\nupstream = \"main\"\n\
             [upstreams.main]\nservers = [\"127.0.0.1:1\"]\n{upstream}"
        )
    };
    let plain = main("127.0.0.1:0", "");
    let log = format!("[access_log]\npath = \"{shown}/none/a.log\"\n{plain}");
    let ca = format!(
        "[upstreams.main.health]\ntype = \"tls\"\ntls = {{ verify = true, ca = \"{shown}/none.pem\" }}\n"
    );
    let admin = |key: &str| format!("[admin]\nlisten = \"127.0.0.1:0\"\n{key}\n{plain}");
    for (name, level, text) in [
        (
            "accounts",
            "fail",
            format!("[runtime]\nuser = \"nobody-of-this-name\"\n{plain}"),
        ),
        (
            "accounts",
            "fail",
            admin(&format!(
                "socket = \"{shown}/s\"\nsocket_group = \"nobody-of-this-name\""
            )),
        ),
        (
            "files",
            "fail",
            admin(&format!("token_file = \"{shown}/none\"")),
        ),
        ("files", "fail", log),
        ("files", "fail", main("127.0.0.1:0", &ca)),
        (
            "addresses",
            "fail",
            admin(&format!("socket = \"{shown}/none/s\"")),
        ),
        ("addresses", "fail", main(&format!("unix:{shown}/file"), "")),
        // Of documents (RFC 5737).
        ("addresses", "fail", main("203.0.113.9:7000", "")),
        ("addresses", "warn", main(&taken.to_string(), "")),
    ] {
        let text = match text.contains("[runtime]") {
            true => text.replace(
                "[runtime]",
                &format!("[runtime]\n{}", scheduler.runtime_toml()),
            ),
            false => format!("[runtime]\n{}\n{text}", scheduler.runtime_toml()),
        };
        let text = match text.contains("[admin]") {
            true => text,
            false => format!("{text}\n[admin]\nlisten = \"127.0.0.1:0\"\n"),
        };
        let file = written(folder, &text);
        let mut command = doctor();
        let (found, is_healthy) = finding(command.arg(&file), name);
        assert_eq!(
            (&found["level"], is_healthy),
            (&level.into(), level != "fail"),
            "{text}\n{found}"
        );
        let (code, log) =
            Child::end_with_input(self::command().args(["run", &file]), Stdio::null());
        assert_eq!(code, Some(1), "{text}\n{log}");
        // In the same words, to its advice.
        let told = found["found"].as_str().unwrap_or_default();
        let told = told.trim_start_matches("[upstreams.main.health] ");
        let told = told.split("; else ").last().unwrap_or(told);
        let told = told.split([';', ':']).next().unwrap_or_default();
        assert!(log.contains(told), "{told}: {log}");
    }
}

/// As operators look at a service: it runs, as who asks or as somebody else.
fn a_proxy_that_runs_is_no_obstacle(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["127.0.0.1:1"]));
    let admin = proxy.admin();
    let main = proxy.address("main");
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[runtime]\n{}[admin]\nlisten = \"{admin}\"\n[listeners.main]\nbind = \"{main}\"\nupstream = \"main\"\n\
         [upstreams.main]\nservers = [\"127.0.0.1:1\"]\n",
        scheduler.runtime_toml()
    );
    let file = written(folder.path(), &text);
    let (found, _) = finding(doctor().arg(&file), "addresses and files");
    has(&found, "ok", "");
    proxy.connect("main");
    assert_eq!(proxy.get("/healthz").status, 200);
}
