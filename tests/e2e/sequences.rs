//! Any sequence of files: after each, the proxy is what a start with that file makes. Compared are the addresses that the
//! kernel says it listens on, its configuration, and the series of what is configured.
//!
//! `CORELANE_SEQUENCE_STEPS` makes it longer than the tests have time for, `CORELANE_SEQUENCE_SEED` another one.

use std::collections::BTreeSet;
use std::env;
use std::ffi::CStr;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::mount::{MountFlags, mount};

use crate::harness::chance::Chance;
use crate::harness::change;
use crate::harness::hang::with_own_mounts;
use crate::harness::listening;
use crate::harness::metrics::Metrics;
use crate::harness::network;
use crate::harness::port;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(each_file_leads_to_what_a_start_with_it_makes);

const STEPS: u64 = 8;

/// Ports of clients where the fresh starts are.
const CLIENT_PORTS: &str = "40000 50000";

/// Clients that are served at each address, after each file.
const CLIENTS: usize = 4;

fn number(name: &str, default: u64) -> u64 {
    let given = env::var(name).ok();
    given.map_or(default, |given| given.parse().expect("a number"))
}

/// Files by chance.
struct Files {
    chance: Chance,
    folder: PathBuf,
    ports: [u16; 3],
    admin: u16,
    has_ipv6: bool,
}

/// A file, and what is to be expected of it.
struct File {
    text: String,
    scheduler: Scheduler,
    cores: usize,
    /// Where it listens, as it is written.
    binds: Vec<String>,
}

impl Files {
    fn new(seed: u64, folder: &Path) -> Self {
        Self {
            chance: Chance::new(seed),
            folder: folder.to_owned(),
            ports: [(); 3].map(|()| port::free()),
            admin: port::free(),
            has_ipv6: std::net::TcpListener::bind("[::1]:0").is_ok(),
        }
    }

