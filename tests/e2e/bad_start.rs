//! Mistakes of an operator: each is named, with what to do about it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::config::{forward, route};
use crate::harness::port;
use crate::harness::proxy::{self, Proxy};
use crate::harness::restrict::{with_descriptors, without_ipv6, without_privileges};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    port_in_use,
    port_of_a_connection,
    foreign_address,
    no_ipv6,
    port_below_1024,
    missing_directory,
    file_in_the_way,
    socket_in_use,
    no_descriptor,
    own_listener,
);

/// Its end, and what it wrote to stdout and stderr.
fn corelane(arguments: [&str; 2]) -> (ExitStatus, String) {
    let mut child = Child::spawn(proxy::command().args(arguments), Signal::KILL);
    let status = child.wait();
    (status, child.whole_log())
}

fn with_file<T>(content: &str, test: impl FnOnce(&str) -> T) -> T {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("corelane.toml");
    fs::write(&file, content).expect("write");
    test(file.to_str().expect("UTF-8"))
}

fn assert_all_in(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

/// What a proxy says that can't listen on `bind`, started by a command that may be restricted.
fn refused_by(mut command: Command, scheduler: Scheduler, bind: &str) -> String {
    let routes = route("main", bind, &["builtin:echo"], "", "");
    let config = proxy::configuration(scheduler, "", &routes);
    with_file(&config, |file| {
        let mut child = Child::spawn(command.args(["run", file]), Signal::KILL);
        let status = child.wait();
        let text = child.whole_log();
        assert!(status.code().is_some_and(|code| code != 0), "{status}");
        assert_all_in(&text, &["[listeners.main] can't listen on", bind]);
        text
    })
}

fn refused(scheduler: Scheduler, bind: &str) -> String {
    refused_by(proxy::command(), scheduler, bind)
}

fn assert_none_in(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(!text.contains(part), "{part:?} misleads in:\n{text}");
    }
}

fn port_in_use(scheduler: Scheduler) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address");
    let text = refused(scheduler, &address.to_string());
    let command = format!("ss -tanp 'sport = :{}'", address.port());
    assert_all_in(&text, &["in use", &command]);
}

fn port_of_a_connection(scheduler: Scheduler) {
    let server = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(server.local_addr().expect("address")).expect("connect");
    let text = refused(
        scheduler,
        &client.local_addr().expect("address").to_string(),
    );
    assert_all_in(&text, &["in use", "ss -tanp", "ip_local_port_range"]);
}

fn foreign_address(scheduler: Scheduler) {
    // An address for documents (RFC 5737).
    let text = refused(scheduler, "192.0.2.1:0");
    assert_all_in(&text, &["ip address", "Cannot assign"]);
    assert_none_in(&text, &["ss -", "another"]);
}

fn no_ipv6(scheduler: Scheduler) {
    let mut command = proxy::command();
    without_ipv6(&mut command);
    let text = refused_by(command, scheduler, "[::1]:0");
    assert_all_in(&text, &["without IPv6", "0.0.0.0:0"]);
    assert_none_in(&text, &["ss -", "another"]);
}

fn port_below_1024(scheduler: Scheduler) {
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let start: u16 = start.map_or(1024, |text| text.trim().parse().expect("a number"));
    if start < 2 {
        return println!("skipped: here everybody may listen below 1024");
    }
    let mut command = proxy::command();
    without_privileges(&mut command);
    let text = refused_by(command, scheduler, "127.0.0.1:1");
    assert_all_in(&text, &["CAP_NET_BIND_SERVICE", "Permission denied"]);
    assert_none_in(&text, &["ss -", "another"]);
}

fn missing_directory(scheduler: Scheduler) {
    let text = refused(scheduler, "unix:/nonexistent/in.sock");
    assert_all_in(&text, &["make the directory /nonexistent", "No such file"]);
    assert_none_in(&text, &["ss -", "another"]);
}

fn file_in_the_way(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("in.sock");
    fs::write(&file, "precious").expect("write");
    let text = refused(scheduler, &format!("unix:{}", file.display()));
    assert_all_in(&text, &["no socket", "ss -lxp"]);
    assert_none_in(&text, &["ss -t"]);
    assert_eq!(
        fs::read_to_string(&file).expect("it is still there"),
        "precious"
    );
}

fn socket_in_use(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("in.sock");
    let _taken = UnixListener::bind(&file).expect("bind");
    let text = refused(scheduler, &format!("unix:{}", file.display()));
    assert_all_in(&text, &["in use", "ss -lxp src"]);
    assert_none_in(&text, &["ss -t"]);
}

fn no_descriptor(scheduler: Scheduler) {
    // Enough for all that comes before the listeners, and not for a thousand binds.
    const LIMIT: u64 = 256;
    let binds: Vec<_> = (0..64).map(|_| "127.0.0.1:0".to_owned()).collect();
    let routes: String = (0..16)
        .map(|index| format!("[listeners.l{index}]\nbind = {binds:?}\nupstream = \"u\"\n"))
        .chain(["[upstreams.u]\nservers = [\"builtin:echo\"]\n".to_owned()])
        .collect();
    let config = proxy::configuration(scheduler, "", &routes);
    let mut command = proxy::command();
    with_descriptors(&mut command, LIMIT);
    let text = with_file(&config, |file| {
        let mut child = Child::spawn(command.args(["run", file]), Signal::KILL);
        assert!(!child.wait().success());
        child.whole_log()
    });
    assert_all_in(&text, &["LimitNOFILE", "Too many open files"]);
    assert_none_in(&text, &["ss -", "another"]);
}

