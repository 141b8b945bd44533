//! The access log: one line a connection, which says who, how much, how long and why it ended; and nobody waits for it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, mknodat};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::child::Child;
use crate::harness::config::{forward, forward_with};
use crate::harness::peer::{self, Server};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upstream_failure::Blackhole;

each_scheduler!(
    orderly_end,
    json,
    client_reset,
    client_reset_after_the_server_ended,
    server_reset,
    refused,
    next_server,
    connect_timeout,
    idle_timeout,
    drain,
    template,
    standard_output,
    rotation,
    a_full_disk_leaves_no_torn_line,
    nobody_reads
);

/// A log in a directory of its own.
struct Log {
    path: PathBuf,
    _directory: TempDir,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        Self {
            path: directory.path().join("access.log"),
            _directory: directory,
        }
    }

    /// The section, with more lines for it.
    fn section(&self, lines: &str) -> String {
        format!("[access_log]\npath = {:?}\n{lines}\n", self.path)
    }

    /// Waits for its only line.
    fn line(&self) -> String {
        only_line(&self.path)
    }

    /// Waits for its only line, in the default format, as words.
    fn words(&self) -> Vec<String> {
        self.line().split(' ').map(str::to_owned).collect()
    }
}

fn only_line(path: &Path) -> String {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait::until("a line in the log", || read().ends_with('\n'));
    let text = read();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines[0].to_owned()
}

/// The position of a word in a line of the default template.
const CLIENT: usize = 1;
const SERVER: usize = 3;
const BYTES_IN: usize = 4;
const BYTES_OUT: usize = 5;
const WAIT: usize = 6;
const CONNECT: usize = 7;
const TOTAL: usize = 8;
const RETRIES: usize = 9;
const END: usize = 11;

fn seconds(word: &str) -> f64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no time"))
}

/// A proxy in front of `servers` with a log.
fn start(scheduler: Scheduler, servers: &[&str], listener: &str, upstream: &str) -> (Proxy, Log) {
    let log = Log::new();
    let routes = forward_with(servers, listener, upstream);
    let proxy = Proxy::start(scheduler, &(log.section("") + &routes));
    (proxy, log)
}

/// A connection over which five bytes have gone up and three down.
fn established(proxy: &Proxy, server: &Server) -> (TcpStream, TcpStream) {
    let mut client = proxy.connect("main");
    let mut upstream = server.accept();
    client.write_all(b"hello").expect("send");
    upstream.read_exact(&mut [0; 5]).expect("receive");
    upstream.write_all(b"you").expect("send");
    client.read_exact(&mut [0; 3]).expect("receive");
    (client, upstream)
}

/// Starts a proxy and a connection, has `act` end it, and returns the words of its line.
fn words_after(scheduler: Scheduler, act: impl FnOnce(TcpStream, TcpStream)) -> Vec<String> {
    let server = Server::bind();
    let (proxy, log) = start(scheduler, &[&server.address().to_string()], "", "");
    let (client, upstream) = established(&proxy, &server);
    act(client, upstream);
    let words = log.words();
    assert_eq!((&*words[BYTES_IN], &*words[BYTES_OUT]), ("5", "3"));
    words
}

fn orderly_end(scheduler: Scheduler) {
    let server = Server::bind();
    let address = server.address().to_string();
    let (proxy, log) = start(scheduler, &[&address], "", "");
    let (client, upstream) = established(&proxy, &server);
    let own = client.local_addr().expect("address").to_string();
    assert_eq!(fs::read_to_string(&log.path).expect("the log is made"), "");
    drop((client, upstream));
    let words = log.words();
    assert_eq!(words.len(), 12, "{words:?}");
    assert_eq!(words[0].len(), "2023-11-14T22:13:20.500Z".len());
    let known = [&own, "main", &address, "5", "3"].map(str::to_owned);
    assert_eq!(words[CLIENT..=BYTES_OUT], known);
    let [wait, connect, total] = [WAIT, CONNECT, TOTAL].map(|at| seconds(&words[at]));
    assert!(
        wait >= 0.0 && connect >= 0.0 && wait + connect <= total,
        "{words:?}"
    );
    assert_eq!(words[RETRIES], "0");
    assert_eq!(words[END], "--");
    let written = || proxy.metric("corelane_access_log_lines_total", &[]);
    wait::until("the line is counted", || written() == 1.0);
    assert_eq!(proxy.metric("corelane_access_log_dropped_total", &[]), 0.0);
}

