//! stdout and stderr that nobody reads, that are full or that can't be written: no byte that is forwarded waits for
//! them, and no thread ends of them.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::OFlags;
use rustix::io::ioctl_fionbio;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::harness::child::Child;
use crate::harness::config::{forward_with, route};
use crate::harness::metrics::Metrics;
use crate::harness::peer::{self, Service};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::{http, port, wait};

each_scheduler!(
    a_log_without_a_reader_ends_nothing,
    a_log_on_a_full_disk_ends_nothing,
    lines_for_outputs_that_are_closed_are_counted,
    a_log_on_a_full_pipe_holds_up_nothing,
    stdout_on_a_full_disk_ends_nothing,
    stdout_on_a_full_pipe_holds_up_nothing,
    what_was_lost_is_named_when_the_log_goes_on,
);

/// A page: the least that a pipe can hold.
const PIPE_BYTES: usize = 4096;

/// The write end of a device that is always full.
fn full_device() -> Stdio {
    let file = File::options().write(true).open("/dev/full");
    file.expect("/dev/full").into()
}

/// A pipe with a reader that doesn't read, and no room.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().expect("a pipe");
    fcntl_setpipe_size(&writer, PIPE_BYTES).expect("the least size");
    fill(&writer);
    (reader, writer)
}

fn fill(mut pipe: &PipeWriter) {
    ioctl_fionbio(pipe, true).expect("non-blocking");
    for size in [512, 1] {
        let stopped = loop {
            if let Err(error) = pipe.write(&vec![b'\n'; size]) {
                break error;
            }
        };
        assert_eq!(stopped.kind(), ErrorKind::WouldBlock);
    }
    ioctl_fionbio(pipe, false).expect("blocking");
}

fn echoes(mut stream: &TcpStream) {
    stream.write_all(b"still here").expect("send");
    stream.read_exact(&mut [0; 10]).expect("receive");
}

/// A server that takes connections as long as it lives, and an address that refuses them.
fn servers() -> (Service, String, String) {
    let echo = peer::echo();
    let address = echo.address().to_string();
    (echo, address, peer::refusing().to_string())
}

/// Health checks that find one of two servers down.
fn configuration(scheduler: Scheduler, listener: &str) -> (String, Service, String) {
    let (echo, up, down) = servers();
    let health = "[upstreams.main.health]\ninterval = \"100ms\"\nrise = 1\nfall = 1\n";
    let routes = forward_with(&[&up, &down], listener, health);
    let text = proxy::configuration(scheduler, "drain_timeout = \"10s\"\n", &routes);
    (text, echo, down)
}

fn checks(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_upstream_health_checks_total", &[])
}

fn dropped(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_log_lines_dropped_total", &[])
}

/// Everything that logs does so, and everything goes on, to an orderly end.
fn assert_nothing_ends(proxy: Proxy, scheduler: Scheduler, down: &str) {
    let client = proxy.connect("main");
    echoes(&client);
    let is_up = || proxy.metric("corelane_upstream_up", &[("server", down)]) == 1.0;
    wait::until("the server that refuses is down", || !is_up());
    let before = checks(&proxy);
    wait::until("servers are checked after that", || {
        checks(&proxy) > before + 4.0
    });
    // One that is refused, which is an error in the log.
    let wrong = forward_with(&["builtin:echo"], "idle_timeout = \"9 parsecs\"", "");
    proxy.reload(scheduler, &wrong);
    let succeeded = || proxy.metric("corelane_config_last_reload_success", &[]) == 1.0;
    wait::until("a reload is refused", || !succeeded());
    proxy.signal(Signal::USR1);
    echoes(&client);
    proxy.terminate();
    let listening = proxy.address("main");
    wait::until("it drains", || TcpStream::connect(listening).is_err());
    echoes(&client);
    drop(client);
    proxy.stop();
}

fn a_log_without_a_reader_ends_nothing(scheduler: Scheduler) {
    let (text, _echo, down) = configuration(scheduler, "");
    let (reader, writer) = pipe().expect("a pipe");
    let proxy = Proxy::start_with_stderr(&text, writer.into());
    drop(reader);
    assert_nothing_ends(proxy, scheduler, &down);
}

fn a_log_on_a_full_disk_ends_nothing(scheduler: Scheduler) {
    let (text, _echo, down) = configuration(scheduler, "");
    let proxy = Proxy::start_with_stderr(&text, full_device());
    wait::until("lost lines are counted", || dropped(&proxy) > 0.0);
    assert_nothing_ends(proxy, scheduler, &down);
}

