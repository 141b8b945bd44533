//! Executables that say they take over and lie, or speak another version: the process that runs goes on, with all it has.

use std::cell::Cell;
use std::process::Output;

use crate::ctl_changes::{Echo, exchange};
use crate::harness::config::route;
use crate::harness::heirs::Heirs;
use crate::harness::process;
use crate::harness::program;
use crate::harness::proxy::{Proxy, configuration_with};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upgrade::ask;

each_scheduler!(
    who_lies_changes_nothing,
    who_lies_later_gives_back_what_it_has_not_taken
);

/// What is said of one that begins too late.
const LATE: &str = "or name another executable: timed out";

/// How often one may.
const LATE_MAX: usize = 9;

/// What each of them can do: send messages, and hear them, as one that takes over does.
const ABLE: &str = r#"import json, os, socket, struct, sys, time
s = socket.socket(fileno=int(os.environ["CORELANE_UPGRADE"]))
s.setblocking(True)
def send(kind, body=b"", fds=(), last=1, count=None, length=None):
    count = len(fds) if count is None else count
    length = len(body) if length is None else length
    socket.send_fds(s, [struct.pack("<BBHI", kind, last, count, length) + body], list(fds))
def hello(**more):
    said = dict(magic="corelane upgrade", versions=[1, 1], records=[1, 1], program="9.9")
    said.update(more)
    send(1, json.dumps(said).encode())
def hear(kind):
    while True:
        piece, fds, _, _ = socket.recv_fds(s, 1 << 16, 253)
        for fd in fds: os.close(fd)
        if not piece: sys.exit(4)
        if piece[0] == kind and piece[1] == 1: return piece[8:]
def ready():
    hello(); hear(4); send(5)
def accepts():
    ready(); hear(7); send(8, json.dumps(dict(kept=[])).encode())
"#;

/// A proxy with an open connection.
struct Old {
    proxy: Proxy,
    heirs: Heirs,
    socket: std::path::PathBuf,
    client: std::net::TcpStream,
    _echo: Echo,
    folder: tempfile::TempDir,
    python: std::path::PathBuf,
    /// How often it was asked to have another take over.
    asked: Cell<u32>,
}

impl Old {
    fn start(scheduler: Scheduler) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("admin.sock");
        let admin = format!("socket = {socket:?}");
        let echo = Echo::start();
        let routes = route("main", "127.0.0.1:0", &[&echo.address], "", "");
        let proxy = Proxy::start_file(&configuration_with(scheduler, "", &admin, &routes));
        let heirs = Heirs::of(&proxy);
        let client = proxy.connect("main");
        exchange(&client);
        Self {
            proxy,
            heirs,
            socket,
            client,
            _echo: echo,
            folder,
            python: program::python(),
            asked: Cell::new(0),
        }
    }

    /// Has a program that does this take over. What is told why it doesn't.
    fn refuse(&self, script: &str) -> String {
        let pid = self.heirs.only();
        let path = self.folder.path().join("liar");
        let python = self.python.display();
        program::write(&path, &format!("#!{python} -IS\n{ABLE}{script}\n"));
        let ask = || {
            self.asked.set(self.asked.get() + 1);
            ask(&self.socket, Some(&path))
        };
        let words = |asked: &Output| String::from_utf8_lossy(&asked.stderr).into_owned();
        let mut asked = ask();
        // On a machine with much else to run it may not have begun in time.
        for _ in 0..LATE_MAX {
            if !words(&asked).contains(LATE) {
                break;
            }
            asked = ask();
        }
        assert_eq!(asked.status.code(), Some(1), "{script}: {asked:?}");
        exchange(&self.client);
        exchange(&self.proxy.connect("main"));
        assert_eq!(self.heirs.only(), pid, "{script}");
        words(&asked)
    }

    fn failures(&self) -> f64 {
        let labels = [("result", "failure")];
        self.proxy.metric("corelane_upgrades_total", &labels)
    }
}

fn who_lies_changes_nothing(scheduler: Scheduler) {
    let old = Old::start(scheduler);
    // What is no message at all, or no sense, is refused by tests of the channel.
    let lies = [
        ("hello(versions=[98, 99])", "versions 98 to 99"),
        ("hello(records=[98, 99])", "records of connections"),
        ("send(1, b'long', length=1 << 30)", "no message"),
        ("hello(); hear(4); send(8)", "out of turn"),
        ("hello(); hear(4); send(6, b'\\xff' * 9000)", "\u{fffd}"),
        ("ready(); hear(7); send(8, b'no JSON')", ""),
        ("ready(); hear(7); sys.exit(3)", ""),
    ];
    for (script, why) in lies {
        let words = old.refuse(script);
        assert!(words.contains(why), "{script}: {words}");
        assert_eq!(old.failures(), f64::from(old.asked.get()), "{script}");
    }
    // Descriptors that it sends are nobody's.
    let before = process::descriptors(old.proxy.pid());
    old.refuse("send(1, b'{', [0] * 200)");
    old.refuse("send(1, b'{', [0] * 200, last=0); sys.exit(1)");
    wait::until("they are closed", || {
        process::descriptors(old.proxy.pid()) <= before + 5
    });
    drop(old.client);
    old.proxy.stop();
}

/// It accepts, and then gives wrong answers to what it is given.
fn who_lies_later_gives_back_what_it_has_not_taken(scheduler: Scheduler) {
    let old = Old::start(scheduler);
    // One that ends by itself with success was asked to end, and so was the old one.
    for script in [
        "accepts(); hear(10); send(11, b'\\2'); sys.exit(1)",
        "accepts(); hear(10); send(11, b'\\1' * 60); sys.exit(1)",
        "accepts(); hear(10); sys.exit(1)",
    ] {
        let words = old.refuse(script);
        assert!(words.contains("the old one goes on"), "{script}: {words}");
        wait::until("it is over", || old.proxy.get("/healthz").body == b"ok\n");
    }
    drop(old.client);
    old.proxy.stop();
}