    fn below(&mut self, count: usize) -> usize {
        self.chance.below(count as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn is_lucky(&mut self) -> bool {
        self.below(2) == 0
    }

    /// One of each group at most: those of a group overlap.
    fn binds(&mut self) -> Vec<String> {
        let [first, second, third] = self.ports;
        let unix = |name: &str| format!("unix:{}", self.folder.join(name).display());
        let mut groups = vec![
            vec![
                format!("127.0.0.1:{first}"),
                format!("0.0.0.0:{first}"),
                format!("*:{first}"),
            ],
            vec![format!("127.0.0.1:{second}"), format!("127.0.0.2:{second}")],
            vec![unix("a.sock")],
            vec![unix("b.sock")],
        ];
        if self.has_ipv6 {
            groups.push(vec![format!("[::1]:{third}"), format!("[::]:{third}")]);
        }
        let mut binds = Vec::new();
        while binds.is_empty() {
            for group in &groups {
                if self.is_lucky() {
                    binds.push(group[self.below(group.len())].clone());
                }
            }
        }
        binds
    }

    fn next(&mut self, own: Scheduler) -> File {
        let usable = Scheduler::ALL.into_iter().filter(|one| one.usable());
        let usable: Vec<_> = usable.collect();
        // Each second file is one of the scheduler's that the sequence is for.
        let scheduler = match self.is_lucky() {
            true => own,
            false => self.of(&usable),
        };
        let cores = 1 + self.below(3);
        let mut text = format!(
            "[runtime]\n{}cores = {cores}\npin = false\n[admin]\nlisten = \"127.0.0.1:{}\"\n",
            scheduler.runtime_toml(),
            self.admin
        );
        if self.is_lucky() {
            let name = self.of(&["a.log", "b.log"]);
            let path = self.folder.join(name);
            let format = self.of(&["text", "json"]);
            let _ = writeln!(text, "[access_log]\npath = {path:?}\nformat = \"{format}\"");
        }
        let binds = self.binds();
        let upstreams = 1 + self.below(3);
        let mut listeners: [Vec<&String>; 3] = [const { Vec::new() }; 3];
        for bind in &binds {
            listeners[self.below(3)].push(bind);
        }
        for (name, binds) in ["a", "b", "c"].into_iter().zip(&listeners) {
            if !binds.is_empty() {
                let _ = write!(
                    text,
                    "[listeners.{name}]\nbind = {binds:?}\nupstream = \"u{}\"\nshares = {}\nsplice = {}\n{}{}",
                    self.below(upstreams),
                    self.of(&[1, 300, 1000]),
                    self.is_lucky(),
                    self.of(&["", "latency = \"1ms\"\n", "idle_timeout = \"off\"\n"]),
                    self.of(&["", "max_connections = 50\n", "backlog = 100\n"]),
                );
            }
        }
        for upstream in 0..upstreams {
            let _ = write!(
                text,
                "[upstreams.u{upstream}]\nservers = [\"builtin:echo\"{}]\nbalance = \"{}\"\n{}{}",
                self.of(&[
                    "",
                    ", \"127.0.0.1:9\"",
                    ", { address = \"localhost:9\", weight = 2 }"
                ]),
                self.of(&["round-robin", "least-connections"]),
                self.of(&["", "connect_timeout = \"2s\"\n", "on_removed = \"reset\"\n"]),
                match self.below(3) {
                    0 => format!("[upstreams.u{upstream}.health]\ninterval = \"500ms\"\n"),
                    _ => String::new(),
                },
            );
        }
        File {
            text,
            scheduler,
            cores,
            binds,
        }
    }
}

const ECHO: &str = "builtin:echo";

fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

/// What a proxy is.
#[derive(PartialEq, Eq)]
struct Shape {
    addresses: BTreeSet<String>,
    configuration: String,
    series: BTreeSet<String>,
}

impl Shape {
    /// That of a proxy that runs a file. What others before it have left behind is not looked at.
    fn of(proxy: &Proxy, file: &File) -> Self {
        let configuration = String::from_utf8(proxy.get("/config").body).expect("UTF-8");
        let addresses = listening::addresses(proxy.pid()).into_iter();
        Self {
            // Each has a built-in echo at a port that the kernel chose.
            addresses: addresses
                .map(|address| match port_of(&address) {
                    Some(port::CHOSEN..) => ECHO.to_owned(),
                    _ => address,
                })
                .collect(),
            series: series(&proxy.metrics(), file, &configuration),
            configuration,
        }
    }

    /// What is not the same, one thing a line.
    fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        for (what, own, other) in [
            ("address", &self.addresses, &other.addresses),
            ("series", &self.series, &other.series),
        ] {
            for one in own.difference(other) {
                let _ = writeln!(text, "{what} too many: {one}");
            }
            for one in other.difference(own) {
                let _ = writeln!(text, "{what} missing: {one}");
            }
        }
        if self.configuration != other.configuration {
            let _ = writeln!(text, "{}\nfor\n{}", self.configuration, other.configuration);
        }
        text
    }
}

/// The names of the series, with their labels, of what is configured: what is removed is shown for a while, and what only
/// another scheduler counts, and cores that there were, for ever.
fn series(metrics: &Metrics, file: &File, configuration: &str) -> BTreeSet<String> {
    let others = match file.scheduler {
        Scheduler::Glommio => "corelane_tokio_",
        Scheduler::WorkStealing | Scheduler::PerCore => "corelane_glommio_",
    };
    let all = metrics.all().into_keys().filter(|series| {
        let is_configured = ["listener", "upstream"].into_iter().all(|kind| {
            label(series, kind).is_none_or(|name| {
                let section = format!("[{kind}s.{name}]");
                configuration.lines().any(|line| line == section)
            })
        });
        let has_server = match (label(series, "upstream"), label(series, "server")) {
            (Some(upstream), Some(server)) => {
                let section = format!("[upstreams.{upstream}]");
                let mut lines = configuration.lines().skip_while(|line| *line != section);
                lines.any(|line| {
                    line.starts_with("servers = ") && line.contains(&format!("\"{server}\""))
                })
            }
            _ => true,
        };
        let is_core = label(series, "core")
            .is_none_or(|core| core.parse::<usize>().expect("an index") < file.cores);
        is_configured && has_server && is_core && !series.starts_with(others)
    });
    all.map(str::to_owned).collect()
}

fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let (_, labels) = series.split_once('{')?;
    let begin = format!("{name}=\"");
    let at = labels
        .match_indices(&begin)
        .find(|(at, _)| *at == 0 || labels.as_bytes()[at - 1] == b',')?;
    labels[at.0 + begin.len()..].split('"').next()
}

