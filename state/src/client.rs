//! The one HTTP client: it asks an admin server, or has a proxy do something over its command socket.
//!
//! It blocks. A runtime of its own lives as long as one answer takes, so that no caller needs one.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Bytes of an answer; a longer one is an error. It is some ten times what the largest configuration makes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// An answer.
#[derive(Debug, Eq, PartialEq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// As text.
    pub body: String,
}

/// GET over a connection of its own, from the admin server at `authority`, which is HOST:PORT. Each step may take as long
/// as `patience`: to find the name's addresses, to connect to one of them, to receive the next bytes.
///
/// # Errors
/// When nobody answers, or no HTTP server does.
pub fn get(authority: &str, path: &str, patience: Duration) -> io::Result<Answer> {
    run(async {
        let stream = connect(authority, patience).await?;
        ask(stream, &Method::GET, authority, path, patience).await
    })
}

/// What is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Question {
    /// "GET", "POST", ….
    pub method: String,
    /// With the query.
    pub path: String,
    /// JSON; empty: there is none.
    pub body: String,
    /// Who asks, where that must be shown: the token of `Authorization: Bearer`.
    pub token: Option<String>,
}

/// Asks the admin server at `authority`, as [`get`] does; over TLS where it is said who has signed its certificate, in PEM.
///
/// # Errors
/// As there, and when the question is no request of HTTP.
pub fn ask_tcp(
    authority: &str,
    ca: Option<&[u8]>,
    question: &Question,
    patience: Duration,
) -> io::Result<Answer> {
    run(async {
        let stream = connect(authority, patience).await?;
        let Some(ca) = ca else {
            return put(stream, question, authority, patience).await;
        };
        let (connector, name) = tls(ca, authority)?;
        let stream = within(patience, connector.connect(name, stream)).await?;
        put(stream, question, authority, patience).await
    })
}