#[test]
fn admin_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let config = proxy::configuration(Scheduler::WorkStealing, "", &forward(&["builtin:echo"]))
        .replace(
            "listen = \"127.0.0.1:0\"",
            &format!("listen = \"{address}\""),
        );
    let (status, text) = with_file(&config, |file| corelane(["run", file]));
    assert!(status.code().is_some_and(|code| code != 0), "{}", status);
    assert_all_in(
        &text,
        &["[admin]", &address, "in use", "ss -tanp", "`listen`"],
    );
}

#[test]
fn foreign_admin_address() {
    let config = proxy::configuration(Scheduler::WorkStealing, "", &forward(&["builtin:echo"]))
        .replace("listen = \"127.0.0.1:0\"", "listen = \"192.0.2.1:0\"");
    let (status, text) = with_file(&config, |file| corelane(["run", file]));
    assert!(!status.success(), "{status}");
    assert_all_in(&text, &["[admin]", "ip address", "`listen`"]);
    assert_none_in(&text, &["ss -", "another"]);
}

#[test]
fn access_log_in_a_missing_directory() {
    let routes = forward(&["builtin:echo"]) + "[access_log]\npath = \"/nonexistent/access.log\"\n";
    let config = proxy::configuration(Scheduler::WorkStealing, "", &routes);
    let (status, text) = with_file(&config, |file| corelane(["run", file]));
    assert!(!status.success(), "{status}");
    assert_all_in(
        &text,
        &["[access_log]", "make the directory /nonexistent", "`path`"],
    );
}

/// All of the problems at once, each with its place and the nearest valid name.
#[test]
fn unknown_keys() {
    let config = "[runtime]\nshceduler = \"tokio\"\n\n[listeners.main]\nbind = \"127.0.0.1:0\"\n\
                  upstraem = \"main\"\n\n[upstreams.main]\nservers = [\"builtin:echo\"]\n";
    for command in ["check", "run"] {
        with_file(config, |file| {
            let (status, text) = corelane([command, file]);
            assert!(!status.success(), "{command}: {}", status);
            let places = [format!("{file}:2:1"), format!("{file}:6:1")];
            assert_all_in(&text, &[&places[0], "shceduler", "`scheduler`"]);
            assert_all_in(&text, &[&places[1], "upstraem", "`upstream`"]);
        });
    }
}

/// What is valid but not meant, beside what is wrong.
#[test]
fn slips() {
    let config = "[runtime]\nplacement = \"least-loaded\"\n\n[listeners.a]\nbind = \"*:7001\"\n\
                  upstream = \"wbe\"\n\n[listeners.b]\nbind = \"127.0.0.1:7001\"\nupstream = \"web\"\n\n\
                  [upstreams.web]\nservers = [\"builtin:echo\"]\n[upstreams.old]\nservers = [\"a:1\"]\n";
    let fixed = config
        .replace("placement", "# placement")
        .replace("\"wbe\"", "\"web\"")
        .replace("127.0.0.1:7001", "127.0.0.1:7002");
    with_file(config, |file| {
        let (status, text) = corelane(["check", file]);
        assert!(!status.success(), "{text}");
        let place = |place: &str| format!("{file}:{place}: ");
        assert_all_in(&text, &[&place("2:1"), "it belongs in [runtime.glommio]"]);
        assert_all_in(&text, &[&place("6:12"), "did you mean \"web\"?"]);
        assert_all_in(&text, &[&place("9:8"), "part of \"*:7001\""]);
    });
    with_file(&fixed, |file| {
        let (status, text) = corelane(["check", file]);
        assert!(status.success(), "{text}");
        let warning = format!("warning: {file}:14:1: no listener uses [upstreams.old]");
        assert_all_in(&text, &[&warning, ": ok"]);
    });
}

#[test]
fn not_toml() {
    with_file("[runtime\n", |file| {
        let (status, text) = corelane(["check", file]);
        assert!(!status.success(), "{}", status);
        assert_all_in(&text, &[&format!("{file}:1:")]);
    });
}

#[test]
fn missing_file() {
    let (status, text) = corelane(["check", "/nonexistent/corelane.toml"]);
    assert!(!status.success(), "{}", status);
    assert_all_in(&text, &["/nonexistent/corelane.toml", "No such file"]);
}

#[test]
fn examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let files: Vec<_> = fs::read_dir(&examples)
        .expect("config/examples")
        .flatten()
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let path = file.path();
        let (status, text) = corelane(["check", path.to_str().expect("UTF-8")]);
        assert!(status.success(), "{}: {text}", path.display());
    }
}

fn own_listener(scheduler: Scheduler) {
    let port = port::free();
    let bind = format!("0.0.0.0:{port}");
    let itself = format!("127.0.0.1:{port}");
    let start = |servers: &[&str]| {
        let routes = route("main", &bind, servers, "", "");
        proxy::configuration(scheduler, "", &routes)
    };
    let parts = [&*itself, "which is [listeners.main]"];
    with_file(&start(&[&itself]), |file| {
        for command in ["check", "run"] {
            let (status, text) = corelane([command, file]);
            assert!(!status.success(), "{command}: {status}");
            assert_all_in(&text, &parts);
        }
    });
    // It runs where there is a way out, and says so.
    let doubtful = start(&["builtin:echo", &itself]);
    with_file(&doubtful, |file| {
        let (status, text) = corelane(["check", file]);
        assert!(status.success(), "{status}");
        assert_all_in(&text, &parts);
    });
    let proxy = Proxy::start_file(&doubtful);
    wait::until("it is told", || {
        parts.iter().all(|part| proxy.log().contains(part))
    });
    proxy.stop();
}