/// In their places is /dev/null, which takes everything.
fn lines_for_outputs_that_are_closed_are_counted(scheduler: Scheduler) {
    let [listener, admin] =
        [port::free(), port::free()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let routes = route("main", &listener.to_string(), &["builtin:echo"], "", "");
    let text = proxy::configuration(scheduler, "", &routes)
        .replace("127.0.0.1:0\"", &format!("{admin}\""));
    let text = format!("[access_log]\npath = \"stdout\"\n{text}");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("corelane.toml");
    std::fs::write(&file, text).expect("write");
    let program = proxy::command();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" run \"$1\" >&- 2>&-"]);
    command.arg(program.get_program()).arg(&file);
    let child = Child::spawn_with_outputs(&mut command, Stdio::null(), Stdio::null(), Signal::KILL);
    wait::until("the admin server listens", || {
        TcpStream::connect(admin).is_ok()
    });
    echoes(&peer::connect(listener));
    let count = |name| {
        let body = http::get(admin, "/metrics").body;
        Metrics::new(String::from_utf8(body).expect("UTF-8")).get(name, &[])
    };
    for name in [
        "corelane_log_lines_dropped_total",
        "corelane_access_log_dropped_total",
    ] {
        wait::until(name, || count(name) > 0.0);
    }
    assert_eq!(count("corelane_access_log_lines_total"), 0.0);
    assert_serves(child, [listener, admin]);
}

fn a_log_on_a_full_pipe_holds_up_nothing(scheduler: Scheduler) {
    let (text, _echo, down) = configuration(scheduler, "");
    let (_reader, writer) = full_pipe();
    let proxy = Proxy::start_with_stderr(&text, writer.into());
    assert_nothing_ends(proxy, scheduler, &down);
}

/// A configuration with known ports, since stdout doesn't say them, and the proxy of it.
fn start_without_stdout(scheduler: Scheduler, stdout: Stdio) -> (Child, [SocketAddr; 2]) {
    let [listener, admin] =
        [port::free(), port::free()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let routes = route("main", &listener.to_string(), &["builtin:echo"], "", "");
    let text = proxy::configuration(scheduler, "", &routes)
        .replace("127.0.0.1:0\"", &format!("{admin}\""));
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("corelane.toml");
    std::fs::write(&file, text).expect("write");
    let mut command = proxy::command();
    command.arg("run").arg(file);
    let child = Child::spawn_with_outputs(&mut command, stdout, Stdio::null(), Signal::KILL);
    wait::until("the admin server listens", || {
        TcpStream::connect(admin).is_ok()
    });
    (child, [listener, admin])
}

fn assert_serves(mut child: Child, [listener, admin]: [SocketAddr; 2]) {
    wait::until("it is ready", || http::get(admin, "/readyz").status == 200);
    echoes(&peer::connect(listener));
    child.signal(Signal::TERM);
    assert_eq!(child.wait().code(), Some(0));
}

fn stdout_on_a_full_disk_ends_nothing(scheduler: Scheduler) {
    let (child, addresses) = start_without_stdout(scheduler, full_device());
    assert_serves(child, addresses);
}

fn stdout_on_a_full_pipe_holds_up_nothing(scheduler: Scheduler) {
    let (_reader, writer) = full_pipe();
    let (child, addresses) = start_without_stdout(scheduler, writer.into());
    assert_serves(child, addresses);
}

/// A pipe that was full for some time: the gap is marked, and lines stay whole.
fn what_was_lost_is_named_when_the_log_goes_on(scheduler: Scheduler) {
    let routes = forward_with(&["builtin:echo"], "", "");
    let text = proxy::configuration(scheduler, "", &routes);
    let (mut reader, writer) = full_pipe();
    let proxy = Proxy::start_with_stderr(&text, writer.into());
    // Each refused reload is a line with the whole list of problems: a few dozen bytes for each of these.
    let wrong: String = (0..60).map(|key| format!("wrong{key} = 1\n")).collect();
    let mut hangups = 0;
    wait::until("lines are lost", || {
        hangups += 1;
        proxy.reload(scheduler, &format!("{wrong}{routes}"));
        dropped(&proxy) > 0.0
    });
    let log = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("UTF-8");
        text
    });
    proxy.stop();
    let log = log.join().expect("the reader");
    let lines: Vec<_> = log.trim_start_matches('\n').lines().collect();
    assert!(hangups > 1 && lines.len() > 60, "{log}");
    let note = "corelane: the log has a gap here, lines that could not be written: ";
    assert!(lines.iter().any(|line| line.starts_with(note)), "{log}");
    assert!(
        lines.last().is_some_and(|line| line.ends_with("drained")),
        "{log}"
    );
}

