//! What the proxy says is wrong, in words.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::harness::config::{forward_with, route};
use crate::harness::peer::{self, assert_closed_unanswered};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    servers_that_are_down_are_one_alarm,
    connects_that_all_fail_are_told_before_checks_notice,
    a_server_beyond_those_shown_is_found_and_shown,
    a_finding_stays_for_a_while,
    what_is_wrong_with_a_unix_server_is_named,
    clients_beyond_max_connections_are_told_of,
    a_refused_reload_is_told_of_until_one_succeeds,
);

const HEALTH: &str = "interval = \"100ms\"\ntimeout = \"10s\"\nrise = 1\nfall = 2\n";

fn state(proxy: &Proxy) -> Value {
    serde_json::from_slice(&proxy.get("/state").body).expect("JSON")
}

/// What is found, except what is good.
fn troubles(proxy: &Proxy) -> Vec<Value> {
    let state = state(proxy);
    let findings = state["findings"].as_array().expect("findings").iter();
    findings
        .filter(|finding| finding["level"] != "good")
        // A busy machine is none of the proxy's.
        .filter(|finding| !text(finding, "what").contains("core"))
        .cloned()
        .collect()
}

fn text<'a>(finding: &'a Value, field: &str) -> &'a str {
    finding[field].as_str().expect("a text")
}

/// The one trouble that there is, once there is one and `wanted` of it.
fn wait_for(proxy: &Proxy, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut found = Vec::new();
    wait::until(what, || {
        found = troubles(proxy);
        found.first().is_some_and(&wanted)
    });
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn servers_that_are_down_are_one_alarm(scheduler: Scheduler) {
    let echo = peer::echo();
    let alive = echo.address().to_string();
    let refusing = [0, 1, 2].map(|_| peer::refusing().to_string());
    let upstream = |name: &str, servers: &[&str]| {
        let health = format!("[upstreams.{name}.health]\n{HEALTH}");
        route(name, "127.0.0.1:0", servers, "", &health)
    };
    let routes =
        upstream("aa", &[&refusing[0], &alive]) + &upstream("bb", &[&refusing[1], &refusing[2]]);
    let proxy = Proxy::start(scheduler, &routes);
    let wanted = "3 servers are down: bb has none left (2 of 2); aa 1 of 2";
    let finding = wait_for(&proxy, "all are found", |found| found["what"] == wanted);
    assert_eq!(finding["level"], "alarm");
    let why = text(&finding, "why");
    for server in &refusing {
        let told = why.split("; ").find(|part| part.contains(server.as_str()));
        let told = told.unwrap_or_else(|| panic!("{server} isn't in {why}"));
        assert!(told.contains(": connection refused since "), "{why}");
    }
    assert!(finding["since"].as_f64().is_some_and(|since| since > 1e9));
    assert!(text(&finding, "remedy").contains("start the server"));

    let ready = proxy.get("/readyz");
    assert_eq!(ready.status, 200, "it takes connections");
    let strict = proxy.get("/readyz?strict");
    let body = String::from_utf8(strict.body).expect("UTF-8");
    assert_eq!(
        (strict.status, &body[..]),
        (503, "upstream bb has no server up (2 of 2 down)\n")
    );
}

fn connects_that_all_fail_are_told_before_checks_notice(scheduler: Scheduler) {
    let refusing = peer::refusing().to_string();
    let health = "[upstreams.main.health]\ninterval = \"1h\"\nfall = 3\n";
    let proxy = Proxy::start(scheduler, &forward_with(&[&refusing], "", health));
    assert_closed_unanswered(proxy.connect("main"));
    let finding = wait_for(&proxy, "it is told", |_| true);
    assert_eq!(finding["level"], "alarm");
    assert_eq!(finding["what"], "every connect of upstream main fails");
    let why = text(&finding, "why");
    assert!(why.contains("connection refused"), "{why}");
    assert!(
        why.contains("its health checks haven't noticed yet"),
        "{why}"
    );
    assert_eq!(state(&proxy)["servers"][0]["up"], true);
}

fn a_server_beyond_those_shown_is_found_and_shown(scheduler: Scheduler) {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || listener.incoming().for_each(drop));
    let mut servers: Vec<_> = (0..300)
        .map(|n| format!("127.0.{}.{}:{port}", 1 + n / 200, 1 + n % 200))
        .collect();
    servers.push(peer::refusing().to_string());
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    // Those of another upstream, which nobody asks for, are shown as well.
    let others: Vec<_> = (0..800)
        .map(|n| format!("127.1.{}.{}:{port}", 1 + n / 200, 1 + n % 200))
        .collect();
    let other = format!("[upstreams.other]\nservers = {others:?}\n");
    let proxy = Proxy::start(scheduler, &(forward_with(&servers, "", "") + &other));
    for _ in 0..servers.len() {
        let _ = proxy.connect("main").read(&mut [0]);
    }
    let finding = wait_for(&proxy, "it is found", |_| true);
    let last = servers[300];
    let wanted = format!("server {last} of upstream main is down (1 of 301)");
    assert_eq!(text(&finding, "what"), wanted);
    let state = state(&proxy);
    assert_eq!(state["servers"][0]["server"], last);
    assert_eq!(state["servers"].as_array().map(Vec::len), Some(1024));
    assert_eq!(state["servers_left_out"], 77);
}

