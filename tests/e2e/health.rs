//! Health checks: who is down gets no connections, and who comes back gets them again.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::harness::config::{forward_with, route};
use crate::harness::peer::{self, assert_closed_unanswered};
use crate::harness::process::thread_names;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::redis::{Client, Redis};
use crate::upstream_failure::Blackhole;

each_scheduler!(
    a_server_goes_and_comes_back,
    all_down_are_tried_anyway,
    traffic_does_not_change_the_verdict,
    checks_are_no_connections,
    reasons_are_counted,
    no_checks_no_thread,
);

/// As often as can be configured, and patient on a machine that has no time for them.
const HEALTH: &str =
    "[upstreams.main.health]\ninterval = \"100ms\"\ntimeout = \"10s\"\nrise = 2\nfall = 3\n";

const THREAD: &str = "corelane-health";

fn start(scheduler: Scheduler, servers: &[&str]) -> Proxy {
    Proxy::start(scheduler, &forward_with(servers, "", HEALTH))
}

fn is_up(proxy: &Proxy, server: &str) -> bool {
    proxy.metric("corelane_upstream_up", &[("server", server)]) == 1.0
}

fn checks(proxy: &Proxy, server: &str, result: &str) -> f64 {
    let labels = [("server", server), ("result", result)];
    proxy.metric("corelane_upstream_health_checks_total", &labels)
}

fn retries(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_upstream_retries_total", &[("upstream", "main")])
}

fn ping(proxy: &Proxy) {
    let mut client = Client::connect(proxy, "main");
    client.request(&[b"PING"]);
    assert_eq!(client.line(), "+PONG");
}

/// A real service is killed, and started again on its port.
fn a_server_goes_and_comes_back(scheduler: Scheduler) {
    let (stays, goes) = (Redis::start(), Redis::start());
    let servers = [stays.address.to_string(), goes.address.to_string()];
    let proxy = start(scheduler, &[&servers[0], &servers[1]]);
    wait::until("both are checked", || {
        servers
            .iter()
            .all(|server| checks(&proxy, server, "passed") >= 2.0)
    });
    let address = goes.address;
    drop(goes);
    wait::until("it is down", || !is_up(&proxy, &servers[1]));
    assert!(checks(&proxy, &servers[1], "refused") >= 3.0);
    assert!(is_up(&proxy, &servers[0]));
    wait_for_log(&proxy, &servers[1], "the server is down");
    let event = |words: &str| proxy.tells("check", &format!("main {} {words}", servers[1]));
    event("is down: its checks fail: refused");

    let before = retries(&proxy);
    (0..20).for_each(|_| ping(&proxy));
    assert_eq!(retries(&proxy), before, "a server that is down was tried");

    let passed = checks(&proxy, &servers[1], "passed");
    let _again = Redis::start_on(address.port());
    wait::until("it is up again", || is_up(&proxy, &servers[1]));
    assert!(checks(&proxy, &servers[1], "passed") >= passed + 2.0);
    wait_for_log(&proxy, &servers[1], "the server is up again");
    event("is up again");
    let connects = || bytes(&proxy, &servers[1], "in");
    let before = connects();
    wait::until("it has its part of the connections", || {
        ping(&proxy);
        connects() > before
    });
    proxy.stop();
}

/// A line of the log about a server, and no more than one.
fn wait_for_log(proxy: &Proxy, server: &str, words: &str) {
    wait::until(&format!("a line: {words}"), || {
        let log = proxy.log();
        let lines = log.lines().filter(|line| line.contains(server));
        let lines = lines.filter(|line| line.contains(words)).count();
        assert!(lines <= 1, "{log}");
        lines == 1
    });
}

fn bytes(proxy: &Proxy, server: &str, direction: &str) -> f64 {
    let labels = [
        ("upstream", "main"),
        ("server", server),
        ("direction", direction),
    ];
    proxy.metric("corelane_upstream_bytes_total", &labels)
}

/// Checks that are wrong must not be an outage.
fn all_down_are_tried_anyway(scheduler: Scheduler) {
    let flaky = [Flaky::new(), Flaky::new()];
    let servers = flaky.each_ref().map(|server| server.address.to_string());
    // Down at the first check, and not up again while this runs.
    let health = "[upstreams.main.health]\ninterval = \"1s\"\nrise = 100\nfall = 1\n";
    let routes = forward_with(&[&servers[0], &servers[1]], "", health);
    let proxy = Proxy::start(scheduler, &routes);
    wait::until("both are down", || {
        servers.iter().all(|server| !is_up(&proxy, server))
    });
    assert_closed_unanswered(proxy.connect("main"));
    assert_eq!(retries(&proxy), 1.0, "each was tried once");
    flaky[1].start();
    let mut client = proxy.connect("main");
    client.write_all(b"anyone?").expect("send");
    let mut answer = [0; 7];
    client.read_exact(&mut answer).expect("an answer");
    assert!(servers.iter().all(|server| !is_up(&proxy, server)));
}

