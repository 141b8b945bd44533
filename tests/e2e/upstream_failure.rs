//! Servers that refuse, hang, reset or don't exist: the next one is tried, the reason is counted, and nobody
//! else is affected.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use socket2::{Domain, Socket, Type};

use crate::harness::config::{forward, forward_with, route};
use crate::harness::peer::{self, Server, assert_closed_unanswered};
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::restrict;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    refused_then_next,
    all_refuse,
    hangs,
    hangs_then_next,
    resets_at_once,
    closes_at_once,
    name_not_found,
    unix_socket_missing,
    a_unix_server_that_may_not_be_connected_to_is_down,
);

fn assert_echoes(mut client: TcpStream) {
    client.write_all(b"anyone?").expect("send");
    let mut answer = [0; 7];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"anyone?");
}

fn assert_failures_grow_to(proxy: &Proxy, server: &str, reason: &str, count: f64) {
    let labels = [("upstream", "main"), ("server", server), ("reason", reason)];
    wait::until(
        &format!("{count} failures of {server}, reason {reason}"),
        || proxy.metric("corelane_upstream_connect_failures_total", &labels) >= count,
    );
}

fn refused_then_next(scheduler: Scheduler) {
    let (refusing, echo) = (peer::refusing().to_string(), peer::echo());
    let proxy = Proxy::start(
        scheduler,
        &forward(&[&refusing, &echo.address().to_string()]),
    );
    for _ in 0..10 {
        assert_echoes(proxy.connect("main"));
    }
    assert_failures_grow_to(&proxy, &refusing, "refused", 1.0);
    wait::until("a retry is counted", || {
        proxy.metric("corelane_upstream_retries_total", &[("upstream", "main")]) >= 1.0
    });
    assert_eq!(echo.accepted(), 10);
}

fn all_refuse(scheduler: Scheduler) {
    let servers = [peer::refusing().to_string(), peer::refusing().to_string()];
    let proxy = Proxy::start(scheduler, &forward(&[&servers[0], &servers[1]]));
    for _ in 0..4 {
        assert_closed_unanswered(proxy.connect("main"));
    }
    for server in &servers {
        assert_failures_grow_to(&proxy, server, "refused", 1.0);
    }
    proxy.stop();
}

fn hangs(scheduler: Scheduler) {
    let silent = Blackhole::open();
    let config = forward_with(&[&silent.address], "", "connect_timeout = \"300ms\"");
    let proxy = Proxy::start(scheduler, &config);
    assert_closed_unanswered(proxy.connect("main"));
    assert_failures_grow_to(&proxy, &silent.address, "timeout", 1.0);
}

fn hangs_then_next(scheduler: Scheduler) {
    let (silent, echo) = (Blackhole::open(), peer::echo());
    let servers = [silent.address.as_str(), &echo.address().to_string()];
    let proxy = Proxy::start(
        scheduler,
        &forward_with(&servers, "", "connect_timeout = \"300ms\""),
    );
    // Two, so that each server is somebody's first.
    assert_echoes(proxy.connect("main"));
    assert_echoes(proxy.connect("main"));
    assert_failures_grow_to(&proxy, &silent.address, "timeout", 1.0);
}

/// A reset that comes while the proxy still looks at the result of its connect is a failed connect, of which
/// the client's orderly end says nothing and the counter all; any later one is passed on.
fn resets_at_once(scheduler: Scheduler) {
    let resetting = Server::bind().serve(peer::reset);
    let server = resetting.address().to_string();
    let proxy = Proxy::start(scheduler, &forward(&[&server]));
    let ends: Vec<_> = (0..50)
        .map(|_| match TcpStream::connect(proxy.address("main")) {
            Ok(mut client) => peer::end_of(&mut client),
            // Passed on so soon that the client hasn't returned from its own connect.
            Err(error) => Some(error.kind()),
        })
        .collect();
    let orderly = ends.iter().filter(|end| end.is_none()).count();
    let passed_on = ends
        .iter()
        .filter(|end| **end == Some(ErrorKind::ConnectionReset))
        .count();
    assert_eq!(passed_on + orderly, 50, "{ends:?}");
    assert_no_connection_left(&proxy);
    let metrics = proxy.metrics();
    let failed = [("server", server.as_str()), ("reason", "reset")];
    let failed = metrics.get("corelane_upstream_connect_failures_total", &failed);
    let reset = [("listener", "main"), ("cause", "server_reset")];
    let reset = metrics.get("corelane_listener_ended_total", &reset);
    assert_eq!((failed, reset), (orderly as f64, passed_on as f64));
}

fn closes_at_once(scheduler: Scheduler) {
    let closing = Server::bind().serve(drop);
    let proxy = Proxy::start(scheduler, &forward(&[&closing.address().to_string()]));
    for _ in 0..50 {
        assert_eq!(peer::end_of(&mut proxy.connect("main")), None);
    }
    assert_no_connection_left(&proxy);
}

