//! `corelane reload`: what a running proxy answers over its unix socket, and to which users.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;

use crate::harness::config::route;
use crate::harness::peer::Server;
use crate::harness::port;
use crate::harness::program;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(
    a_reload_answers,
    a_bad_file_is_told_and_changes_nothing,
    strangers_are_refused,
    what_is_no_command_is_told_so,
    who_says_nothing_goes_for_who_speaks,
    a_check_tries_what_it_can,
);

/// A user and a group of nobody's, and a group that is let in.
const STRANGER: &str = "64999";
const GROUP: &str = "64998";

fn routes(shares: &str) -> String {
    route("main", "127.0.0.1:0", &["builtin:echo"], shares, "")
}

/// A proxy with a socket for commands, in a folder that everybody may look into.
struct Commanded {
    proxy: Proxy,
    scheduler: Scheduler,
    admin: String,
    socket: PathBuf,
    folder: tempfile::TempDir,
}

impl Commanded {
    fn start(scheduler: Scheduler, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("it is ours");
        let socket = folder.path().join("admin.sock");
        let admin = format!("socket = {socket:?}\n{more}\n");
        let routes = routes("shares = 900");
        let text = proxy::configuration_with(scheduler, "", &admin, &routes);
        let proxy = Proxy::start_file(&text);
        Self {
            proxy,
            scheduler,
            admin,
            socket,
            folder,
        }
    }

    fn write(&self, routes: &str) {
        let text = proxy::configuration_with(self.scheduler, "", &self.admin, routes);
        fs::write(self.proxy.directory().join("corelane.toml"), text).expect("it is ours");
    }

    fn succeeded(&self) -> f64 {
        let name = "corelane_config_last_reload_success";
        self.proxy.metric(name, &[])
    }
}

/// `corelane reload`, as [`STRANGER`] asks, who is in `groups`. The binary is where everybody may run it.
fn ask(socket: &Path, binary: &Path, groups: &str, check: bool) -> Output {
    let mut command = Command::new("setpriv");
    command.args([
        format!("--reuid={STRANGER}"),
        format!("--regid={STRANGER}"),
        format!("--groups={groups}"),
    ]);
    command.arg(binary).arg("reload");
    command.args(check.then_some("--check"));
    command.arg("--socket").arg(socket);
    command.output().expect("setpriv is there")
}

fn as_self(socket: &Path, check: bool) -> Output {
    let mut command = proxy::command();
    command.arg("reload").args(check.then_some("--check"));
    command.arg("--socket").arg(socket);
    command.output().expect("corelane runs")
}

fn words(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn a_reload_answers(scheduler: Scheduler) {
    let commanded = Commanded::start(scheduler, "");
    let mode = fs::metadata(&commanded.socket)
        .expect("it listens")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
    commanded.write(&routes("shares = 90"));
    let checked = as_self(&commanded.socket, true);
    assert!(checked.status.success(), "{checked:?}");
    let change = "[listeners.main] shares: 900 is now 90";
    assert!(words(&checked.stdout).contains(change), "{checked:?}");
    let runs = |commanded: &Commanded| words(&commanded.proxy.get("/config").body);
    assert!(runs(&commanded).contains("shares = 900"));
    let reloaded = as_self(&commanded.socket, false);
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert!(words(&reloaded.stdout).contains(change), "{reloaded:?}");
    assert!(runs(&commanded).contains("shares = 90\n"));
    let again = as_self(&commanded.socket, false);
    assert!(words(&again.stdout).contains("nothing"), "{again:?}");
    let socket = commanded.socket.clone();
    commanded.proxy.stop();
    assert!(!socket.exists(), "the socket's file is left");
}

fn a_bad_file_is_told_and_changes_nothing(scheduler: Scheduler) {
    let commanded = Commanded::start(scheduler, "");
    commanded.write(&routes("shares = 0"));
    for check in [true, false] {
        let refused = as_self(&commanded.socket, check);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let why = words(&refused.stderr);
        assert!(
            why.contains("corelane.toml:") && why.contains("shares"),
            "{why}"
        );
        // A check changes nothing, what is known of the last reload included.
        assert_eq!(commanded.succeeded(), f64::from(check));
    }
    // What only the system knows is looked at, too.
    let unknown = format!("{}socket_group = \"no-such-group\"\n", commanded.admin);
    let text = proxy::configuration_with(scheduler, "", &unknown, &routes("shares = 900"));
    let file = commanded.proxy.directory().join("corelane.toml");
    fs::write(file, text).expect("it is ours");
    for check in [true, false] {
        let refused = as_self(&commanded.socket, check);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(
            words(&refused.stderr).contains("no such group"),
            "{refused:?}"
        );
    }
    commanded.write(&routes("shares = 900"));
    assert!(as_self(&commanded.socket, false).status.success());
    assert_eq!(commanded.succeeded(), 1.0);
    commanded.proxy.stop();
}

fn strangers_are_refused(scheduler: Scheduler) {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can ask as other users");
        return;
    }
    let open = Commanded::start(
        scheduler,
        &format!("socket_mode = \"0666\"\nsocket_group = \"{GROUP}\""),
    );
    let binary = open.folder.path().join("corelane");
    program::copy(proxy::command().get_program().as_ref(), &binary);
    let refused = ask(&open.socket, &binary, STRANGER, false);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let why = words(&refused.stderr);
    assert!(why.contains("may not change this proxy"), "{why}");
    assert!(why.contains("socket_group"), "{why}");
    for groups in [GROUP.to_owned(), format!("{STRANGER},{GROUP}")] {
        let let_in = ask(&open.socket, &binary, &groups, true);
        assert!(let_in.status.success(), "{let_in:?}");
    }
    open.proxy.logs("uid=64999");
    let closed = Commanded::start(scheduler, "");
    let refused = ask(&closed.socket, &binary, STRANGER, true);
    open.proxy.stop();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let why = words(&refused.stderr);
    assert!(why.contains("socket_group"), "{why}");
    closed.proxy.stop();
}

