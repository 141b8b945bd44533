//! Takes commands from a unix socket, within bounds.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{SocketFlags, accept_with};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce, oneshot};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::access::Access;
use crate::api::Api;
use crate::api::caller::Caller;
use crate::http::answer::{Answer, text};
use crate::http::clients::{Client, Clients};
use crate::http::server::HEADER_BYTES_MAX;

/// Connections at a time. For one more, one that has asked for nothing is closed; while all wait for answers, it waits.
const CLIENTS_MAX: usize = 16;

/// How long a request's headers may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, unless its command takes longer.
const AGE_MAX: Duration = Duration::from_secs(300);

/// How long accepting rests when the process has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// What a socket serves, once it is there: the socket listens before the proxy runs, and who asks before then waits.
pub type Served = Arc<SetOnce<Arc<Api>>>;

/// Accepts from a socket and serves until `closing` has no other side any more, or this is dropped: then who waits at the socket
/// is still taken. No timer runs while nobody is connected.
pub async fn serve(
    listener: UnixListener,
    access: Access,
    api: Served,
    mut closing: oneshot::Receiver<()>,
) {
    let mut service = Service {
        access,
        api,
        clients: Clients::new(CLIENTS_MAX),
        places: Arc::new(Semaphore::new(CLIENTS_MAX)),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut closing => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => service.take(stream).await,
            Err(error) => {
                tracing::warn!(%error, "no command can be taken for a moment");
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    // Whether or not the reactor has heard of them.
    while let Ok(stream) = accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        if let Ok(stream) = UnixStream::from_std(stream.into()) {
            service.take(stream).await;
        }
    }
}

/// What is served at one socket.
struct Service {
    access: Access,
    api: Served,
    clients: Clients,
    places: Arc<Semaphore>,
}

impl Service {
    /// Serves one more client, as soon as there is a place for it.
    async fn take(&mut self, stream: UnixStream) {
        let Some(place) = self.place().await else {
            return;
        };
        let caller = self.access.check(&stream);
        let client = self.clients.client();
        if let Err(error) = &caller {
            tracing::warn!(%error, "a command is refused");
            client.on_refused();
        }
        let conversation = Conversation {
            caller,
            client: client.clone(),
            api: self.api.clone(),
            is_waited_for: AtomicBool::new(false),
        };
        let task = tokio::spawn(async move {
            conversation.hold(stream).await;
            drop(place);
        });
        self.clients.add(client, task.abort_handle());
        // What it has sent already is read before one more could come in its place.
        yield_now().await;
    }

    /// A place for one more client. None when there can't be any.
    async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        // The place of the one that is closed comes back when its task is gone.
        self.clients.close_silent();
        // Nobody closes the semaphore.
        self.places.clone().acquire_owned().await.ok()
    }
}

/// What is said with one client.
struct Conversation {
    /// Who it is, or why it may ask for nothing.
    caller: io::Result<Caller>,
    client: Arc<Client>,
    api: Served,
    /// A command that it gave is not done yet.
    is_waited_for: AtomicBool,
}

impl Conversation {
    async fn hold(self, stream: UnixStream) {
        let this = &self;
        let service = service_fn(|request| async move {
            let mut response = this.respond(request).await;
            // One command a connection: who it is was asked once.
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            Ok::<_, Infallible>(response)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            // A client that has sent its command may close its end before the answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // How a client's connection ends is its own affair.
        while timeout(AGE_MAX, connection.as_mut()).await.is_err() {
            // A switch that it waits for may take as long as `drain_timeout`.
            if !self.is_waited_for.load(Relaxed) {
                break;
            }
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Answer> {
        match &self.caller {
            Ok(caller) => {
                self.client.on_request();
                self.is_waited_for.store(true, Relaxed);
                let response = self.api.wait().await.respond(request, *caller).await;
                self.is_waited_for.store(false, Relaxed);
                response
            }
            Err(error) => text(StatusCode::FORBIDDEN, &format!("{error}\n")),
        }
    }
}
