//! A reload of what is beside the workers: the access log, and where the admin server is.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::harness::config::route;
use crate::harness::http;
use crate::harness::metrics::Metrics;
use crate::harness::port;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    the_access_log_changes_and_connections_end_in_theirs,
    the_admin_server_moves,
    what_can_t_be_had_changes_nothing,
);

/// A proxy whose file is written by sections.
struct Written {
    proxy: Proxy,
    scheduler: Scheduler,
    folder: tempfile::TempDir,
}

impl Written {
    fn start(scheduler: Scheduler, log: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = text(scheduler, "", log.map(|name| folder.path().join(name)));
        let proxy = Proxy::start_file(&text);
        Self {
            proxy,
            scheduler,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, admin: &str, log: Option<&str>) {
        let text = text(self.scheduler, admin, log.map(|name| self.path(name)));
        let file = self.proxy.directory().join("corelane.toml");
        fs::write(file, text).expect("it is ours");
        self.proxy.signal(Signal::HUP);
    }

    fn lines(&self, name: &str) -> usize {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().count()
    }
}

fn text(scheduler: Scheduler, admin: &str, log: Option<PathBuf>) -> String {
    let log = log.map_or(String::new(), |path| {
        format!("[access_log]\npath = {path:?}\n")
    });
    let routes = route("main", "127.0.0.1:0", &["builtin:echo"], "", "");
    let text = proxy::configuration_with(scheduler, "", "", &format!("{routes}\n{log}"));
    match admin {
        "" => text,
        admin => text.replace("[admin]\nlisten = \"127.0.0.1:0\"\n", admin),
    }
}

fn echoes(mut stream: &TcpStream) {
    stream.write_all(b"still here").expect("send");
    stream.read_exact(&mut [0; 10]).expect("receive");
}

fn metric(admin: SocketAddr, name: &str) -> f64 {
    let body = http::get(admin, "/metrics").body;
    Metrics::new(String::from_utf8(body).expect("text")).get(name, &[])
}

const WRITTEN: &str = "corelane_access_log_lines_total";

fn the_access_log_changes_and_connections_end_in_theirs(scheduler: Scheduler) {
    let written = Written::start(scheduler, Some("first.log"));
    let connect = || {
        let client = written.proxy.connect("main");
        echoes(&client);
        client
    };
    let (first, other_first) = (connect(), connect());
    written.write("", Some("second.log"));
    wait::until("the second log is there", || {
        written.path("second.log").exists()
    });
    // A connection that is accepted from here on begins with the second one, on any worker.
    let second = (0..100).find_map(|_| {
        drop(connect());
        let begun = wait::holds_within(std::time::Duration::from_millis(100), || {
            written.lines("second.log") > 0
        });
        begun.then(connect)
    });
    let second = second.expect("connections begin with the second log");
    let (in_first, in_second) = (written.lines("first.log"), written.lines("second.log"));
    drop(first);
    wait::until("its line is in the first log", || {
        written.lines("first.log") == in_first + 1
    });
    written.write("", None);
    let runs = || String::from_utf8_lossy(&written.proxy.get("/config").body).into_owned();
    wait::until("there is no log any more", || {
        !runs().contains("second.log")
    });
    drop((other_first, second));
    wait::until("both lines are written", || {
        (written.lines("first.log"), written.lines("second.log")) == (in_first + 2, in_second + 1)
    });
    let all = (in_first + 2 + in_second + 1) as f64;
    wait::until("all lines are counted", || {
        metric(written.proxy.admin(), WRITTEN) == all
    });
    written.proxy.stop();
}

fn the_admin_server_moves(scheduler: Scheduler) {
    let written = Written::start(scheduler, Some("a.log"));
    drop(written.proxy.connect("main"));
    let old = written.proxy.admin();
    let counted = |admin| metric(admin, "corelane_config_last_reload_timestamp_seconds");
    wait::until("a line is counted", || metric(old, WRITTEN) == 1.0);
    let before = counted(old);
    let port = port::free();
    let socket = written.path("admin.sock");
    let admin = format!(
        "[admin]\nlisten = \"127.0.0.1:{port}\"\nhosts = [\"corelane.example\"]\nsocket = {socket:?}\n"
    );
    let new = SocketAddr::from(([127, 0, 0, 1], port));
    let asked = |host: &str| {
        let mut stream = TcpStream::connect(new).expect("it listens");
        let head = format!("GET /config HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer[9..12].to_owned()
    };
    written.write(&admin, Some("a.log"));
    wait::until("it is there", || TcpStream::connect(new).is_ok());
    wait::until("it is gone from the old address", || {
        TcpStream::connect(old).is_err()
    });
    wait::until("it is told", || counted(new) > before);
    assert_eq!(metric(new, WRITTEN), 1.0);
    assert_eq!(asked("corelane.example"), "200");
    assert_eq!(asked("another.example"), "403");
    assert!(UnixStream::connect(&socket).is_ok());
    // The same address: other names, and the socket elsewhere.
    let moved = written.path("moved.sock");
    let admin = admin
        .replace("corelane.example", "another.example")
        .replace("admin.sock", "moved.sock");
    written.write(&admin, Some("a.log"));
    wait::until("the socket is elsewhere", || {
        moved.exists() && !socket.exists()
    });
    assert_eq!(asked("another.example"), "200");
    assert_eq!(asked("corelane.example"), "403");
    // The same path: another mode, by the command itself.
    let admin = format!("{admin}socket_mode = \"0600\"\n");
    let text = text(scheduler, &admin, Some(written.path("a.log")));
    fs::write(written.proxy.directory().join("corelane.toml"), text).expect("it is ours");
    reload_by(&moved);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&moved).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    written.proxy.stop();
}

fn reload_by(socket: &Path) {
    let mut command = proxy::command();
    command.arg("reload").arg("--socket").arg(socket);
    let output = command.output().expect("corelane runs");
    assert!(output.status.success(), "{output:?}");
}

fn what_can_t_be_had_changes_nothing(scheduler: Scheduler) {
    let written = Written::start(scheduler, Some("a.log"));
    let client = written.proxy.connect("main");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let elsewhere = format!("[admin]\nlisten = \"{address}\"\n");
    let succeeded = || metric(written.proxy.admin(), "corelane_config_last_reload_success");
    let socket = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\nsocket = {:?}\n",
        written.path("none/admin.sock")
    );
    for (admin, log) in [
        (&elsewhere[..], "b.log"),
        (&socket[..], "b.log"),
        ("", "none/a.log"),
    ] {
        written.write(admin, Some(log));
        wait::until("it is refused", || succeeded() == 0.0);
        echoes(&client);
        // The next refusal is to be seen as one.
        written.write("", Some("a.log"));
        wait::until("it is reloaded", || succeeded() == 1.0);
    }
    assert!(!written.path("b.log").exists(), "a log that is not to be");
    drop(client);
    wait::until("its line is in the log of before", || {
        written.lines("a.log") == 1
    });
    for section in ["[admin]", "[access_log]"] {
        written.proxy.logs(section);
    }
    written.proxy.stop();
}
