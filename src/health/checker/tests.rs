use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use proxy_core::metrics::CheckResult;
use proxy_core::{Server, ServerAddress, Upstream};
use socket2::{Domain, SockAddr, Socket, Type};

use super::super::script::Saying;
use super::super::target::{self, Target};
use super::*;

/// Longer than anything that works takes.
const DEADLINE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(2);

fn fixed(address: ServerAddress) -> Server {
    Server::fixed(&Upstream::new("u".into()), address.to_string(), address)
}

fn tcp(address: SocketAddr) -> Server {
    fixed(ServerAddress::Tcp(address))
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A server that drops each SYN, and what keeps its queue full.
fn silent() -> (Vec<Socket>, SocketAddr) {
    let stream = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let listener = stream();
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .expect("a port");
    listener.listen(0).expect("listen");
    let address = listener.local_addr().expect("an address");
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let filler = stream();
        filler.set_nonblocking(true).expect("nonblocking");
        let _ = filler.connect(&address);
        sockets.push(filler);
    }
    (sockets, address.as_socket().expect("IPv4"))
}

/// An address at which nobody listens, for as long as the socket lives that has it.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address.as_socket().expect("IPv4"))
}

/// A unix socket whose queue is full, and what fills it.
fn full(path: &Path) -> (Socket, UnixStream) {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("socket");
    let address = SockAddr::unix(path).expect("a short path");
    listener.bind(&address).expect("bind");
    listener.listen(0).expect("listen");
    let filler = UnixStream::connect(path).expect("the queue's one place");
    (listener, filler)
}

fn health(timeout: Duration) -> proxy_config::Health {
    proxy_config::Health {
        interval: INTERVAL,
        fast_interval: INTERVAL,
        timeout,
        rise: NonZeroU32::new(2).expect("not zero"),
        fall: NonZeroU32::new(3).expect("not zero"),
        ..proxy_config::Health::default()
    }
}

fn checker(servers: Vec<Server>, timeout: Duration) -> (Checker, Vec<Arc<Server>>) {
    let servers: Vec<_> = servers.into_iter().map(Arc::new).collect();
    let health = health(timeout);
    let mut checker = Checker::new(Arc::new(Inbox::new().expect("a descriptor")));
    order(&mut checker, &servers, &health);
    (checker, servers)
}

fn order(checker: &mut Checker, servers: &[Arc<Server>], health: &proxy_config::Health) {
    let targets = servers.iter().cloned();
    // One for all, as each configuration has one.
    static SAYING: LazyLock<Arc<Saying>> = LazyLock::new(|| Arc::new(Saying::Nothing));
    let saying = &*SAYING;
    let upstream = target::Upstream {
        health,
        saying,
        holds: false,
        send_proxy: None,
        connect_options: None,
        first: &Arc::default(),
    };
    let any = proxy_config::ServerAddress::BuiltinEcho;
    let targets = targets.map(|server| {
        let said = saying.to(&any, None);
        Asked::Check(Target::new(server, None, said, &upstream).into())
    });
    checker
        .inbox
        .put(Order::Check(targets.collect(), Vec::new()));
    assert!(checker.follow_orders());
}

fn count(server: &Server, result: CheckResult) -> u64 {
    server.checks.of(result).get()
}

const REFUSED: CheckResult = CheckResult::Failed(ConnectFailure::Refused);

fn turn_until(checker: &mut Checker, what: &str, mut condition: impl FnMut(&Checker) -> bool) {
    let begun_at = now();
    while !condition(checker) {
        assert!(begun_at.elapsed() < DEADLINE, "still waiting: {what}");
        checker.turn();
    }
}

#[test]
fn a_check_is_a_connection_that_ends_orderly() {
    let (listener, address) = listener();
    let (mut checker, servers) = checker(vec![tcp(address)], DEADLINE);
    let passed = || count(&servers[0], CheckResult::Passed);
    turn_until(&mut checker, "checks pass", |_| passed() >= 3);
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().expect("a check");
        let end = stream.read(&mut [0; 1]).expect("an end, and no reset");
        assert_eq!(end, 0);
    }
    assert!(servers[0].is_up());
    assert_eq!(servers[0].connections(), 0);
}

