//! The admin server: metrics, health and the live page, on threads of their own.
//!
//! Workers count into cells and know nothing of who reads them. A scrape reads the cells, the threads' CPU clocks
//! and `/proc` on the thread `corelane-admin`; the thread `corelane-sampler` reads the CPU clocks once a second
//! for what needs two samples: utilization and imbalance. `/connections` copies the live connections' cells, a few at a time.

mod advice;
mod api;
pub mod commands;
mod exposition;
mod findings;
mod http;
mod moment;
mod observed;
mod page;
mod sampling;
mod token;
mod utc;

#[cfg(test)]
mod fixture;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proxy_core::Descriptor;
use rustix::net::getsockname;
use rustix::process::nice;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

pub use self::api::Api;
use self::exposition::Exposition;
use self::http::events::Broadcast;
use self::http::hosts::Hosts;
use self::http::paths::Paths;
pub use self::http::security::{Security, Tls};
use self::http::server;
pub use self::observed::Observed;
pub use self::observed::client_lists::{ClientList, ClientLists};
pub use self::observed::discoveries::{Discoveries, DiscoveryView};
pub use self::observed::events::{EVENTS_MAX, Event, EventKind, Events};
pub use self::observed::log::{Log, LogView};
pub use self::observed::reloads::{Refusal, Reloads};
pub use self::observed::running::Running;
pub use self::observed::surroundings::{Lines, Surroundings};
pub use self::observed::switches::Switches;
use self::sampling::sampler::Sampler;
pub use self::token::{TOKEN_MAX, TOKEN_MIN, Token};
pub use self::utc::Utc;

/// Niceness of the thread that answers, above the process's own: where it shares a CPU with a worker, a scrape of a
/// thousand servers (ten milliseconds) gives way to messages, and still has a tenth of a CPU that is full.
const NICENESS: i32 = 10;

/// Connections that wait to be accepted at a listening socket of an admin server.
pub const BACKLOG: u16 = 128;

/// How long the last answers may take of a server that retires.
const RETIRE_PATIENCE: Duration = Duration::from_millis(200);

/// How long who gives sockets away waits until the server has emptied them.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// An admin server. It ends, with its connections and threads, when dropped.
pub struct Admin {
    /// Where it listens, or is to listen, with the port that the kernel chose.
    pub address: SocketAddr,
    paths: Arc<Paths>,
    /// What is accepted from, until it is dropped.
    gate: Mutex<Option<Gate>>,
    clients: server::Shared,
    /// The server's thread runs until this is gone.
    orders: Option<UnboundedSender<Order>>,
    server: Option<JoinHandle<()>>,
    _sampler: Sampler,
}

/// What is counted.
pub struct Counted(Arc<Paths>);

impl Counted {
    /// The totals of now, as bytes, for the next process: [`Observed::earlier`].
    pub fn totals(&self) -> Vec<u8> {
        self.0.totals()
    }
}

/// What the server's thread is asked for: to accept from sockets that listen.
struct Order {
    sockets: Vec<Descriptor>,
    closing: watch::Receiver<()>,
    /// Whoever has this accepts.
    accepting: mpsc::Sender<()>,
}

/// Some sockets that are accepted from. Dropped, whoever waits at them is still taken; then they are closed.
struct Gate {
    closing: watch::Sender<()>,
    /// Its other side is gone when the sockets are closed.
    accepting: mpsc::Receiver<()>,
}

impl Gate {
    /// Closes, and waits until the sockets are closed, which a thread that answers a scrape may do later.
    fn close(self) {
        drop(self.closing);
        // Nothing is ever sent.
        let _ = self.accepting.recv_timeout(CLOSE_PATIENCE);
    }
}

/// The address of a listening socket of TCP.
///
/// # Errors
/// What `getsockname(2)` returns.
fn address_of(socket: &Descriptor) -> io::Result<SocketAddr> {
    let address = getsockname(socket)?;
    SocketAddr::try_from(address).map_err(|_| io::Error::other("an admin server listens on TCP"))
}