fn assert_no_connection_left(proxy: &Proxy) {
    wait::until("end of all connections", || {
        proxy.metric("corelane_listener_connections", &[("listener", "main")]) == 0.0
    });
}

/// `.invalid` never resolves (RFC 6761).
fn name_not_found(scheduler: Scheduler) {
    let echo = peer::echo();
    let broken = route("main", "127.0.0.1:0", &["nosuchhost.invalid:1"], "", "");
    let working = route(
        "other",
        "127.0.0.1:0",
        &[&echo.address().to_string()],
        "",
        "",
    );
    let proxy = Proxy::start(scheduler, &(broken + &working));
    assert_closed_unanswered(proxy.connect("main"));
    assert_echoes(proxy.connect("other"));
    assert_failures_grow_to(&proxy, "nosuchhost.invalid:1", "resolve", 1.0);
}

fn unix_socket_missing(scheduler: Scheduler) {
    let echo = peer::echo();
    let servers = [
        "unix:/nonexistent/corelane.sock",
        &echo.address().to_string(),
    ];
    let proxy = Proxy::start(scheduler, &forward(&servers));
    for _ in 0..4 {
        assert_echoes(proxy.connect("main"));
    }
    let labels = [("server", servers[0])];
    wait::until("its failures are counted", || {
        proxy.metric("corelane_upstream_connect_failures_total", &labels) >= 1.0
    });
}

/// It counts against the server, with and without checks: connects pass it over, and the page says what it is.
fn a_unix_server_that_may_not_be_connected_to_is_down(scheduler: Scheduler) {
    const CLIENTS: usize = 20;
    let directory = tempfile::tempdir().expect("a directory");
    let enter = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), enter).expect("permissions");
    let path = directory.path().join("server");
    let _listener = UnixListener::bind(&path).expect("bind");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
    let forbidden = format!("unix:{}", path.display());
    let echo = peer::echo();
    let servers = [forbidden.as_str(), &echo.address().to_string()];
    for health in [
        "",
        "[upstreams.main.health]\ninterval = \"100ms\"\nfall = 1\nrise = 1\n",
    ] {
        let mut command = proxy::command();
        if !restrict::as_own_user(&mut command) {
            return;
        }
        let routes = forward_with(&servers, "", health);
        let proxy = Proxy::start_command(command, &configuration(scheduler, "", &routes));
        for _ in 0..CLIENTS {
            assert_echoes(proxy.connect("main"));
        }
        if health.is_empty() {
            assert_failures_grow_to(&proxy, &forbidden, "other", 1.0);
        }
        let server = [("server", forbidden.as_str())];
        wait::until("it is down", || {
            proxy.metric("corelane_upstream_up", &server) == 0.0
        });
        let failures = proxy.metric("corelane_upstream_connect_failures_total", &server);
        assert!(failures < CLIENTS as f64 / 2.0, "{failures} tries of it");
        let state = proxy.get("/state").body;
        let state = String::from_utf8(state).expect("UTF-8");
        for told in ["this user may not connect to it (EACCES)", "namei -l"] {
            assert!(state.contains(told), "{told:?} is missing in: {state}");
        }
        proxy.stop();
    }
}

/// An address whose connection attempts get no answer: a listener with a full queue drops each SYN.
pub(crate) struct Blackhole {
    pub(crate) address: String,
    /// The listener, and what keeps its queue full.
    sockets: Vec<Socket>,
}

impl Blackhole {
    pub(crate) fn open() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .expect("bind");
        listener.listen(0).expect("listen");
        let address = listener.local_addr().expect("address");
        let mut sockets = vec![listener];
        // Linux queues one more than the backlog; the others are left unanswered.
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
            filler.set_nonblocking(true).expect("nonblocking");
            let _ = filler.connect(&address);
            sockets.push(filler);
        }
        Self {
            address: address.as_socket().expect("IPv4").to_string(),
            sockets,
        }
    }

    /// The next connection, which makes room for one more. Some are those that filled the queue.
    pub(crate) fn accept(&self) -> TcpStream {
        let listener = &self.sockets[0];
        listener
            .set_read_timeout(Some(wait::DEADLINE))
            .expect("an option");
        listener.accept().expect("a connection").0.into()
    }

    /// Whether a connection is one that filled the queue.
    pub(crate) fn is_filler(&self, stream: &TcpStream) -> bool {
        let peer = stream.peer_addr().expect("an address");
        let mut fillers = self.sockets[1..].iter();
        fillers.any(|filler| {
            let address = filler.local_addr().expect("an address");
            address.as_socket() == Some(peer)
        })
    }
}
