//! The admin server: metrics, health and the live page, on threads of their own.
//!
//! Workers count into cells and know nothing of who reads them. A scrape reads the cells, the threads' CPU clocks
//! and `/proc` on the thread `corelane-admin`; the thread `corelane-sampler` reads the CPU clocks once a second
//! for what needs two samples: utilization and imbalance. `/connections` copies the live connections' cells, a few at a time.

mod access_log;
mod advice;
mod answer;
mod client_lists;
mod clients;
pub mod commands;
mod connections;
mod cores;
mod events;
mod exposition;
mod family;
mod findings;
mod hosts;
mod listeners;
mod load;
mod moment;
mod observed;
mod origin;
mod page;
mod process;
mod rates;
mod ready;
mod recent;
mod reloads;
mod routes;
mod running;
mod runtime;
mod sampler;
mod schedulers;
mod server;
mod surroundings;
mod switches;
mod threads;
mod upstreams;
mod utc;

#[cfg(test)]
mod fixture;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use proxy_core::listen::{self, BindAddress};
use rustix::process::nice;
use tokio::net::TcpSocket;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

pub use self::client_lists::{ClientList, ClientLists};
use self::events::Broadcast;
use self::exposition::Exposition;
use self::hosts::Hosts;
pub use self::observed::Observed;
pub use self::reloads::{Refusal, Reloads};
use self::routes::Routes;
pub use self::running::Running;
use self::sampler::Sampler;
pub use self::surroundings::{Lines, Surroundings};
pub use self::switches::Switches;
pub use self::utc::Utc;

/// Niceness of the thread that answers, above the process's own: where it shares a CPU with a worker, a scrape of a
/// thousand servers (ten milliseconds) gives way to messages, and still has a tenth of a CPU that is full.
const NICENESS: i32 = 10;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// An admin server. It ends, with its connections and threads, when dropped.
pub struct Admin {
    /// Where it listens, with the port that the kernel chose.
    pub address: SocketAddr,
    /// Until it listens.
    socket: Option<TcpSocket>,
    routes: Arc<Routes>,
    /// Ends listening.
    accepting: Option<AbortHandle>,
    /// The server's thread runs until this is gone.
    orders: Option<UnboundedSender<Order>>,
    server: Option<JoinHandle<()>>,
    _sampler: Sampler,
}

/// What the server's thread is asked for: to listen on a socket that is bound.
struct Order {
    socket: TcpSocket,
    /// Where it says that the socket listens, with what begins to accept from it.
    listening: mpsc::Sender<io::Result<Listening>>,
}

/// A socket that listens, and is not accepted from yet.
#[derive(Debug)]
struct Listening {
    begin: oneshot::Sender<()>,
    accepting: AbortHandle,
}

/// Another address for an admin server: it listens there, and nobody is accepted yet.
#[derive(Debug)]
pub struct Elsewhere {
    address: SocketAddr,
    listening: Listening,
}

/// Takes an address for an admin server. Nobody can connect to it before [`Admin::serve`].
///
/// # Errors
/// What `bind(2)` returns.
pub fn bind(listen: &BindAddress) -> io::Result<TcpSocket> {
    let socket = listen::reserve(listen, 1)?.into_socket()?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Starts what serves, on a bound `socket`, what `observed` shows. It answers to `hosts`, besides the names that are always
/// its own.
///
/// # Errors
/// When there is no thread or reactor left for it.
pub fn start(socket: TcpSocket, observed: Arc<Observed>, hosts: &[String]) -> io::Result<Admin> {
    let address = socket.local_addr()?;
    let sampler = Sampler::start(observed.clone())?;
    let exposition = Exposition::new(observed.clone(), sampler.watch.clone());
    let broadcast = Broadcast::new(observed.clone(), sampler.watch.clone());
    let hosts = Hosts::new(hosts, address.ip());
    let routes = Arc::new(Routes::new(hosts, observed, exposition, broadcast));
    let (orders, ordered) = unbounded_channel();
    let (tell, started) = mpsc::channel();
    let its = routes.clone();
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
            runtime.block_on(obey(ordered, its));
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
        socket: Some(socket),
        routes,
        accepting: None,
        orders: Some(orders),
        server: Some(server),
        _sampler: sampler,
    })
}

