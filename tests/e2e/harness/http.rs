//! A blocking HTTP/1.1 GET, enough for the admin server and for nginx.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::peer;

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// GET over a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    get_on(peer::connect(address), path)
}

/// GET over `stream`, which ends with the answer.
pub(crate) fn get_on(mut stream: TcpStream, path: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("send the request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read the answer");
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("end of the header");
    let header = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = header
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("status line");
    let mut body = answer.split_off(end + 4);
    if header.contains("transfer-encoding: chunked") {
        body = dechunk(&body);
    } else if let Some(length) = content_length(&header) {
        assert_eq!(body.len(), length, "length of the body of {path}");
    }
    Response { status, body }
}

fn content_length(header: &str) -> Option<usize> {
    let line = header
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    line.trim().parse().ok()
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|bytes| bytes == b"\r\n")
            .expect("size of a chunk");
        let size =
            usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16).expect("hexadecimal");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}
