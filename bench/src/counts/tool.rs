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
pub(crate) enum Tool {
    /// System calls.
    Strace,
    /// Instructions in user space.
    Callgrind,
    /// Reads and writes of memory in user space.
    References,
    /// Those of them that miss the first cache of callgrind's model.
    Misses,
}

impl Tool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Strace => "strace",
            Self::Callgrind => "callgrind",
            Self::References => "callgrind's references",
            Self::Misses => "callgrind's misses",
        }
    }

    /// The program, which is also the name of its Debian package.
    fn program(self) -> &'static str {
        match self {
            Self::Strace => "strace",
            Self::Callgrind | Self::References | Self::Misses => "valgrind",
        }
    }

    /// Digits after the point that are worth printing.
    pub(crate) fn digits(self) -> usize {
        match self {
            Self::Strace | Self::Misses => 2,
            Self::Callgrind | Self::References => 0,
        }
    }

    /// Why it can't be used, if it can't.
    pub(crate) fn missing(self) -> Option<String> {
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
    pub(crate) fn prefix(self, dir: &Path) -> Vec<String> {
        let dir = dir.display();
        match self {
            Self::Strace => vec![
                "strace".to_owned(),
                "-f".to_owned(),
                "-c".to_owned(),
                "-o".to_owned(),
                format!("{dir}/{STRACE_FILE}"),
            ],
            Self::Callgrind | Self::References | Self::Misses => vec![
                "valgrind".to_owned(),
                "--tool=callgrind".to_owned(),
                "--fair-sched=yes".to_owned(),
                // Several times slower, so only where it is asked.
                format!(
                    "--cache-sim={}",
                    if self == Self::Callgrind { "no" } else { "yes" }
                ),
                format!("--callgrind-out-file={dir}/{CALLGRIND_FILE}%p"),
            ],
        }
    }

    /// What it counted, of all processes.
    pub(crate) fn total(self, dir: &Path) -> anyhow::Result<u64> {
        let mut total = 0;
        for file in fs::read_dir(dir)? {
            let text = fs::read_to_string(file?.path())?;
            total += match self {
                Self::Strace => strace_calls(&text),
                Self::Callgrind => callgrind_events(&text, &["Ir"]),
                Self::References => callgrind_events(&text, &["Dr", "Dw"]),
                Self::Misses => callgrind_events(&text, &["D1mr", "D1mw"]),
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

/// The sum over a process' functions, of the events of these names: a line has the names, another the totals.
fn callgrind_events(text: &str, names: &[&str]) -> Option<u64> {
    let line = |head: &str| text.lines().rev().find_map(|line| line.strip_prefix(head));
    let (events, totals) = (line("events: ")?, line("totals: ")?);
    let mut sum = None;
    for (event, total) in events.split_whitespace().zip(totals.split_whitespace()) {
        if names.contains(&event) {
            let total: u64 = total.parse().ok()?;
            sum = Some(sum.unwrap_or(0) + total);
        }
    }
    sum
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
        let callgrind = "events: Ir Dr Dw\n\nfn=(1)\n3 100 20 10\n\ntotals: 12345 300 45\n";
        assert_eq!(callgrind_events(callgrind, &["Ir"]), Some(12_345));
        assert_eq!(callgrind_events(callgrind, &["Dr", "Dw"]), Some(345));
        assert_eq!(callgrind_events(callgrind, &["D1mr"]), None);
    }
}