fn json(scheduler: Scheduler) {
    let server = Server::bind();
    let address = server.address().to_string();
    let log = Log::new();
    let config = log.section("format = \"json\"") + &forward(&[&address]);
    let proxy = Proxy::start(scheduler, &config);
    let (client, upstream) = established(&proxy, &server);
    let own = client.local_addr().expect("address").to_string();
    let listed: Value =
        serde_json::from_slice(&proxy.get("/connections").body).expect("/connections is JSON");
    drop((client, upstream));
    let line: Value = serde_json::from_str(&log.line()).expect("a line is JSON");
    assert_eq!(line["id"], listed["connections"][0]["id"]);
    assert_eq!(line["client"], own);
    assert_eq!(line["listener"], "main");
    assert_eq!(line["server"], address);
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&5.into(), &3.into())
    );
    assert_eq!(line["retries"], 0);
    assert!(line["core"].is_u64() && line["connect_seconds"].is_f64());
    assert!(line["wait_seconds"].as_f64() <= line["total_seconds"].as_f64());
    assert_eq!(
        (&line["end"], &line["cause"]),
        (&"--".into(), &"finished".into())
    );
}

fn client_reset(scheduler: Scheduler) {
    let words = words_after(scheduler, |client, mut upstream| {
        peer::reset(client);
        let _ = peer::end_of(&mut upstream);
    });
    assert_eq!(words[END], "CD");
}

fn client_reset_after_the_server_ended(scheduler: Scheduler) {
    let words = words_after(scheduler, |mut client, upstream| {
        upstream.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(client.read(&mut [0; 1]).expect("an orderly end"), 0);
        peer::reset(client);
    });
    assert_eq!(words[END], "CL");
}

fn server_reset(scheduler: Scheduler) {
    let words = words_after(scheduler, |mut client, upstream| {
        peer::reset(upstream);
        let _ = peer::end_of(&mut client);
    });
    assert_eq!(words[END], "SD");
}

fn refused(scheduler: Scheduler) {
    let servers = [peer::refusing().to_string(), peer::refusing().to_string()];
    let (proxy, log) = start(scheduler, &[&servers[0], &servers[1]], "", "");
    peer::assert_closed_unanswered(proxy.connect("main"));
    let words = log.words();
    assert_eq!(words[END], "SC");
    assert_eq!((&*words[CONNECT], &*words[RETRIES]), ("-", "1"));
    // The last one that was tried.
    assert!(servers.contains(&words[SERVER]), "{words:?}");
}

fn next_server(scheduler: Scheduler) {
    let (refusing, server) = (peer::refusing().to_string(), Server::bind());
    let address = server.address().to_string();
    let (proxy, log) = start(scheduler, &[&refusing, &address], "", "");
    drop(established(&proxy, &server));
    let words = log.words();
    assert_eq!((&words[SERVER], &*words[END]), (&address, "--"));
    assert!(seconds(&words[CONNECT]) >= 0.0);
    assert_eq!(words[RETRIES], "1");
}

fn connect_timeout(scheduler: Scheduler) {
    let silent = Blackhole::open();
    let timeout = "connect_timeout = \"300ms\"";
    let (proxy, log) = start(scheduler, &[&silent.address], "", timeout);
    peer::assert_closed_unanswered(proxy.connect("main"));
    let words = log.words();
    assert_eq!((&words[SERVER], &*words[END]), (&silent.address, "sC"));
    assert_eq!(words[CONNECT], "-");
    assert!(seconds(&words[TOTAL]) >= 0.3, "{words:?}");
}

fn idle_timeout(scheduler: Scheduler) {
    let server = Server::bind();
    let timeout = "idle_timeout = \"300ms\"";
    let (proxy, log) = start(scheduler, &[&server.address().to_string()], timeout, "");
    let (mut client, _upstream) = established(&proxy, &server);
    let _ = peer::end_of(&mut client);
    let words = log.words();
    assert_eq!(words[END], "cD");
    assert!(seconds(&words[TOTAL]) >= 0.3, "{words:?}");
}

/// The last lines are written before the process ends.
fn drain(scheduler: Scheduler) {
    let server = Server::bind();
    let log = Log::new();
    let config = log.section("") + &forward(&[&server.address().to_string()]);
    let mut proxy = Proxy::start_with(scheduler, "drain_timeout = \"300ms\"\n", &config);
    let (_client, _upstream) = established(&proxy, &server);
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    let text = fs::read_to_string(&log.path).expect("the log");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.ends_with(" KD\n"), "{text}");
}

fn template(scheduler: Scheduler) {
    let server = Server::bind();
    let log = Log::new();
    let lines = "template = \"{{{end}}} {cause}: {bytes_out}/{bytes_in} of {listener}\"";
    let config = log.section(lines) + &forward(&[&server.address().to_string()]);
    let proxy = Proxy::start(scheduler, &config);
    drop(established(&proxy, &server));
    assert_eq!(log.line(), "{--} finished: 3/5 of main");
}

