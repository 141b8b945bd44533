//! HTTP/1.1 within bounds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use proxy_core::{Descriptor, descriptors};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::clients::{Client, Clients};
use super::paths::{From, Paths};

/// Connections at a time, and fewer where few descriptors are kept for them. For one more the oldest silent one is closed:
/// see [`Clients`].
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// However few descriptors there are: Prometheus, a page, a check of health, and someone who wants to know why.
const ADMIN_CONNECTIONS_MIN: usize = 4;

/// Connections that are accepted before those that are open have a turn.
const ACCEPTS_A_TURN: usize = 8;

/// Clients that are taken from a socket that is closed: as many as a backlog can hold.
const BACKLOG_MAX: usize = 65_536;

/// How long a socket that takes nobody any more stays for handshakes that have begun.
const HANDSHAKE_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a request's line and headers; more is answered with an error.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long a request's headers may take, and how long a connection may wait for its next request: above the usual
/// scrape interval of 15 s, so that Prometheus keeps its connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a handshake of TLS may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may leave an answer unread.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(20);

/// How old a connection may get before it is closed after its current answer; a slow reader can't hold one for ever.
const AGE_MAX: Duration = Duration::from_secs(300);

/// How long the current answer may still take then.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long accepting rests when the process has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// How often it is logged that accepting rests.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// How long a client that is connected has to say what it wants, when the server retires: mostly it has said it.
const LAST_REQUEST_TIME: Duration = Duration::from_millis(20);

/// Who is connected, at whichever socket.
#[derive(Clone)]
pub(crate) struct Shared {
    clients: Arc<Mutex<Clients>>,
    /// Whether the server retires: who is connected is answered once more, and then closed.
    retires: Arc<watch::Sender<bool>>,
    /// Each connection has one.
    connected: Arc<()>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            clients: Arc::new(Mutex::new(Clients::new(connections_max()))),
            retires: Arc::new(watch::Sender::new(false)),
            connected: Arc::default(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every connection end after the answer that is being made.
    pub(crate) fn retire(&self) {
        self.retires.send_replace(true);
    }

    /// Whether anybody is connected.
    pub(crate) fn is_connected(&self) -> bool {
        Arc::strong_count(&self.connected) > 1
    }
}

/// What accepts from one socket.
pub(crate) struct Accept {
    pub(crate) paths: Arc<Paths>,
    pub(crate) clients: Shared,
    /// Its other side is gone when the socket is to be closed.
    pub(crate) closing: watch::Receiver<()>,
    /// It is dropped after the socket.
    pub(crate) accepting: mpsc::Sender<()>,
}

impl Accept {
    /// Accepts until the socket is to be closed, takes who waits there then, and closes it. No timer runs while nobody is
    /// connected.
    pub(crate) async fn run(mut self, socket: Descriptor) {
        let socket = std::net::TcpListener::from(OwnedFd::from(socket));
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the admin server can't accept"),
        };
        let mut said_at: Option<Instant> = None;
        let mut accepted = 0_usize;
        loop {
            let client = tokio::select! {
                client = listener.accept() => client,
                // Nothing is ever sent.
                _ = self.closing.changed() => break,
            };
            match client {
                Ok((stream, from)) => {
                    self.serve(stream, from);
                    accepted += 1;
                    // Clients that have asked get their answers before so many new ones come that they might be closed for
                    // them.
                    if accepted.is_multiple_of(ACCEPTS_A_TURN) {
                        yield_now().await;
                    }
                }
                Err(error) => {
                    if said_at.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
                        said_at = Some(Instant::now());
                        tracing::warn!(%error, "the admin server has to close a client for each new one");
                    }
                    self.clients.lock().close_one();
                    sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
        self.empty(&listener);
        // Those whose handshake had begun before nobody was taken any more.
        sleep(HANDSHAKE_PAUSE).await;
        self.empty(&listener);
        drop(listener);
        drop(self.accepting);
    }

    /// Serves who waits, whether or not the reactor has heard of them.
    fn empty(&self, listener: &TcpListener) {
        for _ in 0..BACKLOG_MAX {
            let waits = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
            match waits.map(|stream| TcpStream::from_std(stream.into())) {
                Ok(Ok(stream)) => {
                    // One that is gone has no address, and asks for nothing.
                    if let Ok(from) = stream.peer_addr() {
                        self.serve(stream, from);
                    }
                }
                // It was gone before it was accepted.
                Ok(Err(_)) | Err(Errno::CONNABORTED) => {}
                Err(_) => break,
            }
        }
    }

    fn serve(&self, stream: TcpStream, from: SocketAddr) {
        let mut clients = self.clients.lock();
        let client = clients.client();
        let connected = (
            self.clients.retires.subscribe(),
            self.clients.connected.clone(),
        );
        let serving = serve(stream, from, self.paths.clone(), client.clone(), connected);
        let task = tokio::spawn(serving);
        clients.add(client, task.abort_handle());
    }
}

/// Half of what is kept at most: a scrape opens files, and others in the process do, too.
fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let kept = limit.map_or(descriptors::KEPT_MAX, descriptors::kept_of);
    (kept as usize / 2).clamp(ADMIN_CONNECTIONS_MIN, ADMIN_CONNECTIONS_MAX)
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    paths: Arc<Paths>,
    client: Arc<Client>,
    (retires, _connected): (watch::Receiver<bool>, Arc<()>),
) {
    let unread_ms = UNREAD_TIMEOUT.as_millis() as u32;
    if let Err(error) = set_tcp_user_timeout(&stream, unread_ms) {
        // The connection's age bounds it all the same.
        tracing::debug!(%error, "TCP_USER_TIMEOUT");
    }
    let mut from = From {
        address: from,
        is_encrypted: false,
    };
    let Some(tls) = paths.tls() else {
        return hold(stream, from, paths, client, retires).await;
    };
    // How a client's handshake ends is its own affair.
    let shaken = timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream)).await;
    if let Ok(Ok(stream)) = shaken {
        from.is_encrypted = true;
        hold(stream, from, paths, client, retires).await;
    }
}

/// Answers over a connection until it ends.
async fn hold<S>(
    stream: S,
    from: From,
    paths: Arc<Paths>,
    client: Arc<Client>,
    mut retires: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let (paths, client) = (&paths, &client);
        async move {
            // Requests that came at once are answered one a turn: others have theirs in between.
            yield_now().await;
            client.on_request();
            let response = paths.respond(request, from).await;
            Ok::<_, Infallible>(response.map(|answer| client.track(answer)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let retired = async {
        if retires.wait_for(|retires| *retires).await.is_err() {
            // There is no server that could.
            std::future::pending::<()>().await;
        }
        sleep(LAST_REQUEST_TIME).await;
    };
    let ended = tokio::select! {
        ended = timeout(AGE_MAX, connection.as_mut()) => ended.is_ok(),
        () = retired => false,
    };
    // How a client's connection ends is its own affair.
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER_MAX, connection).await;
    }
}
