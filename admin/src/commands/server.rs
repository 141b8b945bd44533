//! Takes commands from a unix socket, within bounds.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::access::{Access, Caller};
use super::{Command, Reply, Wish};
use crate::answer::Answer;
use crate::routes::text;
use crate::server::HEADER_BYTES_MAX;

/// Connections at a time; more wait to be accepted.
const CLIENTS_MAX: usize = 16;

/// How long a request's headers may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last beside the time that its command takes.
const AGE_MAX: Duration = Duration::from_secs(300);

/// How long accepting rests when the process has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Accepts and serves until it is dropped. No timer runs while nobody is connected.
pub async fn serve(listener: UnixListener, access: Access, commands: mpsc::Sender<Command>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        // Nobody closes the semaphore.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (access, commands) = (access.clone(), commands.clone());
                drop(tokio::spawn(async move {
                    // How a client's connection ends is its own affair.
                    let _ = timeout(AGE_MAX, converse(stream, access, commands)).await;
                    drop(place);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "no command can be taken for a moment");
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, access: Access, commands: mpsc::Sender<Command>) {
    let caller = access.check(&stream);
    if let Err(error) = &caller {
        tracing::warn!(%error, "a command is refused");
    }
    let (caller, commands) = (&caller, &commands);
    let service = service_fn(|request| async move {
        let mut response = respond(&request, caller, commands).await;
        // One command a connection: who it is was asked once.
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok::<_, Infallible>(response)
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        // A client that has sent its command may close its end before the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The answer to a request. Its body, if any, is ignored.
async fn respond(
    request: &Request<Incoming>,
    caller: &io::Result<Caller>,
    commands: &mpsc::Sender<Command>,
) -> Response<Answer> {
    let caller = match caller {
        Ok(caller) => caller,
        Err(error) => return text(StatusCode::FORBIDDEN, &format!("{error}\n")),
    };
    let wish = match (request.uri().path(), request.uri().query()) {
        ("/api/v1/reload", None) => Wish::Reload,
        ("/api/v1/reload", Some("check")) => Wish::Check,
        ("/api/v1/reload", Some(_)) => {
            return text(StatusCode::BAD_REQUEST, "?check is all that can be asked\n");
        }
        _ => {
            return text(
                StatusCode::NOT_FOUND,
                "POST /api/v1/reload is all there is\n",
            );
        }
    };
    if request.method() != Method::POST {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "POST\n");
        let headers = refusal.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
        return refusal;
    }
    tracing::info!(command = ?wish, pid = caller.pid, uid = caller.uid, "a command");
    let (reply, answer) = oneshot::channel();
    match commands.try_send(Command { wish, reply }) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(_)) => {
            let busy = "too many commands wait already; try again later\n";
            return text(StatusCode::SERVICE_UNAVAILABLE, busy);
        }
        Err(mpsc::error::TrySendError::Closed(_)) => return ending(),
    }
    match answer.await {
        Ok(Reply::Done(words)) => text(StatusCode::OK, &words),
        Ok(Reply::Refused(words)) => text(StatusCode::UNPROCESSABLE_ENTITY, &words),
        Err(_) => ending(),
    }
}

fn ending() -> Response<Answer> {
    let words = "the proxy is ending; nothing was changed\n";
    text(StatusCode::SERVICE_UNAVAILABLE, words)
}