/// TLS with a server whose certificate is one of these, or is signed by one, in PEM.
fn tls(ca: &[u8], authority: &str) -> io::Result<(TlsConnector, ServerName<'static>)> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca).collect();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(read.unwrap_or_default());
    if added == 0 {
        return Err(invalid("there is no certificate in PEM to trust"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let name = ServerName::try_from(host).map_err(|error| invalid(&error.to_string()))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// Asks over the unix socket at `socket`, as [`post`] does.
///
/// # Errors
/// As there, and when the question is no request of HTTP.
pub fn ask_unix(socket: &Path, question: &Question, patience: Duration) -> io::Result<Answer> {
    run(async {
        let stream = UnixStream::connect(socket).await?;
        put(stream, question, "localhost", patience).await
    })
}

/// POST without a body over the unix socket at `socket`. Each step may take as long as `patience`, the first byte of the
/// answer among them.
///
/// # Errors
/// Those of connecting are the kernel's own; otherwise when nobody answers, or no HTTP server does.
pub fn post(socket: &Path, path: &str, patience: Duration) -> io::Result<Answer> {
    run(async {
        let stream = UnixStream::connect(socket).await?;
        ask(stream, &Method::POST, "localhost", path, patience).await
    })
}

fn run<T>(asking: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(asking);
    // A name server that is silent is not waited for.
    runtime.shutdown_background();
    asked
}

/// Connects to the first address of a name that takes it.
async fn connect(authority: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut refused = invalid("the name has no address");
    for address in within(patience, lookup_host(authority)).await? {
        match within(patience, TcpStream::connect(address)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Asks without a body over a connection that ends by that.
async fn ask<S>(
    stream: S,
    method: &Method,
    host: &str,
    path: &str,
    patience: Duration,
) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let question = Question {
        method: method.to_string(),
        path: path.to_owned(),
        ..Question::default()
    };
    put(stream, &question, host, patience).await
}

/// Asks over a connection that ends by that.
async fn put<S>(
    stream: S,
    question: &Question,
    host: &str,
    patience: Duration,
) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Question {
        method,
        path,
        body,
        token,
    } = question;
    let mut request = Request::builder()
        .method(&method[..])
        .uri(path)
        .header(HOST, host)
        .header(CONNECTION, "close");
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(body.clone());
    let request = request.map_err(|error| invalid(&error.to_string()))?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(explained)?;
    // It ends with the connection, whose errors come to the reader of the answer.
    drop(tokio::spawn(connection));
    let answer = async { sender.send_request(request).await.map_err(explained) };
    let answer = within(patience, answer).await?;
    let status = answer.status().as_u16();
    let (mut body, mut bytes) = (answer.into_body(), Vec::new());
    loop {
        let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let next = async { next.await.transpose().map_err(explained) };
        let Some(frame) = within(patience, next).await? else {
            break;
        };
        let data: Bytes = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > ANSWER_BYTES_MAX {
            return Err(invalid("the answer is longer than 16 MiB"));
        }
        bytes.extend_from_slice(&data);
    }
    let body = String::from_utf8(bytes).map_err(|_| invalid("the answer is no text"))?;
    Ok(Answer { status, body })
}

async fn within<T>(patience: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = timeout(patience, step).await;
    done.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
}

fn explained(error: hyper::Error) -> io::Error {
    let of_system = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match of_system {
        Some(source) => io::Error::new(source.kind(), source.to_string()),
        None => invalid(&format!("this is no answer of an HTTP server: {error}")),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Answers one connection, and hands it back at its end.
    fn serve(answer: &'static str) -> (SocketAddr, thread::JoinHandle<(String, TcpStream)>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("it reads");
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            (request, stream)
        });
        (address, served)
    }

    fn ask(answer: &'static str) -> io::Result<Answer> {
        let (address, served) = serve(answer);
        let stop = thread::spawn(move || drop(served.join()));
        let answer = get(&address.to_string(), "/state", PATIENCE);
        stop.join().expect("it ends");
        answer
    }

    #[test]
    fn answers_are_read_to_their_end() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, "{}"),
            ("HTTP/1.0 200 OK\r\n\r\n{\"a\":1}", 200, "{\"a\":1}"),
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                404,
                "",
            ),
            (
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
                302,
                "",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                200,
                "abc",
            ),
        ] {
            let answer = ask(text).expect(text);
            assert_eq!((answer.status, &answer.body[..]), (status, body));
        }
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 x\r\n\r\n",
        ] {
            ask(text).expect_err(text);
        }
    }

    #[test]
    fn a_request_names_its_host_and_ends_its_connection() {
        let (address, served) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        get(&address.to_string(), "/metrics", PATIENCE).expect("an answer");
        let (request, mut stream) = served.join().expect("it ends");
        assert!(
            request.starts_with("GET /metrics HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains(&format!("host: {address}\r\n")),
            "{request}"
        );
        assert!(request.contains("connection: close\r\n"), "{request}");
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    }

    #[test]
    fn an_answer_without_end_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let read = stream.read(&mut [0; 1024]).expect("a request");
            assert_ne!(read, 0, "a request");
            let mut part = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
            // Until the client has had enough.
            while stream.write_all(&part).is_ok() {
                part = vec![b'a'; 1 << 16];
            }
        });
        let error = get(&address, "/state", PATIENCE).expect_err("too long");
        assert_eq!(error.to_string(), "the answer is longer than 16 MiB");
        served.join().expect("it ends");
    }

    #[test]
    fn a_unix_socket_is_asked_by_post() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let error = post(&path, "/api", PATIENCE).expect_err("nobody");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).expect("a socket");
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("a request");
            let answer = b"HTTP/1.1 409 Conflict\r\ncontent-length: 3\r\n\r\nno\n";
            stream.write_all(answer).expect("it reads");
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        let answer = post(&path, "/api", PATIENCE).expect("an answer");
        assert_eq!((answer.status, &answer.body[..]), (409, "no\n"));
        let request = served.join().expect("it ends");
        assert!(request.starts_with("POST /api HTTP/1.1\r\n"), "{request}");
        let broken = post(&path, "/api", PATIENCE).expect_err("nobody listens");
        assert_eq!(broken.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn who_is_silent_or_absent_is_told_as_that() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let error = get(&address, "/state", Duration::from_millis(50)).expect_err("silence");
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::TimedOut, "no answer".to_owned())
        );
        drop(listener);
        let error = get(&address, "/state", PATIENCE).expect_err("nobody");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
