//! Servers, and the ports of a configuration in front of them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::convert_nginx::{counts, named, start};
use crate::harness::child::Child;
use crate::harness::peer::Service;
use crate::harness::port;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::Scheduler;
use crate::harness::wait;

/// Ports of an example, which become free ones, what clients at each of them say, and how many there are.
pub(super) type Kinds = &'static [(&'static str, &'static str, usize)];

/// How many clients reach each server, by the port and what they say.
type Reached = BTreeMap<(&'static str, &'static str), BTreeMap<u8, usize>>;

/// The servers of an example, which become ones of this test. Their names are `a`, `b` and so on.
const SERVERS: [&str; 4] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];

/// A server of an example that refuses.
const REFUSING: &str = "192.0.2.9";

pub(super) struct Site {
    directory: tempfile::TempDir,
    kinds: Kinds,
    ports: BTreeMap<&'static str, u16>,
    refusing: u16,
    servers: Vec<Service>,
}

impl Site {
    pub(super) fn new(kinds: Kinds) -> Self {
        let names = (b'a'..).take(SERVERS.len());
        Self {
            directory: tempfile::tempdir().expect("directory"),
            kinds,
            ports: kinds
                .iter()
                .map(|(port, ..)| *port)
                .map(|port| (port, port::free()))
                .collect(),
            refusing: port::free(),
            servers: names.map(|name| named(name, false)).collect(),
        }
    }

    /// A file with the ports of this test.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let servers = SERVERS.iter().zip(&self.servers);
        let servers = servers.map(|(example, server)| (*example, server.address().port()));
        let ports = self.ports.iter().map(|(example, port)| (*example, *port));
        let mut text = text.replace("DIRECTORY", &self.directory.path().display().to_string());
        for (example, port) in servers.chain(ports).chain([(REFUSING, self.refusing)]) {
            text = text.replace(example, &port.to_string());
        }
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("write");
        path
    }

    pub(super) fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Where a port of the example is.
    pub(super) fn at(&self, port: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[port]))
    }

    /// The peer, once it listens.
    pub(super) fn peer(&self, command: &mut Command) -> Child {
        let child = Child::spawn(command, Signal::TERM);
        for port in self.ports.keys() {
            wait::until("the peer listens", || {
                TcpStream::connect(self.at(port)).is_ok()
            });
        }
        child
    }

    /// The proxy with what a file becomes, and what is said of it. `code` is 1 where something is lost.
    pub(super) fn corelane(
        &self,
        scheduler: Scheduler,
        kind: &str,
        file: &Path,
        code: i32,
    ) -> (Proxy, String) {
        let mut convert = proxy::command();
        convert.args(["convert", "--from", kind]).arg(file);
        let output = convert.output().expect("run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        let proxy = start(scheduler, self.directory.path(), &output.stdout);
        (proxy, said)
    }

    /// How many clients of each kind reach each server.
    pub(super) fn reached(&self) -> Reached {
        let reached = self.kinds.iter().map(|(port, says, clients)| {
            ((*port, *says), counts(self.at(port), says, false, *clients))
        });
        reached.collect()
    }
}

/// A program, unless it isn't there.
pub(super) fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&path).map(|directory| directory.join(name));
    let found = all.into_iter().find(|program| program.is_file());
    if found.is_none() {
        println!("skipped: {name} isn't installed; `bash tests/run` brings it");
    }
    found
}