/// A short command, with its outputs there: its exit code.
fn code_of(arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Option<i32> {
    let mut command = proxy::command();
    command.args(arguments);
    Child::spawn_with_outputs(&mut command, stdout, stderr, Signal::KILL)
        .wait()
        .code()
}

fn nobody() -> Stdio {
    pipe().expect("a pipe").1.into()
}

fn example() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/echo.toml");
    directory.to_str().expect("UTF-8").to_owned()
}

/// Whose reader went away (`| head`) is no failure; a disk that is full is one. Nothing panics (101).
#[test]
fn commands_end_in_order_when_stdout_does_not_take_what_they_print() {
    let file = example();
    for arguments in [
        &["check", &file][..],
        &["--help"],
        &["run", "--help"],
        &["--version"],
        &["demo", "--seconds=1"],
    ] {
        let to = |stdout| code_of(arguments, stdout, Stdio::null());
        assert_eq!(to(nobody()), Some(0), "{arguments:?}");
        assert_eq!(to(full_device()), Some(1), "{arguments:?}");
    }
    // A closed one is an output that can't be written, too.
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" check \"$1\" >&-"]);
    command.arg(proxy::command().get_program()).arg(&file);
    let mut child =
        Child::spawn_with_outputs(&mut command, Stdio::null(), Stdio::null(), Signal::KILL);
    assert_eq!(child.wait().code(), Some(1));
    // It draws on a terminal only.
    assert_eq!(code_of(&["top"], nobody(), nobody()), Some(1));
}

#[test]
fn a_comparison_on_a_full_disk_fails_in_order() {
    let file = example();
    let arguments = [
        "compare",
        &file,
        "--seconds=1",
        "--connections=2",
        "--heavy=1",
    ];
    assert_eq!(code_of(&arguments, full_device(), Stdio::null()), Some(1));
}

#[test]
fn what_is_wrong_is_in_the_exit_code_though_stderr_does_not_take_it() {
    for arguments in [&["check", "/nonexistent"][..], &["run", "/nonexistent"]] {
        for stderr in [nobody(), full_device()] {
            assert_eq!(code_of(arguments, Stdio::null(), stderr), Some(1));
        }
    }
    assert_eq!(code_of(&["nonsense"], nobody(), full_device()), Some(2));
    // A pipe that nobody empties: the end comes all the same.
    let (_reader, writer) = full_pipe();
    assert_eq!(
        code_of(&["check", "/nonexistent"], nobody(), writer.into()),
        Some(1)
    );
}

/// It would wait for keys for ever, and as fast as it can. What it says of it is lost as well.
#[test]
fn top_ends_when_its_terminal_is_gone() {
    let terminal =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    unlockpt(&terminal).expect("unlock");
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).expect("its size");
    let name = ptsname(&terminal, Vec::new()).expect("its name");
    let name = name.to_str().expect("UTF-8").to_owned();
    let options = OFlags::NOCTTY.bits().cast_signed();
    let user = File::options()
        .read(true)
        .write(true)
        .custom_flags(options)
        .open(name)
        .expect("open");
    let mut command = proxy::command();
    let url = format!("http://{}", peer::refusing());
    let mut child = Child::spawn_on_terminal(command.args(["top", &url]), &user, Signal::KILL);
    drop(user);
    let mut terminal = File::from(terminal);
    terminal.read_exact(&mut [0; 100]).expect("it draws");
    drop(terminal);
    assert_eq!(child.wait().code(), Some(1));
}

/// stderr comes first where both go to one place.
#[test]
fn warnings_come_before_the_verdict() {
    let unused = "[upstreams.unused]\nservers = [\"builtin:echo\"]\n";
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("corelane.toml");
    let routes = forward_with(&["builtin:echo"], "", "") + unused;
    std::fs::write(&file, routes).expect("write");
    let mut command = proxy::command();
    let child = Child::spawn(command.arg("check").arg(file), Signal::KILL);
    let log = child.whole_log();
    let lines: Vec<_> = log.lines().collect();
    assert!(
        matches!(lines[..], [warning, verdict] if warning.starts_with("warning: ") && verdict.ends_with(": ok")),
        "{log}"
    );
}