#[test]
fn a_server_goes_and_comes_back() {
    // Nobody else takes its address meanwhile, as might happen to a port.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let gone = UnixListener::bind(&path).expect("bind");
    let server = fixed(ServerAddress::Unix(path.clone()));
    let (mut checker, servers) = checker(vec![server], DEADLINE);
    let passed = || count(&servers[0], CheckResult::Passed);
    turn_until(&mut checker, "a check passes", |_| passed() >= 1);
    drop(gone);
    let is_up = || servers[0].is_up();
    turn_until(&mut checker, "it is down", |_| !is_up());
    assert_eq!(count(&servers[0], REFUSED), 3);
    let before = passed();
    // Those that wait need no accept.
    std::fs::remove_file(&path).expect("the socket's file");
    let _back = UnixListener::bind(&path).expect("bind");
    turn_until(&mut checker, "it is up again", |_| is_up());
    assert_eq!(passed() - before, 2);
}

#[test]
fn what_this_machine_lacks_takes_no_server_down() {
    let (_listener, address) = listener();
    let (mut checker, servers) = checker(vec![tcp(address)], DEADLINE);
    let local = CheckResult::Failed(ConnectFailure::Local);
    for _ in 0..10 {
        checker.targets[0].on_over(Err(ConnectFailure::Local.into()), None, now());
    }
    assert!(servers[0].is_up());
    assert_eq!(servers[0].outage.since(), None);
    assert_eq!(count(&servers[0], local), 10);
}

#[test]
fn a_silent_server_holds_up_nobody() {
    let (_full, silent) = silent();
    let (_listener, address) = listener();
    let (mut checker, servers) = checker(vec![tcp(silent), tcp(address)], DEADLINE * 2);
    let passed = || count(&servers[1], CheckResult::Passed);
    turn_until(&mut checker, "the other is checked", |_| passed() >= 10);
    assert_eq!(checker.under_way[0].target, 0);
    assert!(servers[0].is_up(), "nothing is known of it");
}

#[test]
fn a_silent_server_fails_by_timeout() {
    let (_full, silent) = silent();
    let (mut checker, servers) = checker(vec![tcp(silent)], INTERVAL * 2);
    let is_up = || servers[0].is_up();
    turn_until(&mut checker, "it is down", |_| !is_up());
    let timeout = CheckResult::Failed(ConnectFailure::Timeout);
    assert_eq!(count(&servers[0], timeout), 3);
}

#[test]
fn checks_under_way_are_bounded_and_all_have_their_turn() {
    let (_full, silent) = silent();
    let (mut checker, servers) = checker((0..7).map(|_| tcp(silent)).collect(), INTERVAL);
    checker.under_way_max = 2;
    let timeout = CheckResult::Failed(ConnectFailure::Timeout);
    turn_until(&mut checker, "each was checked", |checker| {
        assert!(checker.under_way.len() <= 2);
        (0..7).all(|server| count(&servers[server], timeout) >= 3)
    });
}

#[test]
fn a_name_is_checked_where_it_resolves_to() {
    let (_listener, address) = listener();
    let (_refuses, refusing) = refusing();
    let (mut checker, servers) = checker(
        vec![Server::named(&Upstream::new("u".into()), "a:1".into())],
        DEADLINE,
    );
    let server = &servers[0];
    turn_until(&mut checker, "it is down", |_| !server.is_up());
    let unresolved = CheckResult::Failed(ConnectFailure::Resolve);
    assert_eq!(count(&servers[0], unresolved), 3);
    server.set_addresses(&[refusing, address]);
    turn_until(&mut checker, "it is up", |_| server.is_up());
    // An address that fails is no failure of the server, and connections pass over it.
    assert_eq!(count(&servers[0], REFUSED), 0);
    for _ in 0..2 {
        let first = server.walk().next(now());
        assert_eq!(first, Some(ServerAddress::Tcp(address)));
    }
    assert!(TcpStream::connect(address).is_ok());
}

