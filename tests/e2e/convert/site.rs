//! A configuration of HAProxy's on this machine: HAProxy runs it, and corelane what it becomes, in front of the same servers.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::process::Signal;
use tempfile::TempDir;

use super::scripts;
use crate::harness::child::Child;
use crate::harness::peer::Server;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::Scheduler;
use crate::harness::{port, program, wait};

/// Where HAProxy listens, and corelane, at the same ports.
const HAPROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const CORELANE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The folder of the configurations.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert/haproxy")
}

/// A configuration whose addresses become ones of loopback, and whose ports become free ones.
pub(crate) struct Site {
    text: String,
    /// The third part of the addresses of its servers.
    network: u8,
    ports: RefCell<HashMap<u16, u16>>,
}

/// Both proxies.
pub(crate) struct Pair {
    _corelane: Proxy,
    /// What corelane runs.
    pub(crate) converted: String,
    ports: HashMap<u16, u16>,
    haproxy: Child,
    _directory: TempDir,
}

impl Site {
    /// That of a file of the folder.
    pub(crate) fn new(file: &str) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        Self {
            text: fs::read_to_string(folder().join(file)).expect("the file"),
            network: NEXT.fetch_add(1, Ordering::Relaxed),
            ports: RefCell::default(),
        }
    }

    /// The same with other words, which must be there.
    pub(crate) fn with(mut self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "no {from} in it");
        self.text = self.text.replace(from, to);
        self
    }

    /// The server at `192.0.2.NUMBER:PORT` of the file, not listening yet.
    pub(crate) fn server(&self, number: u8, port: u16) -> Server {
        let host = Ipv4Addr::new(127, 77, self.network, number);
        Server::bind_at((host, self.port(port)).into())
    }

    fn port(&self, port: u16) -> u16 {
        let mut ports = self.ports.borrow_mut();
        *ports.entry(port).or_insert_with(port::free)
    }

    /// The configuration for a proxy that listens at `host`.
    fn text(&self, host: Ipv4Addr) -> String {
        let mut bound = Vec::new();
        let lines = self.text.lines().filter_map(|line| {
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let first = words.first().cloned().unwrap_or_default();
            match first.as_str() {
                // The machine's own, which a test leaves alone.
                "chroot" | "user" | "group" | "daemon" | "log" | "ulimit-n" => return None,
                word if word.starts_with('#') => return None,
                "maxconn" => words[1] = "1000".to_owned(),
                // A loaded machine may be slow to answer checks that come often.
                "defaults" if !self.text.contains("timeout check") => {
                    words.push("\n timeout check 5s".to_owned());
                }
                "bind" => {
                    let port = words[1]
                        .rsplit(':')
                        .next()
                        .expect("a port")
                        .parse()
                        .expect("a number");
                    let here = format!("{host}:{}", self.port(port));
                    // Of several for a port, one is enough here.
                    if bound.contains(&here) {
                        return None;
                    }
                    bound.push(here.clone());
                    words[1] = here;
                    words.retain(|word| word != "v6only");
                }
                "server" => {
                    let (address, port) = match words[2].split_once(':') {
                        Some((address, port)) => (address.to_owned(), Some(port.to_owned())),
                        None => (words[2].clone(), None),
                    };
                    let here = address.replace("192.0.2.", &format!("127.77.{}.", self.network));
                    let port = port.map(|port| self.port(port.parse().expect("a number")));
                    words[2] = port.map_or(here.clone(), |port| format!("{here}:{port}"));
                }
                _ => {}
            }
            for place in 1..words.len() {
                if words[place - 1] == "port" {
                    words[place] = self
                        .port(words[place].parse().expect("a number"))
                        .to_string();
                }
                // Tests wait for checks.
                if matches!(words[place - 1].as_str(), "inter" | "fastinter") {
                    words[place] = "200ms".to_owned();
                }
                if words[place - 1] == "slowstart" {
                    words[place] = "100ms".to_owned();
                }
            }
            Some(words.join(" "))
        });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    /// Starts both. `has_losses` says whether something can't be carried over.
    pub(crate) fn start(&self, scheduler: Scheduler, has_losses: bool) -> Pair {
        let directory = tempfile::tempdir().expect("directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("haproxy.cfg"), self.text(HAPROXY)).expect("write");
        fs::write(path("other.cfg"), self.text(CORELANE)).expect("write");
        let mut command = Command::new(program::path("haproxy"));
        command.arg("-db").arg("-f").arg(path("haproxy.cfg"));
        let haproxy = Child::spawn(&mut command, Signal::TERM);

        let convert = proxy::command()
            .args(["convert", "--from", "haproxy", "--output"])
            .arg(path("corelane.toml"))
            .arg(path("other.cfg"))
            .output()
            .expect("corelane");
        let said = String::from_utf8_lossy(&convert.stderr).into_owned();
        assert_eq!(convert.status.code(), Some(i32::from(has_losses)), "{said}");
        assert_eq!(said.contains("not carried over"), has_losses, "{said}");
        let check = proxy::command()
            .arg("check")
            .arg(path("corelane.toml"))
            .output()
            .expect("corelane");
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stderr)
        );
        let converted = fs::read_to_string(path("corelane.toml")).expect("the result");
        let corelane = Proxy::start_file(&complete(&converted, scheduler));
        let ports = self.ports.borrow().clone();
        let pair = Pair {
            _corelane: corelane,
            converted,
            ports,
            haproxy,
            _directory: directory,
        };
        wait::until("HAProxy listens", || {
            let log = pair.haproxy.log();
            let has_failed = log.contains("Fatal errors") || log.contains("main()]");
            assert!(!has_failed, "{log}");
            let mut binds = self
                .text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("bind "));
            binds.all(|bind| {
                let address = bind.split(' ').next().unwrap_or_default();
                let port = address
                    .rsplit(':')
                    .next()
                    .expect("a port")
                    .parse()
                    .expect("a number");
                TcpStream::connect((HAPROXY, pair.ports[&port])).is_ok()
            })
        });
        pair
    }
}

/// What a test adds to a converted file: its scheduler, two cores, and an admin server at any port.
fn complete(converted: &str, scheduler: Scheduler) -> String {
    let mut lines = scheduler.runtime_toml().to_owned();
    if !converted.contains("\ncores = ") {
        lines += "cores = 2\n";
    }
    // Comments name tables, too.
    let mut text = match converted.contains("\n[runtime]\n") {
        true => converted.replace("\n[runtime]\n", &format!("\n[runtime]\n{lines}")),
        false => format!("{converted}\n[runtime]\n{lines}"),
    };
    if !converted.contains("\n[admin]\n") {
        text += "\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    }
    text
}

impl Pair {
    /// Where HAProxy and corelane are at a port of the file.
    pub(crate) fn both(&self, port: u16) -> [SocketAddr; 2] {
        [HAPROXY, CORELANE].map(|host| (host, self.ports[&port]).into())
    }

    /// So many clients that stay, which all say `hello`, find servers as often as `expected` says, at both proxies.
    pub(crate) fn agree(&self, port: u16, hello: &[u8], expected: &[(u8, usize)]) {
        let clients = expected.iter().map(|(_, count)| count).sum();
        let expected: BTreeMap<u8, usize> = expected.iter().copied().collect();
        for address in self.both(port) {
            let mut found = BTreeMap::new();
            let holds = wait::holds_within(wait::DEADLINE, || {
                found = scripts::counts(address, clients, hello);
                found == expected
            });
            assert!(
                holds,
                "{address}: {found:?}, and not {expected:?}\n{}",
                self.converted
            );
        }
    }
}
