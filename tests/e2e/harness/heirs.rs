//! Processes that took over from the one that a test started: found by its configuration, ended with the test.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::proxy::Proxy;
use super::wait;

/// The processes of a proxy that upgrades. They end when this is dropped, which has to be before the proxy is.
pub(crate) struct Heirs {
    /// In the command line of each.
    mark: String,
}

impl Heirs {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        let file = proxy.directory().join("corelane.toml");
        Self::marked(file.display().to_string())
    }

    /// Of a proxy that has this word in its command line, which no other has.
    pub(crate) fn marked(mark: String) -> Self {
        Self { mark }
    }

    /// All that run the configuration, the youngest last.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").expect("/proc");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut pids: Vec<u32> = pids.filter(|&pid| self.is(pid)).collect();
        pids.sort_by_key(|&pid| started_at(pid));
        pids
    }

    fn is(&self, pid: u32) -> bool {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|&byte| byte == 0);
        // Not of whoever calls `corelane` for the tests, such as strace.
        words.nth(1) == Some(b"run") && words.any(|word| word == self.mark.as_bytes())
    }

    /// The one that runs when all upgrades are over.
    pub(crate) fn only(&self) -> u32 {
        wait::until("one process is left", || self.pids().len() == 1);
        self.pids()[0]
    }
}

impl Drop for Heirs {
    fn drop(&mut self) {
        for pid in self.pids() {
            signal(pid, Signal::KILL);
        }
    }
}

/// Sends a signal to a process, unless it has ended.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a pid isn't 0");
    let _ = kill_process(pid, signal);
}

/// When a process was started, in ticks since the machine was.
fn started_at(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let started = fields.split_whitespace().nth(19);
    started
        .and_then(|ticks| ticks.parse().ok())
        .unwrap_or_default()
}