#[test]
fn a_full_unix_socket_is_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let (listener, _filler) = full(&path);
    let server = fixed(ServerAddress::Unix(path));
    let (mut checker, servers) = checker(vec![server], DEADLINE);
    turn_until(&mut checker, "it waits", |checker| checker.full.len() == 1);
    for _ in 0..5 {
        checker.turn();
    }
    assert_eq!((checker.full.len(), count(&servers[0], REFUSED)), (1, 0));
    listener.accept().expect("the filler");
    let passed = || count(&servers[0], CheckResult::Passed);
    turn_until(&mut checker, "it passes", |_| passed() >= 1);
    assert!(servers[0].is_up());
}

#[test]
fn a_unix_socket_that_stays_full_fails_by_timeout() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let (_full, _filler) = full(&path);
    let server = fixed(ServerAddress::Unix(path));
    let (mut checker, servers) = checker(vec![server], INTERVAL * 2);
    let is_up = || servers[0].is_up();
    turn_until(&mut checker, "it is down", |_| !is_up());
    let timeout = CheckResult::Failed(ConnectFailure::Timeout);
    assert_eq!(
        (count(&servers[0], timeout), count(&servers[0], REFUSED)),
        (3, 0)
    );
}

#[test]
fn a_unix_socket_is_checked_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let server = fixed(ServerAddress::Unix(path.clone()));
    let (mut checker, servers) = checker(vec![server], DEADLINE);
    turn_until(&mut checker, "it fails", |_| {
        count(&servers[0], REFUSED) >= 3
    });
    let _listener = UnixListener::bind(path).expect("bind");
    let is_up = || servers[0].is_up();
    turn_until(&mut checker, "it is up", |_| is_up());
}

#[test]
fn who_stays_keeps_its_verdict_and_its_check_and_who_is_gone_is_left_alone() {
    let (_full, silent) = silent();
    let (_refuses, refusing) = refusing();
    let (mut checker, servers) = checker(vec![tcp(refusing), tcp(silent)], DEADLINE);
    turn_until(&mut checker, "it is down", |checker| {
        !servers[0].is_up() && checker.under_way.len() == 1
    });
    // In another order, beside a new one.
    let (_listener, address) = listener();
    let fresh = Arc::new(tcp(address));
    let new = [servers[1].clone(), fresh.clone(), servers[0].clone()];
    order(&mut checker, &new, &health(DEADLINE));
    assert_eq!(checker.under_way.len(), 1, "it goes on");
    assert_eq!(checker.under_way[0].target, 0);
    let passed = || count(&fresh, CheckResult::Passed);
    turn_until(&mut checker, "the new one is checked", |_| passed() >= 3);
    assert!(!servers[0].is_up());
    let (silent, removed) = (&new[0], &new[2]);
    order(&mut checker, &new[1..2], &health(DEADLINE));
    assert_eq!(checker.under_way.len(), 0);
    let before = (count(silent, REFUSED), count(removed, REFUSED), passed());
    turn_until(&mut checker, "the other one is checked", |_| {
        passed() >= before.2 + 10
    });
    assert_eq!(
        (count(silent, REFUSED), count(removed, REFUSED)),
        (before.0, before.1)
    );
    // It comes back as it was.
    order(
        &mut checker,
        std::slice::from_ref(removed),
        &health(DEADLINE),
    );
    turn_until(&mut checker, "it is checked", |_| {
        count(removed, REFUSED) > before.1 + 3
    });
    assert!(!removed.is_up());
}

#[test]
fn it_stops_in_its_sleep() {
    let inbox = Arc::new(Inbox::new().expect("a descriptor"));
    let checker = Checker::new(inbox.clone());
    let thread = thread::spawn(move || checker.run());
    inbox.put(Order::Stop);
    thread.join().expect("it ends");
}