/// An address where nobody listens until it is started.
struct Flaky {
    address: SocketAddr,
}

impl Flaky {
    fn new() -> Self {
        Self {
            address: peer::refusing(),
        }
    }

    /// Answers each connection with what it sends, for as long as the test runs.
    fn start(&self) {
        let listener = TcpListener::bind(self.address).expect("the port is free");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
    }
}

/// A connect that fails is counted, and leaves the verdict to the checks.
fn traffic_does_not_change_the_verdict(scheduler: Scheduler) {
    let silent = Blackhole::open();
    let health = HEALTH.replace("100ms", "1h");
    let upstream = format!("connect_timeout = \"100ms\"\n{health}");
    let servers = [silent.address.as_str()];
    let proxy = Proxy::start(scheduler, &forward_with(&servers, "", &upstream));
    assert_closed_unanswered(proxy.connect("main"));
    let failed = [("server", servers[0]), ("reason", "timeout")];
    wait::until("the failure is counted", || {
        proxy.metric("corelane_upstream_connect_failures_total", &failed) == 1.0
    });
    assert!(is_up(&proxy, servers[0]));
}

fn checks_are_no_connections(scheduler: Scheduler) {
    let server = peer::echo();
    let address = server.address().to_string();
    let proxy = start(scheduler, &[&address]);
    wait::until("it is checked", || {
        checks(&proxy, &address, "passed") >= 5.0 && server.accepted() >= 5
    });
    let metrics = proxy.metrics();
    let labels = [("upstream", "main")];
    for name in [
        "corelane_upstream_connections",
        "corelane_upstream_queue",
        "corelane_upstream_connect_seconds_count",
        "corelane_upstream_bytes_total",
        "corelane_upstream_connect_failures_total",
    ] {
        assert_eq!(metrics.get(name, &labels), 0.0, "{name}");
    }
    assert_eq!(metrics.get("corelane_listener_connections_total", &[]), 0.0);
}

fn reasons_are_counted(scheduler: Scheduler) {
    let (silent, refusing) = (Blackhole::open(), peer::refusing().to_string());
    let servers = [
        (refusing.as_str(), "refused"),
        ("nosuchhost.invalid:1", "resolve"),
        ("unix:/nonexistent/corelane.sock", "refused"),
        ("builtin:echo", "passed"),
    ];
    let hasty = HEALTH.replace("10s", "50ms").replace("main", "silent");
    let bind = "127.0.0.1:0";
    let routes = route("main", bind, &servers.map(|(server, _)| server), "", HEALTH)
        + &route("silent", bind, &[&silent.address], "", &hasty);
    let proxy = Proxy::start(scheduler, &routes);
    let main = servers.map(|(server, result)| ("main", server, result));
    let silent = ("silent", silent.address.as_str(), "timeout");
    for (upstream, server, result) in main.into_iter().chain([silent]) {
        wait::until(&format!("{server} is checked: {result}"), || {
            checks(&proxy, server, result) >= 3.0
        });
        wait::until("the verdict", || {
            is_up(&proxy, server) == (result == "passed")
        });
        let labels = [("upstream", upstream), ("server", server)];
        let metrics = proxy.metrics();
        let name = "corelane_upstream_health_checks_total";
        let series: Vec<_> = metrics.series(name, &labels).collect();
        assert_eq!(series.len(), 10, "{series:?}");
        let others = series.iter().filter(|(labels, count)| {
            *count > 0.0 && !labels.contains(&format!("result=\"{result}\""))
        });
        assert_eq!(others.count(), 0, "{series:?}");
    }
    // Everyone is tried but those that are down.
    for _ in 0..10 {
        let mut client = proxy.connect("main");
        client.write_all(b"?").expect("send");
        client.read_exact(&mut [0; 1]).expect("an answer");
    }
    assert_eq!(retries(&proxy), 0.0);
    assert!(thread_names(proxy.pid()).contains(&THREAD.to_owned()));
}

fn no_checks_no_thread(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward_with(&["builtin:echo"], "", ""));
    let names = thread_names(proxy.pid());
    assert!(!names.contains(&THREAD.to_owned()), "{names:?}");
    let series = proxy.metrics();
    let checks = series.series("corelane_upstream_health_checks_total", &[]);
    assert_eq!(checks.count(), 0);
}
