//! A shell in which a test types, and whose processes end with it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command};

use rustix::process::Signal;

use super::child::Child;
use super::wait;

/// A bash that is the first process of its own: when it ends, everything that it started does.
pub(crate) struct Shell<'a> {
    input: ChildStdin,
    directory: &'a Path,
    typed: usize,
    _child: Child,
}

/// What a command wrote and whether it has ended.
pub(crate) struct Typed<'a> {
    directory: &'a Path,
    number: usize,
}

impl<'a> Shell<'a> {
    /// In `directory`, which gets a file for each command, and with `variables` set. None, and says why, where processes can't have
    /// numbers of their own.
    pub(crate) fn start(directory: &'a Path, variables: &[(&str, &str)]) -> Option<Self> {
        let unshare = |more: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
            command.args(more);
            command
        };
        let tried = unshare(&["true"]).output();
        let tried = tried.expect("unshare");
        if !tried.status.success() {
            let why = String::from_utf8_lossy(&tried.stderr);
            println!("skipped: processes with numbers of their own: {why}");
            return None;
        }
        let mut command = unshare(&["bash"]);
        command.current_dir(directory);
        command.envs(variables.iter().copied());
        let (child, input) = Child::spawn_typed(&mut command, Signal::KILL);
        Some(Self {
            input,
            directory,
            typed: 0,
            _child: child,
        })
    }

    pub(crate) fn directory(&self) -> &'a Path {
        self.directory
    }

    /// Runs a line in the background, or waits for its end before the next one.
    pub(crate) fn type_in(&mut self, line: &str, in_background: bool) -> Typed<'a> {
        self.typed += 1;
        let number = self.typed;
        let end = if in_background { "&" } else { "" };
        let typed = writeln!(
            self.input,
            "{{ {line}\n}} >.{number}.output 2>&1 </dev/null {end}\n{{ echo $? >.{number}.new; mv .{number}.new .{number}.status; }}"
        );
        typed.expect("bash reads");
        Typed {
            directory: self.directory,
            number,
        }
    }
}

impl Typed<'_> {
    /// Its exit code; none while it runs.
    pub(crate) fn status(&self) -> Option<i32> {
        let text = fs::read_to_string(self.directory.join(format!(".{}.status", self.number)));
        text.ok()?.trim().parse().ok()
    }

    /// Waits until it has ended.
    pub(crate) fn end(&self) -> i32 {
        let mut status = None;
        wait::until("the end of a command", || {
            status = self.status();
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        let path = self.directory.join(format!(".{}.output", self.number));
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
