//! `corelane ctl` and the API behind it, over the unix socket and over TCP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::harness::config::route;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    all_that_there_is_can_be_looked_at,
    whoever_reads_over_tcp_changes_nothing,
);

/// A proxy with a socket for commands.
pub(crate) struct Controlled {
    pub(crate) proxy: Proxy,
    pub(crate) socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Controlled {
    /// With these routes, and more lines for `[admin]`.
    pub(crate) fn start(scheduler: Scheduler, admin: &str, routes: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("admin.sock");
        let admin = format!("socket = {socket:?}\n{admin}\n");
        let text = proxy::configuration_with(scheduler, "", &admin, routes);
        Self {
            proxy: Proxy::start_file(&text),
            socket,
            _folder: folder,
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn ctl(&self, words: &[&str]) -> Output {
        let mut command = proxy::command();
        command.arg("ctl").args(words);
        command.arg("--socket").arg(&self.socket);
        command.output().expect("corelane runs")
    }

    /// What it prints, where it works.
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let output = self.ctl(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let text = self.done(&[words, &["--json"]].concat());
        serde_json::from_str(&text).expect("JSON")
    }
}

fn routes() -> String {
    route("main", "127.0.0.1:0", &["builtin:echo"], "shares = 900", "")
}

fn all_that_there_is_can_be_looked_at(scheduler: Scheduler) {
    let controlled = Controlled::start(scheduler, "", &routes());
    let open: Vec<_> = (0..3).map(|_| controlled.proxy.connect("main")).collect();
    wait::until("they are relayed", || {
        let all = controlled.json(&["connections", "--server", "builtin:echo"]);
        all["total"] == 3
    });
    assert_eq!(controlled.json(&["status"])["scheduler"], scheduler.name());
    let servers = controlled.json(&["servers"]);
    assert_eq!(servers["servers"][0]["server"], "builtin:echo", "{servers}");
    assert_eq!(servers["servers"][0]["connections"], 3, "{servers}");
    let one = controlled.json(&["servers", "main", "builtin:echo"]);
    assert_eq!(one["state"], "up", "{one}");
    let table = controlled.done(&["servers"]);
    assert!(
        table.starts_with("UPSTREAM") && table.contains("builtin:echo"),
        "{table}"
    );
    let absent = controlled.ctl(&["servers", "main", "nobody:1"]);
    assert_eq!(absent.status.code(), Some(1), "{absent:?}");
    let listeners = controlled.json(&["listeners"]);
    assert_eq!(listeners["listeners"][0]["shares"], 900, "{listeners}");
    let found = |words: &[&str]| {
        let all = controlled.json(&[&["connections"], words].concat());
        (all["total"].as_u64(), all["shown"].as_u64())
    };
    let client = open[0].local_addr().expect("an address").to_string();
    assert_eq!(found(&["--client", &client]), (Some(1), Some(1)));
    assert_eq!(found(&["--client", "127.0.0.0/8"]), (Some(3), Some(3)));
    assert_eq!(found(&["--client", "10.0.0.0/8"]), (Some(0), Some(0)));
    assert_eq!(
        found(&["--limit", "2", "--offset", "2"]),
        (Some(3), Some(1))
    );
    let by_core: u64 = (0..2)
        .filter_map(|core| found(&["--core", &core.to_string()]).0)
        .sum();
    assert_eq!(by_core, 3);
    drop(open);
    assert_eq!(controlled.json(&["schedulers"])["mode"], scheduler.mode());
    assert!(controlled.done(&["config"]).contains("shares = 900"));
    let same = controlled.json(&["config", "--diff"]);
    assert_eq!(
        (&same["differs"], &same["lines"]),
        (&false.into(), &Value::Array(vec![]))
    );
    let file = controlled.proxy.directory().join("corelane.toml");
    let text = fs::read_to_string(&file).expect("it is ours");
    fs::write(&file, text.replace("shares = 900", "shares = 90")).expect("it is ours");
    let other = controlled.json(&["config", "--diff"]);
    assert_eq!(
        other["lines"][0], "[listeners.main] shares: 900 is now 90",
        "{other}"
    );
    controlled.done(&["reload"]);
    let events = controlled.json(&["events"]);
    let last = events["events"]
        .as_array()
        .and_then(|all| all.last())
        .expect("an event");
    let what = last["what"].as_str().expect("words");
    assert!(what.contains("shares: 900 is now 90"), "{last}");
    let by = last["by"].as_str().expect("words");
    assert!(
        by.starts_with(&format!("uid={} ", rustix::process::geteuid().as_raw())),
        "{last}"
    );
    controlled.proxy.stop();
}

fn whoever_reads_over_tcp_changes_nothing(scheduler: Scheduler) {
    let controlled = Controlled::start(scheduler, "", &routes());
    let url = format!("http://{}", controlled.proxy.admin());
    let ask = |words: &[&str]| {
        let mut command = proxy::command();
        command
            .arg("ctl")
            .args(words)
            .args(["--url", &url, "--json"]);
        let output = command.output().expect("corelane runs");
        (output.status.success(), output)
    };
    for words in [
        &["servers"][..],
        &["events"],
        &["config", "--diff"],
        &["openapi"],
    ] {
        let (worked, output) = ask(words);
        assert!(worked, "{words:?}: {output:?}");
    }
    let (worked, output) = ask(&["reload"]);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(!worked && why.contains("only reads"), "{why}");
    let events = controlled.json(&["events"]);
    let reloads = events["events"].as_array().expect("a list").iter();
    assert_eq!(reloads.filter(|event| event["kind"] == "reload").count(), 0);
    controlled.proxy.stop();
}