/// Starts proxies with files where the same addresses and paths are free: in a network and with mounts of their own.
struct Fresh {
    files: Sender<File>,
    shapes: Receiver<(File, Shape)>,
    starts: thread::JoinHandle<()>,
}

impl Fresh {
    fn begin(folder: PathBuf) -> Self {
        let (files, asked) = mpsc::channel::<File>();
        let (answers, shapes) = mpsc::channel();
        let starts = thread::spawn(move || {
            network::alone(CLIENT_PORTS, move || {
                with_own_mounts(move || {
                    let none = MountFlags::empty();
                    mount("none", &folder, "tmpfs", none, None::<&CStr>).expect("a file system");
                    for file in asked {
                        let proxy = Proxy::start_file(&file.text);
                        let shape = Shape::of(&proxy, &file);
                        proxy.stop();
                        if answers.send((file, shape)).is_err() {
                            break;
                        }
                    }
                });
            });
        });
        Self {
            files,
            shapes,
            starts,
        }
    }

    /// What a start with a file makes. None where there can't be one, which [`Fresh::end`] says.
    fn start(&self, file: File) -> Option<(File, Shape)> {
        self.files.send(file).ok()?;
        self.shapes.recv().ok()
    }

    /// Passes on its panic, if there was one.
    fn end(self) {
        drop(self.files);
        if let Err(panic) = self.starts.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A client comes, and is answered.
fn exchange(mut client: impl Read + Write) -> io::Result<()> {
    client.write_all(b"hello")?;
    client.read_exact(&mut [0; 5])
}

fn assert_served(bind: &str) {
    for _ in 0..CLIENTS {
        let served = if let Some(path) = bind.strip_prefix("unix:") {
            UnixStream::connect(path).and_then(exchange)
        } else {
            let local = bind.replace("0.0.0.0", "127.0.0.1");
            let local = local.replace('*', "127.0.0.1").replace("[::]", "[::1]");
            let address: SocketAddr = local.parse().expect("an address");
            TcpStream::connect(address).and_then(|client| {
                client.set_read_timeout(Some(wait::DEADLINE))?;
                exchange(client)
            })
        };
        served.unwrap_or_else(|error| panic!("{bind}: {error}"));
    }
}

fn each_file_leads_to_what_a_start_with_it_makes(scheduler: Scheduler) {
    let seed = number("CORELANE_SEQUENCE_SEED", 0);
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Files::new(seed + scheduler as u64, folder.path());
    let fresh = Fresh::begin(folder.path().to_owned());
    let mut proxy = None;
    for step in 0..number("CORELANE_SEQUENCE_STEPS", STEPS) {
        let file = files.next(scheduler);
        let Some((file, wanted)) = fresh.start(file) else {
            return fresh.end();
        };
        let proxy = match &mut proxy {
            None => proxy.insert(Proxy::start_file(&file.text)),
            Some(proxy) => {
                change::write(proxy, &file.text);
                proxy
            }
        };
        // A switch and what is removed end a little later.
        let mut shape = None;
        let is_same = || *shape.insert(Shape::of(proxy, &file)) == wanted;
        if !wait::holds_within(wait::DEADLINE / 2, is_same) {
            let shape = shape.expect("it was looked at");
            panic!(
                "seed {seed}, step {step}:\n{}\nwith\n{}\n{}",
                shape.differences(&wanted),
                file.text,
                proxy.log()
            );
        }
        file.binds.iter().for_each(|bind| assert_served(bind));
        // What is not listened on has no file, either.
        for name in ["a.sock", "b.sock"] {
            let path = folder.path().join(name);
            let bind = format!("unix:{}", path.display());
            assert_eq!(path.exists(), file.binds.contains(&bind), "{name}");
        }
    }
    proxy.expect("there are steps").stop();
    fresh.end();
}
