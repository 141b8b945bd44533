//! HTTP/1.1 within bounds.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::routes::Routes;

/// Connections at a time. More wait in the backlog until one of these ends.
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 64;

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

/// Accepts and serves until it is dropped. No timer runs while nobody is connected.
pub(super) async fn accept(listener: TcpListener, routes: Arc<Routes>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin server can't accept"),
    };
    let slots = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    // It is never closed, so there always is a permit at last.
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, routes.clone(), slot))),
            Err(error) => {
                tracing::debug!(%error, "accepting admin connections rests");
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, routes: Arc<Routes>, slot: OwnedSemaphorePermit) {
    let unread_ms = UNREAD_TIMEOUT.as_millis() as u32;
    if let Err(error) = set_tcp_user_timeout(&stream, unread_ms) {
        // The connection's age bounds it all the same.
        tracing::debug!(%error, "TCP_USER_TIMEOUT");
    }
    let service = service_fn(|request| {
        let response = routes.respond(&request);
        async { Ok::<_, Infallible>(response) }
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
    drop(slot);
}
