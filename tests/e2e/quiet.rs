//! An idle proxy sleeps: no thread of it, the admin server's included, makes a system call. Clients that wait for a place wake
//! nobody either.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::config::forward_with;
use crate::harness::peer;
use crate::harness::process::thread_names;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::strace::{self, Strace};

each_scheduler!(after_load);

/// After the load: the last second's averages may still be computed. After strace has attached: each thread
/// makes the call again that this interrupted.
const SETTLE: Duration = Duration::from_secs(3);

const WATCH: Duration = Duration::from_secs(3);

fn after_load(scheduler: Scheduler) {
    if let Some(why) = strace::refusal() {
        return println!("skipped: {why}");
    }
    let log = "[access_log]\npath = \"/dev/null\"\n";
    let limits = "max_connections = 20\nover_limit = \"wait\"";
    let routes = log.to_owned() + &forward_with(&["builtin:echo"], limits, "");
    let proxy = Proxy::start_with(scheduler, "watch = true\n", &routes);
    // Idle connections, which stay open, are no reason to wake up either.
    let mut clients: Vec<_> = (0..20).map(|_| proxy.connect("main")).collect();
    for _ in 0..200 {
        for client in &mut clients {
            client.write_all(&[1; 64]).expect("send");
            client.read_exact(&mut [0; 64]).expect("receive");
        }
    }
    // A line for the log's thread.
    clients.pop();
    // One has its place; the others wait.
    clients.extend((0..4).map(|_| proxy.connect("main")));
    assert_eq!(proxy.get("/metrics").status, 200);
    let names = thread_names(proxy.pid());
    assert!(
        !names.iter().any(|name| name == "corelane-health"),
        "{names:?}"
    );
    assert_eq!(proxy.get("/connections").status, 200);
    // Somebody had the live page open, and went.
    let mut page = peer::connect(proxy.admin());
    page.write_all(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("send");
    page.read_exact(&mut [0; 1]).expect("receive");
    drop(page);
    thread::sleep(SETTLE);

    let calls = system_calls(&proxy);
    assert!(
        calls.is_empty(),
        "an idle proxy makes {} calls:\n{}",
        calls.len(),
        calls.join("\n")
    );
}

/// The system calls of [`WATCH`], one a line.
fn system_calls(proxy: &Proxy) -> Vec<String> {
    let strace = Strace::attach(proxy, &[]);
    thread::sleep(SETTLE);
    let begin = now();
    thread::sleep(WATCH);
    let end = now();
    let trace = strace.finish();
    // strace itself writes of threads that it leaves.
    let within = |line: &&str| {
        let seconds = line
            .split_whitespace()
            .nth(1)
            .and_then(|field| field.parse().ok());
        seconds.is_some_and(|seconds: f64| (begin..end).contains(&seconds))
    };
    trace
        .lines()
        .filter(within)
        .take(50)
        .map(str::to_owned)
        .collect()
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64()
}
