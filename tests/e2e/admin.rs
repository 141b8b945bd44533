//! The admin server.

use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};

use crate::harness::config::forward;
use crate::harness::limit;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    health,
    runtime_info,
    exposition,
    gives_way,
    silent_clients_blind_nobody,
    a_rebound_name_sees_no_client,
);

/// Several times as many as the admin server has at a time.
const SILENT: usize = 200;

/// How many of those are open at least when somebody who came after them has an answer.
const OPEN_MIN: usize = 32;

fn start(scheduler: Scheduler) -> Proxy {
    Proxy::start(scheduler, &forward(&["builtin:echo"]))
}

fn health(scheduler: Scheduler) {
    let proxy = start(scheduler);
    assert_eq!(proxy.get("/healthz").status, 200);
    assert_eq!(proxy.get("/readyz").status, 200);
    assert_eq!(proxy.get("/nothing-here").status, 404);
}

/// The thread that answers is nicer than the workers.
fn gives_way(scheduler: Scheduler) {
    let proxy = start(scheduler);
    let niceness = |name: &str| {
        let tasks = format!("/proc/{}/task", proxy.pid());
        let threads = std::fs::read_dir(tasks).expect("the process runs");
        let stat = threads
            .map(|thread| thread.expect("a thread").path().join("stat"))
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .find(|stat| stat.contains(name))
            .expect("a thread of this name");
        // After the name, which ends with a bracket, it is the 17th field (proc_pid_stat(5): 19).
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let field = fields.split_whitespace().nth(16).expect("a niceness");
        field.parse::<i32>().expect("a number")
    };
    assert!(niceness("(corelane-admin)") > niceness("(corelane-w0)"));
}

fn runtime_info(scheduler: Scheduler) {
    let metrics = start(scheduler).metrics();
    let labels = match scheduler {
        Scheduler::Glommio => vec![("scheduler", "glommio")],
        Scheduler::WorkStealing => vec![("scheduler", "tokio"), ("mode", "work-stealing")],
        Scheduler::PerCore => vec![("scheduler", "tokio"), ("mode", "per-core")],
    };
    assert_eq!(metrics.get("corelane_runtime_info", &labels), 1.0);
    assert_eq!(metrics.series("corelane_build_info", &[]).count(), 1);
}

/// Prometheus' own linter accepts names, types and help texts, before traffic and after.
fn exposition(scheduler: Scheduler) {
    let proxy = start(scheduler);
    lint(proxy.metrics().text());
    proxy.connect("main").write_all(b"hello").expect("send");
    lint(proxy.metrics().text());
}

/// Panics with what promtool finds.
pub(crate) fn lint(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return println!("skipped: promtool isn't installed; `bash tests/run` installs it");
    };
    promtool
        .stdin
        .take()
        .expect("piped")
        .write_all(text.as_bytes())
        .expect("write");
    let output = promtool.wait_with_output().expect("promtool");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{complaints}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

fn silent_clients_blind_nobody(scheduler: Scheduler) {
    if !limit::descriptors(2 * SILENT as u64) {
        return;
    }
    let proxy = start(scheduler);
    for half_a_request in ["", "GET /healthz HTTP/1.1\r\nHost: test\r\nX: "] {
        let silent: Vec<_> = (0..SILENT)
            .map(|_| {
                let mut stream = peer::connect(proxy.admin());
                // It may be closed already, for one that came after it.
                let _ = stream.write_all(half_a_request.as_bytes());
                stream
            })
            .collect();
        for path in ["/healthz", "/metrics", "/state"] {
            assert_eq!(proxy.get(path).status, 200, "{path}");
        }
        // Nobody had to wait until those are closed for their silence: the last ones are open.
        let open = silent.iter().filter(|stream| {
            stream.set_nonblocking(true).expect("a socket");
            matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
        });
        let open = open.count();
        assert!(open > OPEN_MIN, "{open} of {SILENT} are open");
    }
}

fn a_rebound_name_sees_no_client(scheduler: Scheduler) {
    let proxy = start(scheduler);
    let _client = proxy.connect("main");
    let get = |path: &str, host: &str| {
        let mut stream = peer::connect(proxy.admin());
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("receive");
        answer
    };
    for path in ["/connections", "/state", "/events", "/config", "/"] {
        let answer = get(path, "rebound.example:9600");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
        assert!(!answer.contains("127.0.0.1"), "{path}: {answer}");
    }
    for host in [&*proxy.admin().to_string(), "localhost:9600", "corelane"] {
        let answer = get("/connections", host);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    assert!(get("/healthz", "rebound.example").starts_with("HTTP/1.1 200 "));
    wait::until("the log says it", || {
        proxy.log().contains("rebound.example")
    });
}
