//! One page over HTTP, within bounds.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, IF_NONE_MATCH};
use hyper_util::rt::TokioIo;
use proxy_config::HttpUrl;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::{Failure, Reason};
use super::format::LIST_BYTES_MAX;
use super::lookup::Lookup;

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
    /// How long all of it may take.
    pub(super) patience: Duration,
}

/// What came.
pub(super) struct Page {
    pub(super) status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
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
        match self.status {
            200 => Ok(&self.body),
            404 => Err(Failure::new(Reason::NotFound, format!("{url}: status 404"))),
            status => Err(Failure::new(
                Reason::Refused,
                format!("{url}: status {status}"),
            )),
        }
    }
}

/// Asks for it, over a connection of its own.
///
/// # Errors
/// When nobody answers in time, or no HTTP server does, or the answer is too long.
pub(super) async fn get(request: Request<'_>, lookup: &Lookup) -> Result<Page, Failure> {
    let (url, patience) = (request.url, request.patience);
    match timeout(patience, exchange(request, lookup)).await {
        Ok(page) => page,
        Err(_) => Err(Failure::new(
            Reason::Timeout,
            format!("{url}: no answer within {patience:?}"),
        )),
    }
}

async fn exchange(request: Request<'_>, lookup: &Lookup) -> Result<Page, Failure> {
    let url = request.url;
    let stream = connect(url, lookup).await?;
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(Reason::Format, format!("{url}: {error}"));
    let mut asked = hyper::Request::get(request.path)
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close");
    if let Some(etag) = request.etag {
        asked = asked.header(IF_NONE_MATCH, etag);
    }
    let asked = asked.body(String::new()).map_err(|error| failed(&error))?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| failed(&error))?;
    let answer = async {
        let answer = sender
            .send_request(asked)
            .await
            .map_err(|error| failed(&error))?;
        let (head, body) = answer.into_parts();
        Ok(Page {
            status: head.status.as_u16(),
            headers: head.headers,
            body: read(body, url).await?,
        })
    };
    // Both here, so that nothing is left of them when this is given up.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        page = &mut answer => page,
        // What has come is read to its end.
        _ = &mut connection => answer.await,
    }
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

async fn read(mut body: Incoming, url: &HttpUrl) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame =
            frame.map_err(|error| Failure::new(Reason::Format, format!("{url}: {error}")))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > LIST_BYTES_MAX {
                let detail = format!("{url}: the answer is longer than {LIST_BYTES_MAX} bytes");
                return Err(Failure::new(Reason::TooMany, detail));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}
