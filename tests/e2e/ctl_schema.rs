//! The API against its own description, by schemathesis: with a token, and by somebody who may change nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::ctl::Controlled;
use crate::harness::config::route;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(
    the_api_is_what_it_is_described_as,
    who_has_no_rights_changes_nothing,
);

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A proxy whose token is known, in a folder that lives as long as the test.
fn start(scheduler: Scheduler, folder: &std::path::Path) -> Controlled {
    let token = folder.join("token");
    fs::write(&token, TOKEN).expect("room");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&token, mode).expect("it is ours");
    let routes = route("main", "127.0.0.1:0", &["builtin:echo"], "", "");
    Controlled::start(scheduler, &format!("token_file = {token:?}"), &routes)
}

/// Runs it, unless it isn't installed.
fn run(controlled: &Controlled, more: &[&str]) {
    let url = format!("http://{}/api/v1", controlled.proxy.admin());
    let mut command = Command::new("schemathesis");
    let folder = controlled.proxy.directory();
    // Who shows a wrong token may not even read it.
    let description = folder.join("openapi.json");
    let content = controlled.proxy.get("/api/v1/openapi.json").body;
    fs::write(&description, content).expect("room");
    command.current_dir(folder).arg("run").arg(&description);
    command.args(["--url", &url]);
    command.args(["--no-color", "--phases", "coverage", "--seed", "7"]);
    command.args(["--request-timeout", "30"]);
    // Another process would take over, and a scheduler that is switched to is another test's.
    command.args(["--exclude-path", "/upgrade"]);
    let output = match command.args(more).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: schemathesis, which tests/run installs: {error}");
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        controlled.proxy.log()
    );
}

fn the_api_is_what_it_is_described_as(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let controlled = start(scheduler, folder.path());
    let header = format!("Authorization: Bearer {TOKEN}");
    // What values a key of the configuration may have is the configuration's, and said with 422.
    let more = [
        "--header",
        &header,
        "--exclude-checks",
        "positive_data_acceptance",
    ];
    run(&controlled, &more);
    assert!(controlled.json(&["status"])["cores"].is_u64(), "it goes on");
    controlled.done(&["reload"]);
    controlled.proxy.stop();
}

fn who_has_no_rights_changes_nothing(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let controlled = start(scheduler, folder.path());
    let file = controlled.proxy.directory().join("corelane.toml");
    let text = fs::read_to_string(&file).expect("it is ours");
    let state = || {
        let shown = |words: &[&str]| controlled.json(words);
        (
            shown(&["servers"]),
            shown(&["listeners"]),
            shown(&["config"]),
            shown(&["log"]),
            shown(&["schedulers"])["running"].clone(),
            shown(&["events"])["last"].clone(),
        )
    };
    let before = state();
    let wrong = format!("Authorization: Bearer {}", TOKEN.replace('0', "1"));
    // Who may change nothing is sent away before a scheduler has a part in it: what makes no sense, and who shows no token, is asked under one of them.
    let mode = match scheduler {
        Scheduler::WorkStealing => "all",
        Scheduler::Glommio | Scheduler::PerCore => "positive",
    };
    let checks = "not_a_server_error,status_code_conformance";
    let checks = ["--checks", checks, "--mode", mode];
    if scheduler == Scheduler::WorkStealing {
        run(&controlled, &checks);
    }
    run(&controlled, &[&["--header", &wrong], &checks[..]].concat());
    assert_eq!(state(), before, "nothing has changed");
    assert_eq!(fs::read_to_string(&file).expect("it is ours"), text);
    controlled.proxy.stop();
}
