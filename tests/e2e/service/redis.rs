//! redis-server, and a client of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::child::Child;
use crate::harness::peer;
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
        Self::start_with(port, &[])
    }

    /// A replica of a server.
    pub(crate) fn start_replica_of(master: &Self) -> Self {
        let port = master.address.port().to_string();
        Self::start_with(
            port::free(),
            &[
                "--replicaof",
                "127.0.0.1",
                &port,
                "--repl-diskless-sync-delay",
                "0",
            ],
        )
    }

    fn start_with(port: u16, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let mut command = Command::new(program::path("redis-server"));
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path())
            .args(options);
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
        Self::to(proxy.address(listener))
    }

    pub(crate) fn to(address: SocketAddr) -> Self {
        Self(BufReader::new(peer::connect(address)))
    }

    /// The answer's line to one request; none if there is no connection to a server any more.
    pub(crate) fn ask(&mut self, words: &str) -> Option<String> {
        let asked = write!(self.0.get_mut(), "{words}\r\n");
        let mut line = String::new();
        asked
            .and_then(|()| self.0.read_line(&mut line))
            .ok()
            .filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
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
