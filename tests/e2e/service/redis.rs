//! redis-server, and a client of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::child::Child;
use crate::harness::port;
use crate::harness::program;
use crate::harness::proxy::Proxy;
use crate::harness::wait;

/// A server that keeps nothing on disk.
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    _child: Child,
    _directory: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_on(port::free())
    }

    /// On the port of one that is gone.
    pub(crate) fn start_on(port: u16) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let mut command = Command::new(program::path("redis-server"));
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path());
        let child = Child::spawn(&mut command, Signal::KILL);
        wait::until("redis-server is ready", || {
            child.log().contains("Ready to accept connections")
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            address,
            _child: child,
            _directory: directory,
        }
    }
}

/// As much of RESP as the tests speak.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(proxy: &Proxy, listener: &str) -> Self {
        Self(BufReader::new(proxy.connect(listener)))
    }

    pub(crate) fn request(&mut self, words: &[&[u8]]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&request).expect("request");
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("answer");
        line.trim_end().to_owned()
    }

    pub(crate) fn bulk(&mut self) -> Vec<u8> {
        let header = self.line();
        let size = header.strip_prefix('$').and_then(|size| size.parse().ok());
        let mut bytes = vec![0; size.unwrap_or_else(|| panic!("a bulk string, not {header}"))];
        self.0.read_exact(&mut bytes).expect("value");
        assert_eq!(self.line(), "");
        bytes
    }
}
