//! Configurations of nginx as people publish them, converted: the same clients reach the same servers as often by nginx and by the
//! proxy. The files stand in `tests/convert/nginx`, with example addresses, which become those of servers here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::hello::client_hello;
use crate::harness::peer::{self, Server, Service};
use crate::harness::port;
use crate::harness::program;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(public_configurations_do_what_they_did);

/// The files, and the code that `corelane convert` ends with: 1 where something is left out.
const FILES: [(&str, i32); 13] = [
    ("galera.conf", 0),
    ("dns-over-tls.conf", 1),
    ("ssh-bastion.conf", 0),
    ("sni-map.conf", 0),
    ("postgres.conf", 0),
    ("redis.conf", 1),
    ("kube-apiserver.conf", 0),
    ("mail.conf", 0),
    ("mqtt.conf", 0),
    ("ssh-or-https.conf", 1),
    ("canary.conf", 1),
    ("kafka.conf", 0),
    ("nested.conf", 0),
];

/// Connections that are open at a time through one port, for each kind of client; and where chance decides, so many that a share is
/// further off than is allowed in less than one of 10^9 runs.
pub(crate) const CLIENTS: usize = 40;
pub(crate) const MANY_CLIENTS: usize = 200;

/// What a client that is closed has instead of a server.
const CLOSED: u8 = b'-';

/// By the text of a `listen` and the kind of client: how many connections reached each server.
type Reached = BTreeMap<(String, &'static str), BTreeMap<u8, usize>>;

fn public_configurations_do_what_they_did(scheduler: Scheduler) {
    for (name, code) in FILES {
        compare(scheduler, name, code);
    }
}

fn compare(scheduler: Scheduler, name: &str, code: i32) {
    let directory = tempfile::tempdir().expect("directory");
    let site = Site::new(name, directory.path());
    let by_nginx = {
        let _nginx = site.nginx(directory.path());
        site.reached()
    };
    let converted = convert(&directory.path().join("nginx.conf"));
    let said = String::from_utf8_lossy(&converted.stderr).into_owned();
    assert_eq!(converted.status.code(), Some(code), "{name}: {said}");
    let proxy = start(scheduler, directory.path(), &converted.stdout);
    let by_proxy = site.reached();
    proxy.stop();
    for (client, nginxs) in &by_nginx {
        let proxys = &by_proxy[client];
        assert!(
            site.is_alike(nginxs, proxys),
            "{name}, {client:?}: nginx {nginxs:?}, corelane {proxys:?}"
        );
    }
}

fn convert(file: &Path) -> Output {
    let mut command = proxy::command();
    command.args(["convert", "--from", "nginx"]).arg(file);
    command.output().expect("run")
}

/// The proxy with what a file became.
pub(crate) fn start(scheduler: Scheduler, directory: &Path, converted: &[u8]) -> Proxy {
    let file = directory.join("converted.toml");
    fs::write(&file, converted).expect("write");
    Proxy::start_file(&format!(
        "include = [{file:?}]\n[runtime]\n{}[admin]\nlisten = \"127.0.0.1:0\"\n",
        scheduler.runtime_toml()
    ))
}

/// A configuration with servers of this test in it.
struct Site {
    text: String,
    /// Where it listens, by the words of the file.
    listens: Vec<(String, SocketAddr)>,
    _servers: Vec<Service>,
}

impl Site {
    fn new(name: &str, directory: &Path) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert/nginx");
        let original = fs::read_to_string(folder.join(name)).expect("the file");
        let is_told = original.contains("proxy_protocol on");
        let (mut text, mut servers, mut listens) = (original.clone(), Vec::new(), Vec::new());
        for address in words(&original).filter(|word| word.starts_with("192.0.2.")) {
            if text.contains(address) {
                let server = named(b'a' + u8::try_from(servers.len()).expect("few"), is_told);
                text = text.replace(address, &server.address().to_string());
                servers.push(server);
            }
        }
        let mut changed = String::from("pid nginx.pid;\ndaemon off;\nmaster_process off;\n");
        if !text.contains("load_module") {
            changed += "load_module modules/ngx_stream_module.so;\n";
        }
        if !text.contains("events") {
            changed += "events {}\n";
        }
        for line in text.lines() {
            let begins = |word: &str| line.trim_start().starts_with(word);
            // This machine may have no IPv6.
            let is_left_out = ["user ", "error_log ", "pid ", "listen [::]"]
                .into_iter()
                .any(begins);
            if is_left_out {
                continue;
            }
            match line.split_once("listen ") {
                Some((before, after)) if !before.contains('#') => {
                    let end = after.find([' ', ';']).expect("an end");
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()));
                    changed += &format!("{before}listen {address}{}\n", &after[end..]);
                    if !after[end..].contains("udp") {
                        listens.push((after[..end].to_owned(), address));
                    }
                }
                _ => changed += &format!("{line}\n"),
            }
        }
        let text = changed
            .replace("modules/ngx", "/usr/lib/nginx/modules/ngx")
            .replace("/var/log/nginx", &directory.display().to_string());
        fs::write(directory.join("nginx.conf"), &text).expect("write");
        Self {
            text,
            listens,
            _servers: servers,
        }
    }

    /// nginx with this configuration, which it must find valid.
    fn nginx(&self, directory: &Path) -> Child {
        let mut command = Command::new(program::path("nginx"));
        command
            .arg("-p")
            .arg(directory)
            .args(["-c", "nginx.conf", "-e", "stderr"]);
        let child = Child::spawn(&mut command, Signal::TERM);
        let (_, last) = self.listens.last().expect("it listens");
        wait::until("nginx is ready", || {
            assert!(!child.log().contains("[emerg]"), "{}", child.log());
            TcpStream::connect(last).is_ok()
        });
        child
    }

    /// Which servers clients reach, by every port.
    fn reached(&self) -> Reached {
        let hears = self.text.contains("ssl_preread on");
        let kinds: &[&str] = match hears {
            false => &["plain"],
            true => &[
                "plain",
                "git.example.com",
                "a.b.apps.example.com",
                "mail.example.com",
                "in.mail.example.com",
                "old.example.com",
                "other.example",
            ],
        };
        let mut reached = Reached::new();
        for (words, address) in &self.listens {
            for &kind in kinds {
                let servers = reached.entry((words.clone(), kind)).or_default();
                for (server, count) in counts(*address, kind, hears, self.clients()) {
                    *servers.entry(server).or_default() += count;
                }
            }
        }
        reached
    }

    fn is_by_chance(&self) -> bool {
        self.text.contains("split_clients") || self.text.contains("random two")
    }

    fn clients(&self) -> usize {
        match self.is_by_chance() {
            true => MANY_CLIENTS,
            false => CLIENTS,
        }
    }

    /// Whether both have reached the same servers in the same proportions. A hash leads to one server, which may be another one.
    fn is_alike(&self, one: &BTreeMap<u8, usize>, other: &BTreeMap<u8, usize>) -> bool {
        if self.text.contains("hash $remote_addr") {
            let is_served = |reached: &BTreeMap<u8, usize>| {
                reached.len() == 1 && !reached.contains_key(&CLOSED)
            };
            return is_served(one) && is_served(other);
        }
        // Each worker goes round by itself; chance is further off: the least share here is a tenth.
        let off = match self.is_by_chance() {
            true => MANY_CLIENTS / 6,
            false => 4,
        };
        are_close(one, other, off)
    }
}