/// The harness reads standard output up to "ready" only, so this test reads it itself.
fn standard_output(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("corelane.toml");
    let log = "[access_log]\npath = \"stdout\"\ntemplate = \"ended {listener} {end}\"\n";
    let routes = log.to_owned() + &forward(&["builtin:echo"]);
    let config = proxy::configuration(scheduler, "", &routes);
    fs::write(&file, config).expect("write the configuration");
    let mut command = proxy::command();
    let (_child, stdout) = Child::spawn_piped(command.arg("run").arg(file), Signal::KILL);
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let mut next = |prefix: &str| {
        let found = lines.find_map(|line| line.strip_prefix(prefix).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no line that begins with {prefix:?}"))
    };
    let address: SocketAddr = next("listening main ").parse().expect("an address");
    next("ready");
    drop(peer::connect(address));
    assert_eq!(next("ended "), "main --");
}

/// What logrotate does: rename, then SIGUSR1.
fn rotation(scheduler: Scheduler) {
    let (proxy, log) = start(scheduler, &["builtin:echo"], "", "");
    drop(proxy.connect("main"));
    let first = log.line();
    let old = log.path.with_extension("1");
    fs::rename(&log.path, &old).expect("rename");
    proxy.signal(Signal::USR1);
    wait::until("the file is made again", || log.path.exists());
    drop(proxy.connect("main"));
    assert_ne!(log.line(), first);
    assert_eq!(only_line(&old), first);
}

/// Limits the size of the files that the proxy writes, as a disk does that is full. None: it has room again.
fn limit_files(proxy: &Proxy, bytes: Option<u64>) {
    let pid = Pid::from_raw(proxy.pid() as i32);
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).expect("a limit");
}

/// The lines of a file, each of which is JSON.
fn whole_lines(path: &Path) -> usize {
    let text = fs::read_to_string(path).expect("the log");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    for line in text.lines() {
        let json: Result<Value, _> = serde_json::from_str(line);
        assert!(json.is_ok(), "{line:?} of\n{text}");
    }
    text.lines().count()
}

/// It ends in the middle of a line, and then there is room again, here or in another file.
fn a_full_disk_leaves_no_torn_line(scheduler: Scheduler) {
    let log = Log::new();
    let config = log.section("format = \"json\"") + &forward(&["builtin:echo"]);
    let proxy = Proxy::start(scheduler, &config);
    let lines = || proxy.metric("corelane_access_log_lines_total", &[]);
    let dropped = || proxy.metric("corelane_access_log_dropped_total", &[]);
    let mut made = 0.0;
    let mut serve = || {
        drop(proxy.connect("main"));
        made += 1.0;
        wait::until("its line is written or dropped", || {
            lines() + dropped() == made
        });
    };
    let size = || fs::metadata(&log.path).expect("the log").len();
    serve();
    let line = size();
    for _ in 0..2 {
        // Room for one line and a half.
        limit_files(&proxy, Some(size() + line * 3 / 2));
        let before = dropped();
        while dropped() < before + 2.0 {
            serve();
            whole_lines(&log.path);
        }
        limit_files(&proxy, None);
        (0..3).for_each(|_| serve());
        assert_eq!(whole_lines(&log.path) as f64, lines());
    }
    limit_files(&proxy, Some(size() + line / 2));
    serve();
    let old = log.path.with_extension("1");
    fs::rename(&log.path, &old).expect("rename");
    proxy.signal(Signal::USR1);
    wait::until("the file is made again", || log.path.exists());
    serve();
    let written = whole_lines(&old) + whole_lines(&log.path);
    assert_eq!((written as f64, whole_lines(&log.path)), (lines(), 1));
    assert_eq!(dropped(), 5.0);
    proxy.stop();
}

/// A FIFO that nobody reads: lines are dropped and counted, and connections don't wait, nor does the end.
fn nobody_reads(scheduler: Scheduler) {
    let log = Log::new();
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(rustix::fs::CWD, &log.path, FileType::Fifo, mode, 0).expect("a FIFO");
    // A few hundred lines are more than the FIFO, the writer's batch and the queue hold.
    let long = "x".repeat(1000);
    let lines = format!("queue = 4\ntemplate = \"{{end}} {long}\"");
    let config = log.section(&lines) + &forward(&["builtin:echo"]);
    let proxy = Proxy::start(scheduler, &config);
    let dropped = || proxy.metric("corelane_access_log_dropped_total", &[]);
    let exchange = || {
        let mut client = proxy.connect("main");
        client.write_all(b"anyone?").expect("send");
        client.read_exact(&mut [0; 7]).expect("an answer");
    };
    let lines = || proxy.metric("corelane_access_log_lines_total", &[]);
    let ended = || proxy.metric("corelane_listener_ended_total", &[("cause", "finished")]);
    // Serves fifty, and returns how many lines were dropped and written meanwhile.
    let mut made = 0.0;
    let mut round = || {
        let before = (dropped(), lines());
        (0..50).for_each(|_| exchange());
        made += 50.0;
        wait::until("all have ended", || ended() == made);
        (dropped() - before.0, lines() - before.1)
    };
    wait::until("nothing is written any more", || round() == (50.0, 0.0));
    assert_eq!(round(), (50.0, 0.0), "lines dropped and written");
    proxy.stop();
}
