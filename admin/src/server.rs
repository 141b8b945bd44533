//! HTTP/1.1 within bounds.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use proxy_core::descriptors;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::clients::{Client, Clients};
use super::routes::Routes;

/// Connections at a time, and fewer where few descriptors are kept for them. For one more the oldest silent one is closed:
/// see [`Clients`].
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// However few descriptors there are: Prometheus, a page, a check of health, and someone who wants to know why.
const ADMIN_CONNECTIONS_MIN: usize = 4;

/// Connections that are accepted before those that are open have a turn.
const ACCEPTS_A_TURN: usize = 8;

/// Bytes of a request's line and headers; more is answered with an error.
pub(super) const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long a request's headers may take, and how long a connection may wait for its next request: above the usual
/// scrape interval of 15 s, so that Prometheus keeps its connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

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

/// Accepts and serves until it is dropped. No timer runs while nobody is connected.
pub(super) async fn accept(listener: TcpListener, routes: Arc<Routes>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin server can't accept"),
    };
    let mut clients = Clients::new(connections_max());
    let mut said_at: Option<Instant> = None;
    let mut accepted = 0_usize;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let client = clients.client();
                let task = tokio::spawn(serve(stream, routes.clone(), client.clone()));
                clients.add(client, task.abort_handle());
                accepted += 1;
                // Clients that have asked get their answers before so many new ones come that they might be closed for them.
                if accepted.is_multiple_of(ACCEPTS_A_TURN) {
                    yield_now().await;
                }
            }
            Err(error) => {
                if said_at.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
                    said_at = Some(Instant::now());
                    tracing::warn!(%error, "the admin server has to close a client for each new one");
                }
                clients.close_one();
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// Half of what is kept at most: a scrape opens files, and others in the process do, too.
fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let kept = limit.map_or(descriptors::KEPT_MAX, descriptors::kept_of);
    (kept as usize / 2).clamp(ADMIN_CONNECTIONS_MIN, ADMIN_CONNECTIONS_MAX)
}

async fn serve(stream: TcpStream, routes: Arc<Routes>, client: Arc<Client>) {
    let unread_ms = UNREAD_TIMEOUT.as_millis() as u32;
    if let Err(error) = set_tcp_user_timeout(&stream, unread_ms) {
        // The connection's age bounds it all the same.
        tracing::debug!(%error, "TCP_USER_TIMEOUT");
    }
    let service = service_fn(|request| {
        let (routes, client) = (&routes, &client);
        async move {
            // Requests that came at once are answered one a turn: others have theirs in between.
            yield_now().await;
            let response = routes.respond(&request);
            Ok::<_, Infallible>(response.map(|answer| client.track(answer)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How a client's connection ends is its own affair.
    if timeout(AGE_MAX, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER_MAX, connection).await;
    }
}