fn a_finding_stays_for_a_while(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("server.sock");
    let server = format!("unix:{}", path.display());
    let proxy = Proxy::start(scheduler, &forward_with(&[&server], "", ""));
    assert_closed_unanswered(proxy.connect("main"));
    wait_for(&proxy, "it is down", |found| found["level"] == "alarm");
    let _server = UnixListener::bind(&path).expect("bind");
    let _client = proxy.connect("main");
    wait::until("it is up", || state(&proxy)["servers"][0]["up"] == true);
    let past = troubles(&proxy);
    assert_eq!(past.len(), 1, "it is told for a while");
    let what = text(&past[0], "what");
    // A slow machine sees its rest end first, and then that nobody has reached it.
    let tells = what.contains("was down") || what.contains("every connect of upstream main failed");
    assert!(tells, "{what}");
    wait::until("it isn't told for ever", || troubles(&proxy).is_empty());
}

/// Each fault by what the kernel says of it, with advice that is for a file and not for a network.
fn what_is_wrong_with_a_unix_server_is_named(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    drop(UnixListener::bind(path("stale")).expect("bind"));
    let _datagrams = UnixDatagram::bind(path("datagrams")).expect("bind");
    let full = Socket::new(Domain::UNIX, Type::STREAM, None).expect("socket");
    let address = SockAddr::unix(path("full")).expect("a short path");
    full.bind(&address).expect("bind");
    full.listen(0).expect("listen");
    let _filler = UnixStream::connect(path("full")).expect("the queue's one place");
    for (name, why, remedy) in [
        (
            "missing",
            "no such file (ENOENT)",
            "start the server, which makes",
        ),
        (
            "stale",
            "nobody listens on the socket (ECONNREFUSED)",
            "ls -l",
        ),
        (
            "stale/below",
            "a part of its path is no directory (ENOTDIR)",
            "namei -l",
        ),
        (
            "datagrams",
            "the socket there is of another type (EPROTOTYPE)",
            "SOCK_STREAM",
        ),
        ("full", "its queue stays full (timeout)", "ss -lx src"),
    ] {
        let server = format!("unix:{}", path(name).display());
        let routes = forward_with(&[&server], "", "connect_timeout = \"200ms\"");
        let proxy = Proxy::start(scheduler, &routes);
        assert_closed_unanswered(proxy.connect("main"));
        let found = wait_for(&proxy, "it is down", |found| {
            text(found, "what").contains("is down")
        });
        assert!(text(&found, "why").contains(why), "{found}");
        assert!(text(&found, "remedy").contains(remedy), "{found}");
        assert!(!text(&found, "remedy").contains("firewall"), "{found}");
    }
}

fn clients_beyond_max_connections_are_told_of(scheduler: Scheduler) {
    let limit = "max_connections = 2";
    let proxy = Proxy::start(scheduler, &forward_with(&["builtin:echo"], limit, ""));
    let _admitted = [proxy.connect("main"), proxy.connect("main")];
    wait::until("both are admitted", || state(&proxy)["connections"] == 2);
    let _ = proxy.connect("main").read(&mut [0]);
    let finding = wait_for(&proxy, "it is told", |_| true);
    assert_eq!(finding["level"], "alarm");
    assert_eq!(
        finding["what"],
        "listener main turns clients away: it has its max_connections (2)"
    );
    let why = text(&finding, "why");
    assert!(
        why.starts_with("1 client was closed at once since "),
        "{why}"
    );
}

fn a_refused_reload_is_told_of_until_one_succeeds(scheduler: Scheduler) {
    let routes = |more: &str| forward_with(&["builtin:echo"], more, "");
    let proxy = Proxy::start(scheduler, &routes(""));
    proxy.reload(scheduler, &routes("shares = 0"));
    let finding = wait_for(&proxy, "the refusal is told", |_| true);
    assert_eq!(finding["level"], "warning");
    let what = text(&finding, "what");
    assert!(
        what.starts_with("the configuration was not reloaded"),
        "{what}"
    );
    let why = text(&finding, "why");
    assert!(why.contains("listeners.main.shares"), "{why}");
    proxy.reload(scheduler, &routes("nonsense = 1"));
    let reason = |found: &Value| text(found, "why").contains("nonsense");
    wait_for(&proxy, "the new reason is told", reason);
    proxy.reload(scheduler, &routes("shares = 9"));
    wait::until("it is no longer told", || troubles(&proxy).is_empty());
}