/// Starts what serves what `observed` shows, at `address` later: see [`Admin::serve`]. It answers to `hosts`, besides the names
/// that are always its own.
///
/// # Errors
/// When there is no thread or reactor left for it.
pub fn start(
    address: SocketAddr,
    observed: Arc<Observed>,
    hosts: &[String],
    api: Arc<Api>,
    security: Security,
) -> io::Result<Admin> {
    let sampler = Sampler::start(observed.clone())?;
    let exposition = Exposition::new(observed.clone(), sampler.watch.clone());
    let broadcast = Broadcast::new(observed.clone(), sampler.watch.clone());
    let hosts = Hosts::new(hosts, address.ip());
    let paths = Arc::new(Paths::new(
        (hosts, security),
        observed,
        exposition,
        broadcast,
        api,
    ));
    let (orders, ordered) = unbounded_channel();
    let (tell, started) = mpsc::channel();
    let its = paths.clone();
    let clients = server::Shared::default();
    let shared = clients.clone();
    let server = thread::Builder::new()
        .name("corelane-admin".to_owned())
        .spawn(move || {
            // Refused, a scrape takes its full share of a CPU; that is no reason to have none.
            let _ = nice(NICENESS);
            // Made here, since a runtime must not be dropped where another one runs, as it does around the caller.
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            // The receiver waits for it.
            let _ = tell.send(Ok(()));
            runtime.block_on(obey(ordered, its, clients));
        })?;
    // A thread that ends without a word panicked, which its output tells.
    let ended = || {
        Err(io::Error::other(
            "the admin server's thread ended while starting",
        ))
    };
    started.recv().unwrap_or_else(|_| ended())?;
    Ok(Admin {
        address,
        paths,
        gate: Mutex::default(),
        clients: shared,
        orders: Some(orders),
        server: Some(server),
        _sampler: sampler,
    })
}

/// Does what is ordered until nothing can be any more.
async fn obey(mut orders: UnboundedReceiver<Order>, paths: Arc<Paths>, clients: server::Shared) {
    while let Some(order) = orders.recv().await {
        let Order {
            sockets,
            closing,
            accepting,
        } = order;
        for socket in sockets {
            let accept = server::Accept {
                paths: paths.clone(),
                clients: clients.clone(),
                closing: closing.clone(),
                accepting: accepting.clone(),
            };
            drop(tokio::spawn(accept.run(socket)));
        }
    }
}

impl Admin {
    /// Serves at these sockets, which listen and are non-blocking, from now on; at others no more: clients that wait there are
    /// taken first, and those that are connected are still served. Returns when it has let go of the others.
    ///
    /// # Errors
    /// When the address of a socket can't be read; nothing has changed then.
    pub fn serve(&mut self, sockets: Vec<Descriptor>) -> io::Result<()> {
        if let Some(socket) = sockets.first() {
            self.address = address_of(socket)?;
        }
        self.release();
        let (closing, closes) = watch::channel(());
        let (accepts, accepting) = mpsc::channel();
        if let Some(orders) = &self.orders {
            // A thread that is gone accepts nobody.
            let _ = orders.send(Order {
                sockets,
                closing: closes,
                accepting: accepts,
            });
        }
        *self.lock_gate() = Some(Gate { closing, accepting });
        Ok(())
    }

    /// Gives its sockets away, and ends: who is connected is answered once more, within a fifth of a second. What is left can still
    /// be counted.
    pub fn retire(self) -> Counted {
        self.release();
        self.clients.retire();
        let mut looks = RETIRE_PATIENCE.as_millis();
        while looks > 0 && self.clients.is_connected() {
            looks -= 1;
            thread::park_timeout(Duration::from_millis(1));
        }
        Counted(self.paths.clone())
    }

