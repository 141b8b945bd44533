//! A container in which nothing is mounted at `/sys`.

use std::process::Command;

use crate::harness::child;
use crate::harness::config::forward;
use crate::harness::echoed;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(workers_are_pinned_and_serve);

/// What hides `/sys` from a command. None, and says why, where that isn't permitted.
fn hidden() -> Option<Command> {
    let words = |command: &mut Command| {
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.args(["mount -t tmpfs none /sys && exec \"$@\"", "sh"]);
    };
    let mut tried = Command::new("unshare");
    words(&mut tried);
    match tried.arg("true").output() {
        Ok(output) if output.status.success() => {}
        output => {
            println!("skipped: no namespace for mounts: {output:?}");
            return None;
        }
    }
    let mut command = Command::new("unshare");
    words(&mut command);
    command.arg(proxy::command().get_program());
    Some(command)
}

fn workers_are_pinned_and_serve(scheduler: Scheduler) {
    let Some(command) = hidden() else {
        return;
    };
    let config = configuration(scheduler, "", &forward(&["builtin:echo"]));
    let proxy = Proxy::start_command(command, &config);
    let info = [("mode", scheduler.mode()), ("pinned", "true")];
    assert_eq!(proxy.metric("corelane_runtime_info", &info), 1.0);
    echoed::visit(proxy.address("main"), 1);
    proxy.stop();
}

#[test]
fn doctor_says_what_it_can_t_see() {
    let Some(mut command) = hidden() else {
        return;
    };
    let told = child::run(command.arg("doctor"));
    assert!(told.contains("WARN  control groups"), "{told}");
    assert!(
        told.contains("mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        "{told}"
    );
}