/// Does what is ordered until nothing can be any more.
async fn obey(mut orders: UnboundedReceiver<Order>, routes: Arc<Routes>) {
    while let Some(Order { socket, listening }) = orders.recv().await {
        let listener = socket
            .listen(BACKLOG)
            .and_then(tokio::net::TcpListener::into_std);
        let listener = listener.map(|listener| {
            let (begin, begun) = oneshot::channel();
            let routes = routes.clone();
            let accepting = tokio::spawn(async move {
                // Who has no use for it any more drops it.
                if begun.await.is_ok() {
                    server::accept(listener, routes).await;
                }
            });
            let accepting = accepting.abort_handle();
            Listening { begin, accepting }
        });
        // The receiver waits for it.
        let _ = listening.send(listener);
    }
}

impl Admin {
    /// Listens, and serves from now on.
    ///
    /// # Errors
    /// What `listen(2)` returns: `AddrInUse` when somebody else was faster since [`bind`].
    pub fn serve(&mut self) -> io::Result<()> {
        if let Some(socket) = self.socket.take() {
            let Listening { begin, accepting } = self.listen(socket)?;
            // The task waits for it.
            let _ = begin.send(());
            self.accepting = Some(accepting);
        }
        Ok(())
    }

    /// Listens elsewhere, too, on a socket that [`bind`] made; [`Admin::move_to`] moves there.
    ///
    /// # Errors
    /// What `listen(2)` returns.
    pub fn prepare(&self, socket: TcpSocket) -> io::Result<Elsewhere> {
        Ok(Elsewhere {
            address: socket.local_addr()?,
            listening: self.listen(socket)?,
        })
    }

    /// Serves there from now on, and gives the address of before away. Clients that are connected are still served.
    pub fn move_to(&mut self, elsewhere: Elsewhere) {
        self.release();
        let Listening { begin, accepting } = elsewhere.listening;
        // The task waits for it.
        let _ = begin.send(());
        self.accepting = Some(accepting);
        self.address = elsewhere.address;
    }

    /// Answers to these names from now on, besides those that are always its own.
    pub fn answer_to(&self, hosts: &[String]) {
        self.routes.answer_to(Hosts::new(hosts, self.address.ip()));
    }

    fn listen(&self, socket: TcpSocket) -> io::Result<Listening> {
        let (listening, told) = mpsc::channel();
        if let Some(orders) = &self.orders {
            // A thread that is gone tells nothing.
            let _ = orders.send(Order { socket, listening });
        }
        let ended = |_| Err(io::Error::other("the admin server's thread ended"));
        told.recv().unwrap_or_else(ended)
    }

    /// Gives the address away. Clients that are connected are still served.
    pub fn release(&self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
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
    use proxy_state::State;

    fn admin() -> (Admin, Arc<Observed>) {
        let observed = Arc::new(fixture::proxy());
        let socket =
            bind(&BindAddress::Tcp(([127, 0, 0, 1], 0).into())).expect("a port of loopback");
        let mut admin = start(socket, observed.clone(), &[]).expect("threads");
        admin.serve().expect("nobody else has the port");
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
        let socket =
            bind(&BindAddress::Tcp(([127, 0, 0, 1], 0).into())).expect("a port of loopback");
        drop(start(socket, Arc::new(fixture::proxy()), &[]).expect("threads"));
    }

    #[test]
    fn an_address_in_use_is_an_error_at_the_start() {
        let (admin, _) = admin();
        let error = bind(&BindAddress::Tcp(admin.address)).expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_address_that_is_released_can_be_bound_while_clients_are_served() {
        let (admin, _) = admin();
        let (mut stream, mut answer) = subscribe(&admin);
        admin.release();
        let is_free = (0..1000).any(|_| {
            thread::park_timeout(std::time::Duration::from_millis(10));
            bind(&BindAddress::Tcp(admin.address)).is_ok()
        });
        assert!(is_free, "it still listens");
        read_more(&mut stream, &mut answer);
    }
}
