//! Where io_uring isn't permitted, `glommio` says so and `auto` is tokio.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::config::forward;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::restrict::{with_memlock, without_io_uring};
use crate::harness::scheduler::{AUTO, Scheduler};

/// Runs `glommio` under a restriction, and returns what it says when it refuses to start.
fn refusal(restrict: impl FnOnce(&mut Command)) -> String {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("corelane.toml");
    let config = configuration(Scheduler::Glommio, "", &forward(&["builtin:echo"]));
    fs::write(&file, config).expect("write");
    let mut command = proxy::command();
    command.arg("run").arg(&file);
    restrict(&mut command);
    let mut child = Child::spawn(&mut command, Signal::KILL);
    assert!(!child.wait().success(), "it runs all the same");
    child.whole_log()
}

#[test]
fn forbidden() {
    let text = refusal(without_io_uring);
    assert!(
        text.contains("io_uring") && text.contains("seccomp"),
        "{text}"
    );
    assert!(text.contains("scheduler = \"tokio\""), "{text}");
}

#[test]
fn too_little_locked_memory() {
    let text = refusal(|command| with_memlock(command, 65_536));
    assert!(
        text.contains("65536") && text.contains("ulimit -l"),
        "{text}"
    );
}

#[test]
fn auto_falls_back() {
    let config = configuration(Scheduler::Glommio, "", &forward(&["builtin:echo"]))
        .replace(Scheduler::Glommio.runtime_toml(), &format!("{AUTO}\n"));
    let mut command = proxy::command();
    without_io_uring(&mut command);
    let proxy = Proxy::start_command(command, &config);
    let info = proxy.metric("corelane_runtime_info", &[("scheduler", "tokio")]);
    assert_eq!(info, 1.0);
    proxy.logs("io_uring is not permitted");
    proxy.stop();
}
