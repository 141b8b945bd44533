//! A configuration file that is none, or that can't be read to its end: it is refused within bounds, and holds up nothing.

use std::fs::{self, File};
use std::io::{Read, Write, pipe};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::harness::change;
use crate::harness::child::Child;
use crate::harness::config::{forward, route};
use crate::harness::hang;
use crate::harness::process::thread_names;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_stop_does_not_wait_for_a_reload_from_a_silent_pipe,
    a_reload_from_a_silent_pipe_is_refused_in_time,
    a_stop_does_not_wait_for_a_reload_from_a_file_system_that_hangs,
    a_list_that_hangs_keeps_no_other_file_from_being_read,
    a_configuration_is_read_from_a_pipe,
    a_hangup_while_it_starts_ends_nothing,
);

fn fifo(path: &Path) {
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).expect("a FIFO");
}

fn start(scheduler: Scheduler) -> (Proxy, PathBuf) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let file = proxy.directory().join("corelane.toml");
    (proxy, file)
}

/// Has it read its file again, and returns while it does.
fn begin_reload(proxy: &Proxy) {
    proxy.signal(Signal::HUP);
    let is_reading = || {
        let names = thread_names(proxy.pid());
        names.iter().any(|name| name == "corelane-config")
    };
    wait::until("the file is being read", is_reading);
}

fn echoes(proxy: &Proxy) {
    let mut client = proxy.connect("main");
    client.write_all(b"still here").expect("send");
    client.read_exact(&mut [0; 10]).expect("receive");
}

/// It ends in order before the reading has an end.
fn assert_stops_meanwhile(proxy: &mut Proxy) {
    echoes(proxy);
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    wait::until("the whole log is there", || proxy.log().contains("drained"));
    let log = proxy.log();
    assert!(!log.contains("is not reloaded"), "{log}");
}

fn a_stop_does_not_wait_for_a_reload_from_a_silent_pipe(scheduler: Scheduler) {
    let (mut proxy, file) = start(scheduler);
    fs::remove_file(&file).expect("remove");
    fifo(&file);
    begin_reload(&proxy);
    assert_stops_meanwhile(&mut proxy);
}

/// And the next one, of a file that is there again, is not.
fn a_reload_from_a_silent_pipe_is_refused_in_time(scheduler: Scheduler) {
    let (proxy, file) = start(scheduler);
    let text = fs::read(&file).expect("read");
    fs::remove_file(&file).expect("remove");
    fifo(&file);
    begin_reload(&proxy);
    echoes(&proxy);
    let succeeded = || proxy.metric("corelane_config_last_reload_success", &[]) == 1.0;
    wait::until("it is refused", || !succeeded());
    let said = "it is a pipe, and nobody wrote to it for 5s";
    wait::until("the log says so", || proxy.log().contains(said));
    fs::remove_file(&file).expect("remove");
    fs::write(&file, text).expect("write");
    // Once, though the thread that waited for the pipe has not noticed yet that it was given up.
    proxy.signal(Signal::HUP);
    let still = "the last attempt to read it still hangs";
    wait::until("it is read again", || {
        succeeded() || proxy.log().contains(still)
    });
    assert!(succeeded(), "{}", proxy.log());
    proxy.stop();
}

fn a_stop_does_not_wait_for_a_reload_from_a_file_system_that_hangs(scheduler: Scheduler) {
    hang::with_own_mounts(move || {
        let (mut proxy, file) = start(scheduler);
        let Some(_server) = hang::hang(&file) else {
            return;
        };
        begin_reload(&proxy);
        assert_stops_meanwhile(&mut proxy);
    });
}

/// It stays in force as it was read last, and the other list and the configuration change.
fn a_list_that_hangs_keeps_no_other_file_from_being_read(scheduler: Scheduler) {
    hang::with_own_mounts(move || {
        let directory = tempfile::tempdir().expect("directory");
        let [hung, other] = ["hung.txt", "other.txt"].map(|name| directory.path().join(name));
        fs::write(&hung, "192.0.2.1\n").expect("write");
        fs::write(&other, "192.0.2.2\n").expect("write");
        let text = |name: &str| {
            let deny = format!(
                "deny = [\"file:{}\", \"file:{}\"]",
                hung.display(),
                other.display()
            );
            configuration(
                scheduler,
                "",
                &route(name, "127.0.0.1:0", &["builtin:echo"], &deny, ""),
            )
        };
        let proxy = Proxy::start_file(&text("main"));
        let Some(_server) = hang::hang(&hung) else {
            return;
        };
        // Once it waits for the list, and then it knows of it.
        for (name, others) in [("second", 2.0), ("third", 3.0)] {
            let lines = "192.0.2.3\n192.0.2.4\n192.0.2.5\n".split_inclusive('\n');
            let lines: String = lines.take(others as usize).collect();
            fs::write(&other, lines).expect("write");
            change::reload(&proxy, &text(name));
            let entries = |list: &Path| {
                let file = list.display().to_string();
                proxy.metric("corelane_client_list_entries", &[("file", &file)])
            };
            assert_eq!((entries(&hung), entries(&other)), (1.0, others));
        }
        proxy.logs("what was read of a list before stays in force");
        proxy.stop();
    });
}