/// Clients that the socket serves at a time.
const PLACES: usize = 16;

/// How often it is tried to be faster than the five seconds after which silent ones are closed anyway.
const TRIES: usize = 5;

fn who_says_nothing_goes_for_who_speaks(scheduler: Scheduler) {
    let commanded = Commanded::start(scheduler, "");
    let connect = || UnixStream::connect(&commanded.socket).expect("it listens");
    let is_closed = |mut stream: &UnixStream| {
        stream.set_nonblocking(true).expect("a socket");
        stream.read(&mut [0]).is_ok()
    };
    let is_first_out = (0..TRIES).any(|_| {
        let silent: Vec<_> = (0..PLACES).map(|_| connect()).collect();
        assert!(as_self(&commanded.socket, true).status.success());
        // The oldest had to go for the command; the others would be gone, too, if it had waited for them, a moment later.
        thread::sleep(Duration::from_millis(300));
        is_closed(&silent[0]) && !is_closed(&silent[PLACES - 1])
    });
    assert!(is_first_out, "a command waits for those who say nothing");
    // As many as there are, half of them with half a request.
    let many: Vec<_> = (0..4 * PLACES)
        .map(|number| {
            let mut stream = connect();
            if number % 2 == 0 {
                // It may be closed already.
                let _ = stream.write_all(b"POST /api/v1/reload HTTP/1.1\r\nhost:");
            }
            stream
        })
        .collect();
    assert!(as_self(&commanded.socket, false).status.success());
    drop(many);
    commanded.proxy.stop();
}

/// What a reload would refuse, as far as it shows without anybody noticing; nothing is made meanwhile.
fn a_check_tries_what_it_can(scheduler: Scheduler) {
    let commanded = Commanded::start(scheduler, "");
    let folder = commanded.folder.path();
    let taken = format!("127.0.0.1:{}", port::free());
    let occupied = taken.parse().map(Server::bind_at).expect("an address");
    let bound = |bind: &str| routes("shares = 900").replace("127.0.0.1:0", bind);
    let unix = |name: &str| format!("unix:{}", folder.join(name).display());
    let log = |path: &Path| format!("{}[access_log]\npath = {path:?}\n", routes("shares = 900"));
    fs::write(folder.join("a file"), "of somebody's").expect("room");
    let checked = |routes: &str| {
        commanded.write(routes);
        let output = as_self(&commanded.socket, true);
        (output.status.success(), words(&output.stderr))
    };
    for (routes, who) in [
        (bound(&unix("none/main.sock")), "[listeners.main]"),
        (bound(&unix("a file")), "[listeners.main]"),
        (log(&folder.join("none/access.log")), "[access_log]"),
        (log(folder), "[access_log]"),
    ] {
        let (succeeded, why) = checked(&routes);
        assert!(!succeeded && why.contains(who), "{routes}: {why}");
    }
    let (succeeded, why) = checked(&bound(&taken));
    assert!(!succeeded && why.contains("[listeners.main]"), "{why}");
    drop(occupied);
    for routes in [
        bound(&taken),
        bound(&unix("main.sock")),
        log(&folder.join("access.log")),
    ] {
        let (succeeded, why) = checked(&routes);
        assert!(succeeded, "{routes}: {why}");
    }
    let made = ["main.sock", "access.log"].map(|name| folder.join(name).exists());
    assert_eq!(made, [false; 2], "a check makes nothing");
    // What it says is free is free.
    commanded.write(&bound(&taken));
    assert!(as_self(&commanded.socket, false).status.success());
    drop(std::net::TcpStream::connect(&taken).expect("it listens"));
    commanded.proxy.stop();
}

fn what_is_no_command_is_told_so(scheduler: Scheduler) {
    let commanded = Commanded::start(scheduler, "");
    for (request, status) in [
        ("GET /api/v1/reload", "405"),
        ("POST /", "404"),
        ("POST /api/v1/reload?chekc", "400"),
        ("nonsense", "400"),
    ] {
        let mut stream = UnixStream::connect(&commanded.socket).expect("it listens");
        let head = format!("{request} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    // Silent ones and floods: the next is served all the same.
    let silent: Vec<_> = (0..8)
        .map(|_| UnixStream::connect(&commanded.socket).expect("it listens"))
        .collect();
    let mut flood = UnixStream::connect(&commanded.socket).expect("it listens");
    // It is cut at some point.
    let _ = flood.write_all(&vec![b'a'; 1 << 20]);
    assert!(as_self(&commanded.socket, true).status.success());
    drop(silent);
    commanded.proxy.stop();
    let gone = as_self(Path::new("/nonexistent/admin.sock"), true);
    let why = words(&gone.stderr);
    assert!(why.contains("`socket` of [admin]"), "{why}");
    assert_eq!(gone.status.code(), Some(1));
}
