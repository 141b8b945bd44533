//! Asking an admin server.

use std::io;
use std::time::Duration;

use ureq::{Agent, Error};

/// Bytes of an answer; a longer one is an error. It is some ten times what the largest configuration makes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// An answer.
#[derive(Debug, Eq, PartialEq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// As text.
    pub body: String,
}

/// GET over a connection of its own, from the admin server at `authority`, which is HOST:PORT. Each step may take as long
/// as `patience`: to find the name's addresses, to connect, to send, to receive the next bytes.
///
/// # Errors
/// When nobody answers, or no HTTP server does.
pub fn get(authority: &str, path: &str, patience: Duration) -> io::Result<Answer> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        // A variable of the environment would send it elsewhere.
        .proxy(None)
        .timeout_resolve(Some(patience))
        .timeout_connect(Some(patience))
        .timeout_per_read(Some(patience))
        .timeout_per_write(Some(patience))
        .build()
        .into();
    let url = format!("http://{authority}{path}");
    let request = agent.get(url).header("connection", "close");
    let mut response = request.call().map_err(explained)?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let body = String::from_utf8(body.read_to_vec().map_err(explained)?);
    let body = body.map_err(|_| invalid("the answer is no text"))?;
    Ok(Answer { status, body })
}

fn explained(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        Error::HostNotFound => invalid("the name has no address"),
        Error::BodyExceedsLimit(_) => invalid("the answer is longer than 16 MiB"),
        other => invalid(&format!("this is no answer of an HTTP server: {other}")),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
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
