//! The thread that checks.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::metrics::{CheckResult, ConnectFailure};
use proxy_core::{
    Descriptor, Health, ROOM_RETRY_MAX, Server, ServerAddress, Transport, Upstream, Walk,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::schedule::Schedule;

/// Checks that are under way at a time, over all upstreams: each has a descriptor. Others wait, those that are overdue
/// the longest come first.
const CHECKS_MAX: usize = 512;

/// How long it rests when the kernel can't even say which connects are decided.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A server that is checked.
pub(super) struct Target {
    upstream: Arc<Upstream>,
    /// The server's index in its upstream.
    index: usize,
    interval: Duration,
    timeout: Duration,
    health: Health,
}

/// All servers that are checked, and the checks that are under way.
pub(super) struct Checker {
    targets: Vec<Target>,
    schedule: Schedule,
    under_way: Vec<UnderWay>,
    full: Vec<Full>,
    /// [`CHECKS_MAX`].
    under_way_max: usize,
}

/// A connect that nobody has answered yet.
struct UnderWay {
    target: usize,
    socket: Descriptor,
    /// The server's addresses, of which the last one is tried now.
    walk: Walk,
    deadline: Instant,
}

/// A unix socket that has no room for another connect now.
struct Full {
    target: usize,
    address: ServerAddress,
    walk: Walk,
    retry_at: Instant,
    deadline: Instant,
}

impl Target {
    /// A server of an upstream, which has counters for it.
    pub(super) fn new(
        upstream: Arc<Upstream>,
        index: usize,
        configured: &proxy_config::Health,
    ) -> Self {
        Self {
            upstream,
            index,
            interval: configured.interval,
            timeout: configured.timeout,
            health: Health::new(configured.rise, configured.fall),
        }
    }

    fn server(&self) -> &Server {
        &self.upstream.servers()[self.index]
    }

    /// Counts a result, and tells workers and the log what it changes.
    fn on_result(&mut self, result: CheckResult, now: Instant) {
        if let Some(checks) = &self.upstream.checks {
            checks[self.index].of(result).increment();
        }
        // This machine has no descriptor or port to spare: that says nothing of the server.
        let is_ours = result == CheckResult::Failed(ConnectFailure::Local);
        if is_ours {
            return;
        }
        let has_changed = self.health.on_check(result.passed());
        match result {
            CheckResult::Failed(reason) => self.server().outage.on_failure(reason, now),
            CheckResult::Passed if self.health.is_up() => self.server().outage.on_success(),
            // It takes more of them to be up again.
            CheckResult::Passed => {}
        }
        if !has_changed {
            return;
        }
        self.server().set_up(self.health.is_up());
        let (upstream, server) = (&self.upstream.name, &self.server().label);
        match result {
            CheckResult::Passed => tracing::info!(upstream, server, "the server is up again"),
            CheckResult::Failed(reason) => {
                let reason = reason.label();
                tracing::warn!(
                    upstream,
                    server,
                    reason,
                    "the server is down: its checks fail"
                );
            }
        }
    }
}

impl Checker {
    /// Nothing is checked yet.
    pub(super) fn new(targets: Vec<Target>) -> Self {
        let intervals = targets.iter().map(|target| target.interval);
        Self {
            schedule: Schedule::new(intervals, now()),
            targets,
            under_way: Vec::new(),
            full: Vec::new(),
            under_way_max: CHECKS_MAX,
        }
    }

    /// Checks for ever.
    pub(super) fn run(mut self) {
        loop {
            self.turn();
        }
    }

    /// Begins what is due, and sleeps until something is to be done.
    fn turn(&mut self) {
        let begun_at = now();
        self.retry(begun_at);
        while !self.is_full()
            && let Some(target) = self.schedule.pop_due(begun_at)
        {
            let walk = self.targets[target].server().walk_aside();
            self.attempt(target, walk, ConnectFailure::Resolve, begun_at);
        }
        let ready = self.wait(begun_at);
        self.look(&ready, now());
    }

    fn is_full(&self) -> bool {
        self.under_way.len() + self.full.len() >= self.under_way_max
    }

    /// Connects to the server's next address. There is none when all have failed, the last one for `reason`, or when
    /// the name has none.
    fn attempt(&mut self, target: usize, mut walk: Walk, mut reason: ConnectFailure, now: Instant) {
        let deadline = now + self.targets[target].timeout;
        while let Some(address) = walk.next(now) {
            match self.open(target, address, walk, deadline, now) {
                Ok(()) => return,
                Err((left, error)) => (walk, reason) = (left, ConnectFailure::of(&error)),
            }
            if reason != ConnectFailure::Local {
                walk.on_failure(now);
            }
        }
        self.end(target, CheckResult::Failed(reason), now);
    }

    /// Begins a connect, or the wait for room in the queue of a unix socket.
    ///
    /// # Errors
    /// Why it failed at once, and the addresses that are left.
    fn open(
        &mut self,
        target: usize,
        address: ServerAddress,
        walk: Walk,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), (Walk, io::Error)> {
        match Descriptor::connect(&address) {
            Ok(socket) => {
                if address.is_met_by(&socket) {
                    return Err((walk, Errno::CONNREFUSED.into()));
                }
                self.under_way.push(UnderWay {
                    target,
                    socket,
                    walk,
                    deadline,
                });
            }
            Err(error) if address.is_full(&error) => self.full.push(Full {
                target,
                address,
                walk,
                retry_at: now + ROOM_RETRY_MAX,
                deadline,
            }),
            Err(error) => return Err((walk, error)),
        }
        Ok(())
    }

    /// Looks again for room where there was none.
    fn retry(&mut self, now: Instant) {
        // From the end, since each that is tried is replaced by the last, and may be put back behind it.
        for index in (0..self.full.len()).rev() {
            let Full {
                retry_at, deadline, ..
            } = self.full[index];
            if retry_at > now && deadline > now {
                continue;
            }
            let check = self.full.swap_remove(index);
            let failed = if deadline <= now {
                Err((check.walk, io::ErrorKind::TimedOut.into()))
            } else {
                self.open(check.target, check.address, check.walk, deadline, now)
            };
            if let Err((walk, error)) = failed {
                self.attempt(check.target, walk, ConnectFailure::of(&error), now);
            }
        }
    }

    /// Sleeps until a connect is decided, one has taken too long, or the next check is due. Returns which are decided.
    fn wait(&self, now: Instant) -> Vec<bool> {
        let next_due = self.schedule.next_due().filter(|_| !self.is_full());
        let deadlines = self.under_way.iter().map(|check| check.deadline);
        let full = self.full.iter();
        let retries = full.map(|check| check.retry_at.min(check.deadline));
        let until = deadlines.chain(retries).chain(next_due).min();
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(now);
            // An hour is the longest that there can be.
            Timespec::try_from(left).unwrap_or_default()
        });
        let sockets = self.under_way.iter().map(|check| &check.socket);
        let mut polled: Vec<_> = sockets
            .map(|socket| PollFd::new(socket, PollFlags::OUT))
            .collect();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => polled.iter().map(|fd| !fd.revents().is_empty()).collect(),
            Err(errno) => {
                if errno != Errno::INTR {
                    // The kernel is short of memory; asking at once again would not help.
                    thread::park_timeout(RETRY_PAUSE);
                }
                vec![false; self.under_way.len()]
            }
        }
    }

    /// Ends the checks that are decided, and those that took too long.
    fn look(&mut self, ready: &[bool], now: Instant) {
        // From the end, since each that is over is replaced by the last.
        for index in (0..ready.len()).rev() {
            let check = &self.under_way[index];
            let decided = if ready[index] {
                check.socket.take_error()
            } else if check.deadline <= now {
                Err(io::ErrorKind::TimedOut.into())
            } else {
                continue;
            };
            // Its socket is closed with it, orderly.
            let check = self.under_way.swap_remove(index);
            match decided {
                Ok(()) => {
                    check.walk.on_success();
                    self.end(check.target, CheckResult::Passed, now);
                }
                Err(error) => {
                    let reason = ConnectFailure::of(&error);
                    check.walk.on_failure(now);
                    self.attempt(check.target, check.walk, reason, now);
                }
            }
        }
    }

    fn end(&mut self, target: usize, result: CheckResult, now: Instant) {
        self.targets[target].on_result(result, now);
        self.schedule.on_over(target, now);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one clock of the checks, on a thread of their own"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::num::NonZeroU32;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::Path;

    use proxy_core::{Balance, ServerAddress};
    use socket2::{Domain, SockAddr, Socket, Type};

    use super::*;

    /// Longer than anything that works takes.
    const DEADLINE: Duration = Duration::from_secs(60);
    const INTERVAL: Duration = Duration::from_millis(2);

    fn tcp(address: SocketAddr) -> Server {
        Server::fixed(address.to_string(), ServerAddress::Tcp(address), 1)
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

    fn checker(servers: Vec<Server>, timeout: Duration) -> (Checker, Arc<Upstream>) {
        let count = servers.len();
        let balance = Balance::round_robin(&vec![1; count]);
        let upstream = Upstream::new("u".into(), servers, balance, DEADLINE, 1).with_checks();
        let upstream = Arc::new(upstream);
        let health = proxy_config::Health {
            interval: INTERVAL,
            timeout,
            rise: NonZeroU32::new(2).expect("not zero"),
            fall: NonZeroU32::new(3).expect("not zero"),
        };
        let target = |index| Target::new(upstream.clone(), index, &health);
        (Checker::new((0..count).map(target).collect()), upstream)
    }

    fn count(upstream: &Upstream, server: usize, result: CheckResult) -> u64 {
        let checks = upstream.checks.as_ref().expect("it has checks");
        checks[server].of(result).get()
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
        let (mut checker, upstream) = checker(vec![tcp(address)], DEADLINE);
        let passed = || count(&upstream, 0, CheckResult::Passed);
        turn_until(&mut checker, "checks pass", |_| passed() >= 3);
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().expect("a check");
            let end = stream.read(&mut [0; 1]).expect("an end, and no reset");
            assert_eq!(end, 0);
        }
        assert!(upstream.servers()[0].is_up());
        assert_eq!((upstream.connections(0), upstream.queue()), (0, 0));
    }

    #[test]
    fn a_server_goes_and_comes_back() {
        // Nobody else takes its address meanwhile, as might happen to a port.
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let gone = UnixListener::bind(&path).expect("bind");
        let server = Server::fixed("unix".into(), ServerAddress::Unix(path.clone()), 1);
        let (mut checker, upstream) = checker(vec![server], DEADLINE);
        let passed = || count(&upstream, 0, CheckResult::Passed);
        turn_until(&mut checker, "a check passes", |_| passed() >= 1);
        drop(gone);
        let is_up = || upstream.servers()[0].is_up();
        turn_until(&mut checker, "it is down", |_| !is_up());
        assert_eq!(count(&upstream, 0, REFUSED), 3);
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
        let (mut checker, upstream) = checker(vec![tcp(address)], DEADLINE);
        let local = CheckResult::Failed(ConnectFailure::Local);
        for _ in 0..10 {
            checker.targets[0].on_result(local, now());
        }
        assert!(upstream.servers()[0].is_up());
        assert_eq!(upstream.servers()[0].outage.since(), None);
        assert_eq!(count(&upstream, 0, local), 10);
    }

    #[test]
    fn a_silent_server_holds_up_nobody() {
        let (_full, silent) = silent();
        let (_listener, address) = listener();
        let (mut checker, upstream) = checker(vec![tcp(silent), tcp(address)], DEADLINE * 2);
        let passed = || count(&upstream, 1, CheckResult::Passed);
        turn_until(&mut checker, "the other is checked", |_| passed() >= 10);
        assert_eq!(checker.under_way[0].target, 0);
        assert!(upstream.servers()[0].is_up(), "nothing is known of it");
    }

    #[test]
    fn a_silent_server_fails_by_timeout() {
        let (_full, silent) = silent();
        let (mut checker, upstream) = checker(vec![tcp(silent)], INTERVAL * 2);
        let is_up = || upstream.servers()[0].is_up();
        turn_until(&mut checker, "it is down", |_| !is_up());
        let timeout = CheckResult::Failed(ConnectFailure::Timeout);
        assert_eq!(count(&upstream, 0, timeout), 3);
    }

    #[test]
    fn checks_under_way_are_bounded_and_all_have_their_turn() {
        let (_full, silent) = silent();
        let (mut checker, upstream) = checker((0..7).map(|_| tcp(silent)).collect(), INTERVAL);
        checker.under_way_max = 2;
        let timeout = CheckResult::Failed(ConnectFailure::Timeout);
        turn_until(&mut checker, "each was checked", |checker| {
            assert!(checker.under_way.len() <= 2);
            (0..7).all(|server| count(&upstream, server, timeout) >= 3)
        });
    }

    #[test]
    fn a_name_is_checked_where_it_resolves_to() {
        let (_listener, address) = listener();
        let (_refuses, refusing) = refusing();
        let (mut checker, upstream) = checker(vec![Server::named("a:1".into(), 1)], DEADLINE);
        let server = &upstream.servers()[0];
        turn_until(&mut checker, "it is down", |_| !server.is_up());
        let unresolved = CheckResult::Failed(ConnectFailure::Resolve);
        assert_eq!(count(&upstream, 0, unresolved), 3);
        server.set_addresses(&[refusing, address]);
        turn_until(&mut checker, "it is up", |_| server.is_up());
        // An address that fails is no failure of the server, and connections pass over it.
        assert_eq!(count(&upstream, 0, REFUSED), 0);
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
        let server = Server::fixed("unix".into(), ServerAddress::Unix(path), 1);
        let (mut checker, upstream) = checker(vec![server], DEADLINE);
        turn_until(&mut checker, "it waits", |checker| checker.full.len() == 1);
        for _ in 0..5 {
            checker.turn();
        }
        assert_eq!((checker.full.len(), count(&upstream, 0, REFUSED)), (1, 0));
        listener.accept().expect("the filler");
        let passed = || count(&upstream, 0, CheckResult::Passed);
        turn_until(&mut checker, "it passes", |_| passed() >= 1);
        assert!(upstream.servers()[0].is_up());
    }

    #[test]
    fn a_unix_socket_that_stays_full_fails_by_timeout() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let (_full, _filler) = full(&path);
        let server = Server::fixed("unix".into(), ServerAddress::Unix(path), 1);
        let (mut checker, upstream) = checker(vec![server], INTERVAL * 2);
        let is_up = || upstream.servers()[0].is_up();
        turn_until(&mut checker, "it is down", |_| !is_up());
        let timeout = CheckResult::Failed(ConnectFailure::Timeout);
        assert_eq!(
            (count(&upstream, 0, timeout), count(&upstream, 0, REFUSED)),
            (3, 0)
        );
    }

    #[test]
    fn a_unix_socket_is_checked_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let server = Server::fixed("unix".into(), ServerAddress::Unix(path.clone()), 1);
        let (mut checker, upstream) = checker(vec![server], DEADLINE);
        turn_until(&mut checker, "it fails", |_| {
            count(&upstream, 0, REFUSED) >= 3
        });
        let _listener = UnixListener::bind(path).expect("bind");
        let is_up = || upstream.servers()[0].is_up();
        turn_until(&mut checker, "it is up", |_| is_up());
    }
}
