//! One page over HTTP, within bounds.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderValue, IF_NONE_MATCH,
};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use proxy_config::HttpUrl;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::failure::{Failure, Reason};
use super::format::LIST_BYTES_MAX;
use super::lookup::Lookup;
use super::secure::Tls;

/// How long a connect may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// Addresses of the page's host that are tried.
const ADDRESSES_MAX: usize = 4;

/// What is asked for.
pub(super) struct Request<'a> {
    pub(super) url: &'a HttpUrl,
    /// With its query.
    pub(super) path: &'a str,
    /// That of the answer that is known.
    pub(super) etag: Option<&'a str>,
    /// Who asks.
    pub(super) token: Option<&'a str>,
    /// Whose certificates are trusted; none: it is asked in the clear.
    pub(super) tls: Option<&'a Tls>,
    /// How long all of it may take, or where it is opened only, until the answer begins.
    pub(super) patience: Duration,
}

/// What came.
pub(super) struct Page {
    pub(super) status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// An answer of which the body is still to come.
pub(super) struct Opened {
    pub(super) status: u16,
    headers: HeaderMap,
    body: Incoming,
    /// What came of the body and was not taken yet.
    buffer: Vec<u8>,
    _connection: Connection,
}

/// The task of a connection, which ends with this.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Page {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }

    /// What it says.
    ///
    /// # Errors
    /// When its status is not 200.
    pub(super) fn body(&self, url: &HttpUrl) -> Result<&[u8], Failure> {
        expect_success(self.status, url)?;
        Ok(&self.body)
    }
}

impl Opened {
    /// Its status is 200.
    ///
    /// # Errors
    /// When it is another one.
    pub(super) fn expect_success(&self, url: &HttpUrl) -> Result<(), Failure> {
        expect_success(self.status, url)
    }

    /// The next line of the body, without its end; none when it is over. It may be broken off, and begun again.
    ///
    /// # Errors
    /// When the body is broken off, or a line is too long.
    pub(super) async fn line(&mut self, url: &HttpUrl) -> Result<Option<Vec<u8>>, Failure> {
        let mut looked_at = 0;
        loop {
            let end = self.buffer[looked_at..]
                .iter()
                .position(|&byte| byte == b'\n');
            if let Some(end) = end {
                let mut line: Vec<_> = self.buffer.drain(..=looked_at + end).collect();
                line.pop();
                return Ok(Some(line));
            }
            looked_at = self.buffer.len();
            if !self.more(url).await? {
                let rest = std::mem::take(&mut self.buffer);
                return Ok((!rest.is_empty()).then_some(rest));
            }
        }
    }

    /// Waits for more of the body. False when it is over.
    async fn more(&mut self, url: &HttpUrl) -> Result<bool, Failure> {
        loop {
            let body = &mut self.body;
            let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await else {
                return Ok(false);
            };
            let frame = frame.map_err(|error| broken(url, &error))?;
            if let Ok(data) = frame.into_data() {
                if self.buffer.len() + data.len() > LIST_BYTES_MAX {
                    let detail = format!("{url}: the answer is longer than {LIST_BYTES_MAX} bytes");
                    return Err(Failure::new(Reason::TooMany, detail));
                }
                self.buffer.extend_from_slice(&data);
                return Ok(true);
            }
        }
    }
}

fn expect_success(status: u16, url: &HttpUrl) -> Result<(), Failure> {
    let reason = match status {
        200 => return Ok(()),
        404 => Reason::NotFound,
        _ => Reason::Refused,
    };
    Err(Failure::new(reason, format!("{url}: status {status}")))
}

fn broken(url: &HttpUrl, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Reason::Format, format!("{url}: {error}"))
}

/// Asks for it, over a connection of its own.
///
/// # Errors
/// When nobody answers in time, or no HTTP server does, or the answer is too long.
pub(super) async fn get(request: Request<'_>, lookup: &Lookup) -> Result<Page, Failure> {
    let url = request.url;
    let page = async {
        let mut opened = exchange(&request, lookup).await?;
        while opened.more(url).await? {}
        Ok(Page {
            status: opened.status,
            headers: opened.headers,
            body: opened.buffer,
        })
    };
    in_time(url, request.patience, page).await
}

/// Asks for what comes little by little.
///
/// # Errors
/// When no answer begins in time.
pub(super) async fn open(request: Request<'_>, lookup: &Lookup) -> Result<Opened, Failure> {
    in_time(request.url, request.patience, exchange(&request, lookup)).await
}

async fn in_time<T>(
    url: &HttpUrl,
    patience: Duration,
    asked: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(patience, asked).await.unwrap_or_else(|_| {
        let detail = format!("{url}: no answer within {patience:?}");
        Err(Failure::new(Reason::Timeout, detail))
    })
}

async fn exchange(request: &Request<'_>, lookup: &Lookup) -> Result<Opened, Failure> {
    let url = request.url;
    let mut asked = hyper::Request::get(request.path)
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close");
    if let Some(etag) = request.etag {
        asked = asked.header(IF_NONE_MATCH, etag);
    }
    if let Some(token) = request.token {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        // What is wrong with it is nobody's to see.
        let mut value = value.map_err(|_| broken(url, &"the token is none"))?;
        value.set_sensitive(true);
        asked = asked.header(AUTHORIZATION, value);
    }
    let asked = asked
        .body(String::new())
        .map_err(|error| broken(url, &error))?;
    let stream = connect(url, lookup).await?;
    match request.tls {
        Some(tls) => send(TokioIo::new(tls.connect(stream, url).await?), asked, url).await,
        None => send(TokioIo::new(stream), asked, url).await,
    }
}

async fn send(
    stream: impl Read + Write + Send + Unpin + 'static,
    asked: hyper::Request<String>,
    url: &HttpUrl,
) -> Result<Opened, Failure> {
    let shaken = http1::handshake(stream).await;
    let (mut sender, connection) = shaken.map_err(|error| broken(url, &error))?;
    // What goes wrong with it, the answer says, too.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let connection = Connection(connection.abort_handle());
    let answer = sender.send_request(asked).await;
    let (head, body) = answer.map_err(|error| broken(url, &error))?.into_parts();
    Ok(Opened {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        buffer: Vec::new(),
        _connection: connection,
    })
}

async fn connect(url: &HttpUrl, lookup: &Lookup) -> Result<TcpStream, Failure> {
    let ips = match url.host.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) => lookup.addresses(&url.host, &[]).await?.found,
    };
    let mut refused = "it has no address".to_owned();
    for ip in ips.into_iter().take(ADDRESSES_MAX) {
        let address = SocketAddr::new(ip, url.port);
        match timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => refused = error.to_string(),
            Err(_) => refused = "no answer".to_owned(),
        }
    }
    Err(Failure::new(
        Reason::Unreachable,
        format!("{url}: {refused}"),
    ))
}