/// The configuration's, and that of the access log.
#[test]
fn a_start_from_a_file_system_that_hangs_fails_in_time() {
    hang::with_own_mounts(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let [file, log] = ["corelane.toml", "access.log"].map(|name| directory.path().join(name));
        let text = format!(
            "[access_log]\npath = {log:?}\n{}",
            forward(&["builtin:echo"])
        );
        fs::write(&file, text).expect("write");
        fs::write(&log, "").expect("write");
        let mut servers = Vec::new();
        for (path, said) in [
            (&log, "it was not opened within 5s: its file system hangs"),
            (
                &file,
                "it was not read within 5s; see that its file system answers",
            ),
        ] {
            let Some(server) = hang::hang(path) else {
                return;
            };
            servers.push(server);
            let mut child = Child::spawn(proxy::command().arg("run").arg(&file), Signal::KILL);
            let code = child.wait().code();
            let log = child.whole_log();
            assert!(code == Some(1) && log.contains(said), "{code:?} {log}");
        }
    });
}

/// Of a writer that comes later and writes in pieces.
fn a_configuration_is_read_from_a_pipe(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pipe");
    fifo(&file);
    let text = proxy::configuration(scheduler, "", &forward(&["builtin:echo"]));
    let path = file.clone();
    let writer = thread::spawn(move || {
        let mut pipe = File::options().write(true).open(path).expect("open");
        for line in text.split_inclusive('\n') {
            pipe.write_all(line.as_bytes()).expect("write");
        }
    });
    let mut command = proxy::command();
    let mut child = Child::spawn(command.arg("run").arg(&file), Signal::KILL);
    wait::until("it is ready", || {
        child.log().lines().any(|line| line == "ready")
    });
    writer.join().expect("the writer");
    child.signal(Signal::TERM);
    assert_eq!(child.wait().code(), Some(0));
}

fn a_hangup_while_it_starts_ends_nothing(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pipe");
    fifo(&file);
    let text = proxy::configuration(scheduler, "", &forward(&["builtin:echo"]));
    let mut command = proxy::command();
    let mut child = Child::spawn(command.arg("run").arg(&file), Signal::KILL);
    let pid = child.pid();
    wait::until("the file is being read", || {
        let names = thread_names(pid);
        names.iter().any(|name| name == "corelane-config")
    });
    child.signal(Signal::HUP);
    fs::write(&file, text).expect("write");
    wait::until("it is ready", || {
        child.log().lines().any(|line| line == "ready")
    });
    child.signal(Signal::TERM);
    assert_eq!(child.wait().code(), Some(0));
}

/// What `corelane check` says of it, and its exit code.
fn check(path: &Path) -> (Option<i32>, String) {
    let mut child = Child::spawn(proxy::command().arg("check").arg(path), Signal::KILL);
    let code = child.wait().code();
    (code, child.whole_log())
}

#[test]
fn what_is_no_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    let pipe = directory.path().join("pipe");
    fifo(&pipe);
    for (path, said) in [
        (directory.path(), "it is a directory; name a regular file"),
        (Path::new("/dev/zero"), "it is a terminal or another device"),
        (&missing, "check its path: No such file"),
        (&pipe, "it is a pipe, and nobody wrote to it for 5s"),
    ] {
        let (code, log) = check(path);
        assert_eq!(code, Some(1), "{log}");
        assert!(
            log.contains(said) && log.contains(path.to_str().expect("UTF-8")),
            "{log}"
        );
    }
}

/// As one is that a start has read.
#[test]
fn an_empty_pipe_is_named() {
    let mut command = proxy::command();
    // Its writer is gone already.
    let (reader, _) = pipe().expect("a pipe");
    command.args(["check", "/dev/stdin"]);
    let (code, log) = Child::end_with_input(&mut command, reader.into());
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("a pipe with nothing in it"), "{log}");
}

/// Its writer goes on for ever, or never closes it.
#[test]
fn a_pipe_without_an_end_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, piece, said) in [
        (
            "long",
            "# more\n".repeat(1000),
            "the file is larger than 1048576 bytes",
        ),
        (
            "open",
            String::new(),
            "it is a pipe, and who writes to it did not close it within 5s",
        ),
    ] {
        let pipe = directory.path().join(name);
        fifo(&pipe);
        let path = pipe.clone();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let writer = thread::spawn(move || {
            let mut pipe = File::options().write(true).open(path).expect("open");
            pipe.write_all(b"# a comment\n").expect("write");
            while !piece.is_empty() && pipe.write_all(piece.as_bytes()).is_ok() {}
            // Open until the test is over.
            let _ = stopped.recv();
        });
        let (code, log) = check(&pipe);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(said), "{log}");
        drop(stop);
        writer.join().expect("the writer");
    }
}
