//! Commands to a proxy that runs, and what it answers.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use proxy_admin::commands::Wish;
use proxy_console::{errln, outln};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long a command may take: a switch of the scheduler may wait for another one.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Has the proxy at `socket` read its configuration again, or say what that would change. Its answer goes to stdout, a refusal
/// to stderr, with exit code 1.
///
/// # Errors
/// When nobody answers there, with what to do.
pub(crate) fn reload(socket: &Path, wish: Wish) -> anyhow::Result<ExitCode> {
    let path = match wish {
        Wish::Reload => "/api/v1/reload",
        Wish::Check => "/api/v1/reload?check",
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the client can't start")?;
    let asked = runtime.block_on(async { timeout(PATIENCE, post(socket, path)).await });
    let answered = asked.with_context(|| {
        format!(
            "the proxy at {} did not answer within {PATIENCE:?}; its log says what it does",
            socket.display()
        )
    })?;
    let (status, words) = answered?;
    match status {
        StatusCode::OK => {
            outln!("{}", words.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            errln!("{}", words.trim_end());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What is answered to a POST without a body.
async fn post(socket: &Path, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| explain(socket, error))?;
    let broken = || format!("the proxy at {} broke off", socket.display());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .with_context(broken)?;
    drop(tokio::spawn(connection));
    let request = Request::post(path)
        .header(HOST, "corelane")
        .body(String::new())?;
    let answer = sender.send_request(request).await.with_context(broken)?;
    let (head, body) = answer.into_parts();
    let words = read(body).await.with_context(broken)?;
    Ok((head.status, words))
}

async fn read(mut body: Incoming) -> anyhow::Result<String> {
    let mut words = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        let data: Bytes = frame?.into_data().unwrap_or_default();
        anyhow::ensure!(
            words.len() + data.len() <= ANSWER_BYTES_MAX,
            "the answer is longer than {ANSWER_BYTES_MAX} bytes"
        );
        words.extend_from_slice(&data);
    }
    Ok(String::from_utf8_lossy(&words).into_owned())
}

/// Why nobody can be asked at a path.
fn explain(socket: &Path, error: io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "no proxy takes commands there; `socket` of [admin] in its configuration says where it does, \
             and --socket takes that path"
        }
        io::ErrorKind::PermissionDenied => {
            "root may, the user that the proxy runs as, and members of `socket_group` of [admin]"
        }
        io::ErrorKind::WouldBlock => "too many wait there already; try again in a few seconds",
        _ => "see that a proxy runs there",
    };
    let text = format!("cannot ask the proxy at {}: {advice}", socket.display());
    anyhow::Error::new(error).context(text)
}
