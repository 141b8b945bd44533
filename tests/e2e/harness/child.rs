//! Child processes that never outlive the test that started them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::wait;

/// A running process. It is ended when this is dropped, when the thread that started it ends, and when the
/// test process is killed.
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    /// Ends the process and its own children.
    end_signal: Signal,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts `command` with no input and its stderr (and its stdout, unless the caller has said where that
    /// goes) in the log. `end_signal` is what makes it end with all of its children.
    pub(crate) fn spawn(command: &mut Command, end_signal: Signal) -> Self {
        Self::spawn_with(command, Stdio::null(), end_signal, false).0
    }

    /// As [`Child::spawn`], with stdout handed to the caller.
    pub(crate) fn spawn_piped(command: &mut Command, end_signal: Signal) -> (Self, PipeReader) {
        let (child, stdout) = Self::spawn_with(command, Stdio::null(), end_signal, true);
        (child, stdout.expect("asked for"))
    }

    /// As [`Child::spawn_piped`], with stderr where the caller says.
    pub(crate) fn spawn_piped_with_stderr(
        command: &mut Command,
        stderr: Stdio,
        end_signal: Signal,
    ) -> (Self, PipeReader) {
        let (reader, writer) = io::pipe().expect("pipe");
        let child = Self::spawn_with_outputs(command, writer.into(), stderr, end_signal);
        (child, reader)
    }

    /// As [`Child::spawn`], with this input.
    pub(crate) fn spawn_with_input(
        command: &mut Command,
        input: Stdio,
        end_signal: Signal,
    ) -> Self {
        Self::spawn_with(command, input, end_signal, false).0
    }

    /// Runs `command` to its end with this input. Returns its exit code, and all that it wrote.
    pub(crate) fn end_with_input(command: &mut Command, input: Stdio) -> (Option<i32>, String) {
        let mut child = Self::spawn_with(command, input, Signal::KILL, false).0;
        (child.wait().code(), child.whole_log())
    }

    /// Starts `command` with its input handed to the caller, and no output.
    pub(crate) fn spawn_typed(command: &mut Command, end_signal: Signal) -> (Self, ChildStdin) {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Self::start(command.stdin(Stdio::piped()), end_signal);
        let input = child.process.stdin.take().expect("asked for");
        (child, input)
    }

    /// Starts `command` with its outputs where the caller says. There is no log.
    pub(crate) fn spawn_with_outputs(
        command: &mut Command,
        stdout: Stdio,
        stderr: Stdio,
        end_signal: Signal,
    ) -> Self {
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        Self::start(command, end_signal)
    }

    /// Starts `command` on a terminal, which isn't its controlling one. There is no log.
    pub(crate) fn spawn_on_terminal(
        command: &mut Command,
        terminal: &File,
        end_signal: Signal,
    ) -> Self {
        let again = || Stdio::from(terminal.try_clone().expect("dup"));
        command.stdin(again()).stdout(again()).stderr(again());
        Self::start(command, end_signal)
    }

    fn spawn_with(
        command: &mut Command,
        input: Stdio,
        end_signal: Signal,
        piped: bool,
    ) -> (Self, Option<PipeReader>) {
        let (log_reader, log_writer) = io::pipe().expect("pipe");
        let mut stdout = None;
        if piped {
            let (reader, writer) = io::pipe().expect("pipe");
            command.stdout(writer);
            stdout = Some(reader);
        } else {
            command.stdout(log_writer.try_clone().expect("dup"));
        }
        command.stdin(input).stderr(log_writer);
        let mut child = Self::start(command, end_signal);
        let sink = child.log.clone();
        child.log_reader = Some(thread::spawn(move || {
            for line in BufReader::new(log_reader)
                .split(b'\n')
                .map_while(Result::ok)
            {
                let mut log = sink.lock().expect("log");
                log.push_str(&String::from_utf8_lossy(&line));
                log.push('\n');
            }
        }));
        (child, stdout)
    }

    fn start(command: &mut Command, end_signal: Signal) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        // SAFETY: between fork and exec the closure makes one system call and touches no memory of ours.
        unsafe {
            command.pre_exec(move || Ok(set_parent_process_death_signal(Some(end_signal))?));
        }
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("{name} doesn't start: {error}; `bash tests/run` installs what the tests need")
        });
        // The command still holds its ends of the pipes, whose readers wait for the last one to close.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            name,
            process,
            end_signal,
            log: Arc::default(),
            log_reader: None,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id() as i32).expect("a pid isn't 0");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {}: {error}", self.name));
    }

    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("wait")
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        wait::until(&format!("end of {name}"), || self.exit_status().is_some());
        self.exit_status().expect("ended")
    }

    /// All that it wrote, once it and its own children have ended.
    pub(crate) fn whole_log(mut self) -> String {
        self.wait();
        self.log_reader
            .take()
            .expect("not taken yet")
            .join()
            .expect("reader of the log");
        self.log()
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            self.signal(self.end_signal);
            let ended = wait::holds_within(wait::DEADLINE / 6, || self.exit_status().is_some());
            if !ended {
                let _ = self.process.kill();
                let _ = self.process.wait();
            }
        }
        if thread::panicking() {
            println!("--- {} wrote:\n{}---", self.name, self.log());
        }
    }
}

/// Runs `command` to its end and returns its stdout; panics with all that it wrote when it fails.
pub(crate) fn run(command: &mut Command) -> String {
    run_with_input(command, Stdio::null())
}

/// As [`run`], with `input` as its stdin.
pub(crate) fn run_with_input(command: &mut Command, input: Stdio) -> String {
    let (mut child, stdout) = Child::spawn_with(command, input, Signal::KILL, true);
    let mut stdout = stdout.expect("asked for");
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).expect("read stdout");
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = child.wait();
    let text = reader.join().expect("reader");
    assert!(
        status.success(),
        "{command:?}: {status}\n{text}\n{}",
        child.log()
    );
    text
}