    /// Where it is asked, as people write it.
    pub fn url(&self) -> String {
        let scheme = if self.paths.tls().is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Answers to these names from now on, besides those that are always its own, and to those who pass this.
    pub fn answer_to(&self, hosts: &[String], security: Security) {
        let hosts = Hosts::new(hosts, self.address.ip());
        self.paths.answer_to(hosts, security);
    }

    /// Gives its sockets away: clients that wait there are taken, and those that are connected are still served. Returns when
    /// the server's descriptors of them are closed, or after a second.
    pub fn release(&self) {
        let gate = self.lock_gate().take();
        if let Some(gate) = gate {
            gate.close();
        }
    }

    fn lock_gate(&self) -> MutexGuard<'_, Option<Gate>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // It waits for orders.
        drop(self.orders.take());
        if let Some(server) = self.server.take() {
            // A thread that panicked has said so on its own.
            let _ = server.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::http::events;
    use proxy_core::listen::{self, BindAddress};
    use proxy_state::State;

    fn listening() -> (SocketAddr, Vec<Descriptor>) {
        let any = BindAddress::Tcp(([127, 0, 0, 1], 0).into());
        let bound = listen::bind(&any, BACKLOG, 1).expect("a port of loopback");
        (
            address_of(&bound.sockets[0]).expect("it is TCP"),
            bound.sockets,
        )
    }

    /// One whose commands nobody takes.
    fn api(observed: &Arc<Observed>) -> Arc<Api> {
        let (commands, _) = tokio::sync::mpsc::channel(1);
        Arc::new(Api::new(observed.clone(), commands))
    }

    fn admin() -> (Admin, Arc<Observed>) {
        let observed = Arc::new(fixture::proxy());
        let (address, sockets) = listening();
        let api = api(&observed);
        let mut admin =
            start(address, observed.clone(), &[], api, Security::default()).expect("threads");
        admin.serve(sockets).expect("it is TCP");
        (admin, observed)
    }

    /// Sends `head` with an end of its own, and reads until the server closes.
    fn ask(admin: &Admin, head: &str) -> String {
        let mut stream = TcpStream::connect(admin.address).expect("it listens");
        let request = format!("{head} HTTP/1.1\r\nhost: corelane\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    #[test]
    fn endpoints_answer() {
        let (admin, observed) = admin();
        let metrics = ask(&admin, "GET /metrics");
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
        assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        assert!(metrics.contains("\ncorelane_core_connections{core=\"0\"} "));
        assert!(ask(&admin, "GET /healthz").ends_with("\r\n\r\nok\n"));
        assert!(ask(&admin, "GET /readyz").ends_with("\r\n\r\nready\n"));
        observed.start_draining();
        let draining = ask(&admin, "GET /readyz");
        assert!(draining.starts_with("HTTP/1.1 503 "), "{draining}");
        assert!(draining.ends_with("\r\n\r\ndraining\n"));
        assert!(ask(&admin, "GET /healthz").starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn the_page_and_what_it_shows() {
        let (admin, _) = admin();
        let page = ask(&admin, "GET /");
        assert!(page.contains("content-security-policy: default-src 'none'; "));
        assert!(page.contains("\r\n\r\n<!doctype html>"), "{page}");
        let state = ask(&admin, "GET /state");
        let (head, body) = state.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains("content-type: application/json"), "{head}");
        let state: State = serde_json::from_str(body).expect("JSON");
        assert_eq!((state.cores.len(), &state.scheduler[..]), (2, "some"));
        assert!(ask(&admin, "GET /config").starts_with("HTTP/1.1 200 "));
    }

    /// Asks for events, and reads until one, or a refusal, is complete.
    fn subscribe(admin: &Admin) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(admin.address).expect("it listens");
        stream
            .write_all(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n")
            .expect("it reads");
        let mut answer = String::new();
        while !answer.contains("\n\n") && !answer.contains("/state") {
            read_more(&mut stream, &mut answer);
        }
        (stream, answer)
    }

    fn read_more(stream: &mut TcpStream, answer: &mut String) {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).expect("it answers");
        assert!(count > 0, "ended after {answer:?}");
        answer.push_str(str::from_utf8(&bytes[..count]).expect("ASCII"));
    }

    #[test]
    fn events_follow_each_other() {
        let (admin, _) = admin();
        let (mut stream, mut answer) = subscribe(&admin);
        assert!(
            answer.contains("content-type: text/event-stream"),
            "{answer}"
        );
        let states = |answer: &str| -> Vec<State> {
            let whole = answer.rsplit_once("\n\n").expect("an event").0;
            let data = whole.lines().filter_map(|line| line.strip_prefix("data: "));
            data.map(|json| serde_json::from_str(json).expect("JSON"))
                .collect()
        };
        assert_eq!(states(&answer)[0].cores.len(), 2);
        // Each has what is new of the history only.
        let mut numbers: Vec<u64> = Vec::new();
        while numbers.len() < 3 {
            read_more(&mut stream, &mut answer);
            let history = states(&answer).into_iter().flat_map(|state| state.history);
            numbers = history.map(|point| point.number).collect();
        }
        let in_turn = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(in_turn, "{numbers:?}");
    }

    #[test]
    fn subscribers_are_bounded() {
        let (admin, _) = admin();
        let mut held: Vec<_> = (0..events::SUBSCRIBERS_MAX)
            .map(|_| subscribe(&admin))
            .collect();
        let (_, refusal) = subscribe(&admin);
        assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
        drop(held.pop());
        // The server hears of the end when it sends the next event.
        let again = (0..1000).any(|_| {
            thread::park_timeout(std::time::Duration::from_millis(10));
            subscribe(&admin).1.starts_with("HTTP/1.1 200 ")
        });
        assert!(again, "a subscriber that left is still counted");
    }

    #[test]
    fn head_has_no_body_and_other_methods_are_refused() {
        let (admin, _) = admin();
        let head = ask(&admin, "HEAD /healthz");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-length: 3\r\n") && head.ends_with("\r\n\r\n"));
        let post = ask(&admin, "POST /metrics");
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        assert!(post.contains("allow: GET, HEAD\r\n"));
        assert!(ask(&admin, "GET /nothing").starts_with("HTTP/1.1 404 "));
        assert!(ask(&admin, "POST /nothing").starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn headers_are_bounded() {
        let (admin, _) = admin();
        let long = "x".repeat(2 * server::HEADER_BYTES_MAX);
        let answer = ask(&admin, &format!("GET /{long}"));
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    #[test]
    fn silent_connections_go_for_new_ones() {
        let (admin, _) = admin();
        let connect = || TcpStream::connect(admin.address).expect("it listens");
        let (mut listener, _) = subscribe(&admin);
        let half = b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ";
        let silent: Vec<_> = (0..3 * server::ADMIN_CONNECTIONS_MAX)
            .map(|number| {
                let mut stream = connect();
                if number % 2 == 0 {
                    // It may be closed already.
                    let _ = stream.write_all(half);
                }
                stream
            })
            .collect();
        for _ in 0..3 {
            assert!(ask(&admin, "GET /healthz").ends_with("\r\n\r\nok\n"));
        }
        // Who listens is kept as long as others can go.
        let mut event = String::new();
        read_more(&mut listener, &mut event);
        let gone = silent.into_iter().filter(|mut stream| {
            stream.set_nonblocking(true).expect("a socket");
            !matches!(stream.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        });
        assert!(gone.count() >= 2 * server::ADMIN_CONNECTIONS_MAX);
    }

    #[test]
    fn who_is_no_name_of_ours_sees_no_client() {
        let (admin, _) = admin();
        let get = |path: &str, host: &str| {
            let mut stream = TcpStream::connect(admin.address).expect("it listens");
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            answer
        };
        for path in ["/", "/connections", "/state", "/events", "/config"] {
            let refusal = get(path, "evil.example");
            assert!(refusal.starts_with("HTTP/1.1 403 "), "{path}: {refusal}");
            assert!(refusal.contains("hosts = [\"evil.example\"]"), "{refusal}");
        }
        let listed = get("/connections", &admin.address.to_string());
        assert!(listed.starts_with("HTTP/1.1 200 "), "{listed}");
        assert!(get("/healthz", "corelane.example").starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn one_that_never_served_ends() {
        let address = ([127, 0, 0, 1], 1).into();
        let observed = Arc::new(fixture::proxy());
        let api = api(&observed);
        drop(start(address, observed, &[], api, Security::default()).expect("threads"));
    }

    #[test]
    fn an_address_that_is_released_can_be_bound_while_clients_are_served() {
        let (admin, _) = admin();
        let (mut stream, mut answer) = subscribe(&admin);
        admin.release();
        let address = BindAddress::Tcp(admin.address);
        listen::reserve(&address, 1).expect("nobody listens there");
        read_more(&mut stream, &mut answer);
    }

    #[test]
    fn who_waits_where_it_was_is_served() {
        let (mut admin, _) = admin();
        let old = admin.address;
        // The thread is busy with them, so that some wait when it moves.
        let mut clients: Vec<_> = (0..32)
            .map(|_| TcpStream::connect(old).expect("it listens"))
            .collect();
        let (address, sockets) = listening();
        admin.serve(sockets).expect("it is TCP");
        assert_eq!(admin.address, address);
        TcpStream::connect(old).expect_err("it has moved");
        for client in &mut clients {
            let head = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            client.write_all(head).expect("it is connected");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("it is served");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        assert!(ask(&admin, "GET /healthz").ends_with("\r\n\r\nok\n"));
    }
}