/// Whether each server is reached as often, give or take `off`.
pub(crate) fn are_close(
    one: &BTreeMap<u8, usize>,
    other: &BTreeMap<u8, usize>,
    off: usize,
) -> bool {
    let mut servers = one.keys().chain(other.keys());
    servers.all(|server| {
        let count =
            |reached: &BTreeMap<u8, usize>| reached.get(server).copied().unwrap_or_default();
        count(one).abs_diff(count(other)) <= off
    })
}

/// The words of a configuration without comments.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .flat_map(|line| line.split([' ', ';', '{', '}']))
        .filter(|word| !word.is_empty())
}

/// A server that says its name, and waits for the client to go. Where it is told of its clients, it wants to hear of this one.
pub(crate) fn named(name: u8, is_told: bool) -> Service {
    Server::bind().serve(move |mut stream| {
        let mut first = [0; 16];
        if is_told && (stream.read_exact(&mut first).is_err() || &first != b"PROXY TCP4 127.0") {
            return;
        }
        let _ = stream.write_all(&[name]);
        while stream.read(&mut [0; 512]).is_ok_and(|count| count > 0) {}
    })
}

/// How many of so many clients of a kind reach each server. All of them stay until the last one has.
pub(crate) fn counts(
    address: SocketAddr,
    kind: &str,
    are_heard: bool,
    clients: usize,
) -> BTreeMap<u8, usize> {
    let mut clients: Vec<_> = (0..clients)
        .map(|_| client(address, kind, are_heard))
        .collect();
    let mut servers = BTreeMap::new();
    for client in &mut clients {
        *servers.entry(server_of(client)).or_default() += 1;
    }
    servers
}

/// A client of a kind. One that is to be heard says something.
pub(crate) fn client(address: SocketAddr, kind: &str, is_heard: bool) -> TcpStream {
    let mut stream = peer::connect(address);
    let said = match kind {
        "plain" if is_heard => b"SSH-2.0-client\r\n".to_vec(),
        "plain" => Vec::new(),
        name => client_hello(name, b"h2"),
    };
    // It may be closed already.
    let _ = stream.write_all(&said);
    stream
}

fn server_of(stream: &mut TcpStream) -> u8 {
    let mut name = [0];
    match stream.read(&mut name) {
        Ok(1) => name[0],
        _ => CLOSED,
    }
}
