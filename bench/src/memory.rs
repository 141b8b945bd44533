//! Memory: what a process has of its own, and what the kernel holds for everybody.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::param::page_size;
use rustix::process::Pid;

/// Lines of /proc/meminfo that grow with sockets and with the tables of a process.
const KERNEL_LINES: [&str; 3] = ["Slab:", "PageTables:", "Percpu:"];
/// Sockets in TIME_WAIT that no longer matter.
const TIME_WAITS_MAX: u64 = 1_000;
/// They are gone after a minute.
const TIME_WAIT_MAX: Duration = Duration::from_secs(65);
/// Between two looks at them.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Bytes held at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// By the proxy's processes: anonymous and shared pages in memory, and no files (its text would be counted
    /// as it happens to be touched).
    pub(crate) user: u64,
    /// By the kernel of the whole machine.
    pub(crate) kernel: u64,
}

/// What `pids` have in memory.
pub(crate) fn user(pids: &[Pid]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for pid in pids {
        let path = format!("/proc/{}/status", pid.as_raw_pid());
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        bytes += kib(&status, "RssAnon:") + kib(&status, "RssShmem:");
    }
    Ok(bytes * 1024)
}

/// What the kernel has in caches of objects, tables and sockets' buffers.
pub(crate) fn kernel() -> anyhow::Result<u64> {
    let info = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let caches: u64 = KERNEL_LINES.iter().map(|name| kib(&info, name)).sum();
    Ok(caches * 1024 + sockstat("mem") * page_size() as u64)
}

/// Waits until the sockets that earlier connections left in TIME_WAIT are gone, as they would be missed from the
/// kernel's memory one by one. A machine on which others connect has some at all times: the wait has an end.
pub(crate) fn await_time_waits() {
    let deadline = Instant::now() + TIME_WAIT_MAX;
    while sockstat("tw") > TIME_WAITS_MAX && Instant::now() < deadline {
        sleep(LOOK_EVERY);
    }
}

/// A number after `name` in TCP's line of /proc/net/sockstat; 0 where there is none.
fn sockstat(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = text.lines().find(|line| line.starts_with("TCP:"));
    let mut words = tcp.unwrap_or_default().split_whitespace();
    words
        .find(|&word| word == name)
        .and_then(|_| words.next()?.parse().ok())
        .unwrap_or(0)
}

/// The KiB in the line that begins with `name`; 0 where there is none.
fn kib(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kib_are_found_by_the_whole_name() {
        let text = "RssAnonHuge:\t 7 kB\nRssAnon:\t     340 kB\n";
        assert_eq!(kib(text, "RssAnon:"), 340);
        assert_eq!(kib(text, "RssShmem:"), 0);
    }

    #[test]
    fn this_process_has_memory_and_so_has_the_kernel() {
        assert!(user(&[rustix::process::getpid()]).unwrap() > 10_000);
        assert!(kernel().unwrap() > 1_000_000);
    }
}
