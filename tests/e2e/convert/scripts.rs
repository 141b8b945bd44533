//! What servers say, and what clients hear of them: each server has a number, which it says as `<11>`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::peer::{self, Server, Service};

/// Whether a server is what clients want, such as the primary.
pub(crate) type Role = Arc<AtomicBool>;

pub(crate) fn role(is_wanted: bool) -> Role {
    Arc::new(AtomicBool::new(is_wanted))
}

/// Says `banner` with its number, and waits for the end.
pub(crate) fn greets(server: Server, number: u8, banner: &'static str) -> Service {
    server.serve(move |mut stream| {
        let _ = write!(stream, "{banner}<{number}>\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// The same to a client that has said something, which may have a header of the PROXY protocol.
pub(crate) fn answers(server: Server, number: u8) -> Service {
    server.serve(move |mut stream| {
        if matches!(stream.read(&mut [0; 1024]), Ok(count) if count > 0) {
            let _ = write!(stream, "<{number}>\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    })
}

/// A server of HTTP whose status says what it is.
pub(crate) fn http(server: Server, role: &Role) -> Service {
    let role = role.clone();
    server.serve(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let status = if role.load(Ordering::SeqCst) {
            "200 OK"
        } else {
            "503 No"
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    })
}

/// A server of Redis, of which clients ask `WHO`.
pub(crate) fn redis(server: Server, number: u8, role: &Role) -> Service {
    let role = role.clone();
    server.serve(move |mut stream| {
        let lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
        for line in lines.map_while(Result::ok) {
            let name = if role.load(Ordering::SeqCst) {
                "master"
            } else {
                "slave"
            };
            let answer = match line.as_str() {
                "PING" => "+PONG\r\n".to_owned(),
                "WHO" => format!("<{number}>\r\n"),
                "QUIT" => "+OK\r\n".to_owned(),
                "info replication" => format!("${}\r\nrole:{name}\r\n\r\n", name.len() + 7),
                _ => "-ERR\r\n".to_owned(),
            };
            if stream.write_all(answer.as_bytes()).is_err() || line == "QUIT" {
                return;
            }
        }
    })
}

/// A server of mail behind the PROXY protocol, version 1.
pub(crate) fn mail(server: Server, number: u8) -> Service {
    server.serve(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
        let is_announced = lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| line.starts_with("PROXY ")));
        let banner = if is_announced {
            "220 ready"
        } else {
            "554 who are you"
        };
        let _ = write!(stream, "{banner} <{number}>\r\n");
        for line in lines.map_while(Result::ok) {
            let answer = if line.starts_with("QUIT") {
                "221 bye"
            } else {
                "250 ok"
            };
            if write!(stream, "{answer}\r\n").is_err() {
                return;
            }
        }
    })
}

/// A server of MySQL that takes every user.
pub(crate) fn mysql(server: Server, number: u8) -> Service {
    server.serve(move |mut stream| {
        let version = format!("8.0.0-<{number}>\0");
        let payload = [
            &[10][..],
            version.as_bytes(),
            &[1, 0, 0, 0],
            b"12345678\0",
            &[0xff, 0xf7, 33, 2, 0, 0xff, 0x81, 21],
            &[0; 10],
            b"123456789012\0mysql_native_password\0",
        ]
        .concat();
        let length = u8::try_from(payload.len()).expect("a short greeting");
        let _ = stream.write_all(&[&[length, 0, 0, 0], &payload[..]].concat());
        if matches!(stream.read(&mut [0; 1024]), Ok(count) if count > 0) {
            let _ = stream.write_all(&[7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0]);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    })
}

/// A directory that takes everybody, and says its number to those that ask with a question mark.
pub(crate) fn ldap(server: Server, number: u8) -> Service {
    server.serve(move |mut stream| {
        let mut asked = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut asked) {
            let answer = match asked[..count] {
                [b'?', ..] => format!("<{number}>").into_bytes(),
                _ => vec![0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, 0, 4, 0, 4, 0],
            };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    })
}

/// The number of the server that a client has found, if it was let in.
pub(crate) fn number(stream: &mut TcpStream) -> Option<u8> {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b">") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        heard.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&heard).into_owned();
    text.rsplit('<').next()?.strip_suffix('>')?.parse().ok()
}

/// How long a client waits for its server before it is asked again where everybody is.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often clients that stay, one after the other, find each server. Those that find none count for server 0.
pub(crate) fn counts(address: SocketAddr, clients: usize, hello: &[u8]) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    let mut open = Vec::new();
    for _ in 0..clients {
        let mut stream = peer::connect(address);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let _ = stream.write_all(hello);
        *counts.entry(number(&mut stream).unwrap_or(0)).or_default() += 1;
        open.push(stream);
    }
    counts
}
