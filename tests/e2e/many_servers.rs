//! A thousand servers, each of which gets exactly its part; and a few that get theirs at random.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use socket2::{Domain, Socket, Type};

use crate::harness::change;
use crate::harness::config::route;
use crate::harness::limit;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(by_turns, by_connections, at_random);

const SERVERS: usize = 1000;

/// Workers, one number after the other.
const WORKERS: [usize; 3] = [1, 2, 8];

/// Both ends of all connections are here, and what else the tests have open.
const DESCRIPTORS: u64 = 2 * (WORKERS.len() * SERVERS + SERVERS / 2) as u64 + 500;

/// One socket that is a server at every address of loopback.
struct Servers {
    port: u16,
    counts: Arc<Mutex<BTreeMap<Ipv4Addr, usize>>>,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Servers {
    /// Whether connections are kept, or closed at once.
    fn start(keep: bool) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        socket.bind(&any.into()).expect("bind");
        // No client waits for a SYN that is sent again.
        socket.listen(4096).expect("listen");
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().expect("address").port();
        let (counts, is_over): (Arc<Mutex<BTreeMap<_, _>>>, Arc<AtomicBool>) = Default::default();
        let acceptor = thread::spawn({
            let (counts, is_over) = (counts.clone(), is_over.clone());
            move || {
                let mut kept = Vec::new();
                while let (Ok((stream, _)), false) = (listener.accept(), is_over.load(SeqCst)) {
                    if let Ok(SocketAddr::V4(server)) = stream.local_addr() {
                        *counts
                            .lock()
                            .expect("no panic")
                            .entry(*server.ip())
                            .or_default() += 1;
                    }
                    kept.extend(keep.then_some(stream));
                }
            }
        });
        Self {
            port,
            counts,
            is_over,
            acceptor: Some(acceptor),
        }
    }

    /// Connections that each has had.
    fn counts(&self) -> Vec<usize> {
        let counts = self.counts.lock().expect("no panic");
        let count = |number| counts.get(&server(number)).copied().unwrap_or_default();
        (0..SERVERS).map(count).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

fn server(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, (number / 250) as u8, (number % 250 + 1) as u8)
}

/// Each has one connection more for each thousand, over one, two and eight workers, and switches between them; then one more for
/// each of the 500 that a reload leaves.
fn parts(scheduler: Scheduler, balance: &str) {
    let _alone = limit::alone();
    if !limit::descriptors(DESCRIPTORS) {
        return;
    }
    let (servers, checked) = (Servers::start(true), Servers::start(false));
    let text = |workers, count: usize| {
        let addresses: Vec<_> = (0..count)
            .map(|number| format!("{}:{}", server(number), servers.port))
            .collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let rest = format!(
            "balance = \"{balance}\"\n[upstreams.main.health]\ninterval = \"2s\"\ntimeout = \"10s\"\nfall = 10\nport = {}\n",
            checked.port
        );
        let routes = route("main", "127.0.0.1:0", &addresses, "", &rest);
        change::text(scheduler, workers, "", &routes)
    };
    let proxy = Proxy::start_file(&text(WORKERS[0], SERVERS));
    wait::until("all are checked", || {
        checked.counts().iter().all(|&count| count > 0)
    });
    let mut clients = Vec::new();
    let mut open = |count: usize| {
        clients.extend((0..count).map(|_| proxy.connect("main")));
        wait::until("all have a server", || {
            servers.counts().iter().sum::<usize>() == clients.len()
        });
    };
    for (round, workers) in WORKERS.into_iter().enumerate() {
        if round > 0 {
            change::switch(&proxy, &text(workers, SERVERS));
        }
        open(SERVERS);
        assert_eq!(servers.counts(), [round + 1; SERVERS], "{workers} workers");
    }
    change::reload(&proxy, &text(WORKERS[2], SERVERS / 2));
    open(SERVERS / 2);
    let rounds = WORKERS.len();
    let (left, removed) = (vec![rounds + 1; SERVERS / 2], vec![rounds; SERVERS / 2]);
    assert_eq!(servers.counts(), [left, removed].concat());
    let failures = proxy.metric("corelane_upstream_connect_failures_total", &[]);
    assert_eq!(failures, 0.0);
}

/// Each connection is over before the next one begins, so any two are equals: the parts are as even as chance has them, over one, two
/// and eight workers, and switches between them.
fn at_random(scheduler: Scheduler) {
    const COUNT: usize = 10;
    const CONNECTIONS: usize = 500;
    let servers = Servers::start(false);
    let text = |workers| {
        let addresses: Vec<_> = (0..COUNT)
            .map(|number| format!("{}:{}", server(number), servers.port))
            .collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let rest = "balance = \"random-two\"\n";
        let routes = route("main", "127.0.0.1:0", &addresses, "", rest);
        change::text(scheduler, workers, "", &routes)
    };
    let proxy = Proxy::start_file(&text(WORKERS[0]));
    let mut before = vec![0; COUNT];
    for (round, workers) in WORKERS.into_iter().enumerate() {
        if round > 0 {
            change::switch(&proxy, &text(workers));
        }
        for _ in 0..CONNECTIONS {
            // The server closes it at once.
            let closed = proxy.connect("main").read(&mut [0; 1]);
            assert_eq!(closed.expect("an orderly end"), 0);
        }
        let counts = servers.counts();
        let parts: Vec<_> = (0..COUNT)
            .map(|place| counts[place] - before[place])
            .collect();
        assert_eq!(parts.iter().sum::<usize>(), CONNECTIONS);
        let wanted = CONNECTIONS as f64 / COUNT as f64;
        let squares = parts
            .iter()
            .map(|&part| (part as f64 - wanted).powi(2) / wanted);
        let chi_square: f64 = squares.sum();
        // Nine degrees of freedom: 27.9 is exceeded once in a thousand, thrice as much never. By turns it would be nothing.
        assert!(
            (0.01..3.0 * 27.9).contains(&chi_square),
            "{chi_square}, {workers} workers: {parts:?}"
        );
        before = counts;
    }
    proxy.stop();
}

fn by_turns(scheduler: Scheduler) {
    parts(scheduler, "round-robin");
}

fn by_connections(scheduler: Scheduler) {
    parts(scheduler, "least-connections");
}
