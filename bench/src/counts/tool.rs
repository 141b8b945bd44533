//! The programs that count.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::ensure;

/// Strace's file in the directory.
const STRACE_FILE: &str = "strace";
/// How the names of callgrind's begin, one for each process.
const CALLGRIND_FILE: &str = "callgrind.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tool {
    /// System calls.
    Strace,
    /// Instructions in user space.
    Callgrind,
}

impl Tool {
    pub(super) const ALL: [Self; 2] = [Self::Strace, Self::Callgrind];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Strace => "strace",
            Self::Callgrind => "callgrind",
        }
    }

    /// The program, which is also the name of its Debian package.
    fn program(self) -> &'static str {
        match self {
            Self::Strace => "strace",
            Self::Callgrind => "valgrind",
        }
    }

    /// Digits after the point that are worth printing.
    pub(super) fn digits(self) -> usize {
        match self {
            Self::Strace => 2,
            Self::Callgrind => 0,
        }
    }

    /// Why it can't be used, if it can't.
    pub(super) fn missing(self) -> Option<String> {
        let program = self.program();
        let mut command = Command::new(program);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let found = command.status().is_ok_and(|status| status.success());
        (!found).then(|| format!("{program} is missing: apt-get install {program}"))
    }

    /// What runs a program and leaves the counts in `dir`.
    pub(super) fn prefix(self, dir: &Path) -> Vec<String> {
        let dir = dir.display();
        match self {
            Self::Strace => vec![
                "strace".to_owned(),
                "-f".to_owned(),
                "-c".to_owned(),
                "-o".to_owned(),
                format!("{dir}/{STRACE_FILE}"),
            ],
            Self::Callgrind => vec![
                "valgrind".to_owned(),
                "--tool=callgrind".to_owned(),
                "--fair-sched=yes".to_owned(),
                format!("--callgrind-out-file={dir}/{CALLGRIND_FILE}%p"),
            ],
        }
    }

    /// What it counted, of all processes.
    pub(super) fn total(self, dir: &Path) -> anyhow::Result<u64> {
        let mut total = 0;
        for file in fs::read_dir(dir)? {
            let text = fs::read_to_string(file?.path())?;
            total += match self {
                Self::Strace => strace_calls(&text),
                Self::Callgrind => callgrind_instructions(&text),
            }
            .unwrap_or(0);
        }
        ensure!(total > 0, "{} wrote no total", self.name());
        Ok(total)
    }
}

/// The calls in the line of the total: per cent, seconds, µs a call, calls, and errors where there were any.
fn strace_calls(text: &str) -> Option<u64> {
    let line = text.lines().rfind(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// The sum over a process' functions, in a line of its own.
fn callgrind_instructions(text: &str) -> Option<u64> {
    let mut lines = text.lines().rev();
    let totals = lines.find_map(|line| line.strip_prefix("totals: "))?;
    totals.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_found() {
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n \
                      60.00    0.000200           1       200        10 epoll_wait\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      100.00    0.000333           1       333        10 total\n";
        assert_eq!(strace_calls(strace), Some(333));
        assert_eq!(strace_calls(""), None);
        let callgrind = "events: Ir\n\nfn=(1)\n3 100\n\ntotals: 12345\n";
        assert_eq!(callgrind_instructions(callgrind), Some(12_345));
    }
}
