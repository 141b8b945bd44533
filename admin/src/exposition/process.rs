//! The process metrics, under the names that every exporter gives them.
//!
//! The `prometheus` crate has them too, but its CPU time has whole seconds, too coarse for a rate.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::family::Families;

/// What stays the same while the process runs.
pub(super) struct Process {
    /// Seconds since 1970; none when `/proc` can't be read.
    started_at: Option<f64>,
}

impl Process {
    /// The current process.
    pub(super) fn new() -> Self {
        let since_boot =
            read_stat().map(|stat| stat.start_ticks as f64 / clock_ticks_per_second() as f64);
        let booted_at = fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|stat| boot_time(&stat));
        Self {
            started_at: since_boot.zip(booted_at).map(|(since, at)| since + at),
        }
    }

    /// Adds the families. What `/proc` doesn't tell is left out.
    pub(super) fn collect(&self, families: &mut Families) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let used = Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec as u32);
        families
            .counter(
                "process_cpu_seconds_total",
                "CPU time, user and system, of all threads, in seconds.",
            )
            .add_seconds(&[], used);
        let open = open_descriptors();
        gauge(families, "process_open_fds", "Open file descriptors.", open);
        gauge(
            families,
            "process_max_fds",
            "File descriptors that the process may have open; absent when there is no limit.",
            getrlimit(Resource::Nofile).current.map(|max| max as f64),
        );
        let stat = read_stat();
        gauge(
            families,
            "process_resident_memory_bytes",
            "Memory in RAM, in bytes.",
            stat.as_ref()
                .map(|stat| stat.resident_pages as f64 * page_size() as f64),
        );
        gauge(
            families,
            "process_virtual_memory_bytes",
            "Address space in use, in bytes.",
            stat.as_ref().map(|stat| stat.virtual_bytes as f64),
        );
        gauge(
            families,
            "process_start_time_seconds",
            "When the process started, in seconds since 1970.",
            self.started_at,
        );
        gauge(
            families,
            "process_threads",
            "Threads, the kernel's io_uring workers included.",
            stat.as_ref().map(|stat| stat.threads as f64),
        );
    }
}

fn gauge(families: &mut Families, name: &str, help: &str, value: Option<f64>) {
    if let Some(value) = value {
        families.gauge(name, help).add(&[], value);
    }
}

/// Since Linux 6.2 the folder's size is their count; before, they have to be listed.
fn open_descriptors() -> Option<f64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as f64),
        count => Some(count as f64),
    }
}

/// Fields of `/proc/self/stat`, see proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

fn read_stat() -> Option<Stat> {
    parse_stat(&fs::read_to_string("/proc/self/stat").ok()?)
}

fn parse_stat(line: &str) -> Option<Stat> {
    // The second field is a name in parentheses, which may have any character in it; the third follows.
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some(Stat {
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// Seconds since 1970.
fn boot_time(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_s_lines_are_parsed() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 4 0 900 123456 78 0 0";
        let wanted = Stat {
            threads: 4,
            start_ticks: 900,
            virtual_bytes: 123_456,
            resident_pages: 78,
        };
        assert_eq!(parse_stat(line), Some(wanted));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
        assert_eq!(
            boot_time("cpu 1 2\nbtime 1700000000\n"),
            Some(1_700_000_000.0)
        );
        assert_eq!(boot_time("cpu 1 2\n"), None);
    }

    #[test]
    fn this_process_is_read() {
        let stat = read_stat().expect("Linux has it");
        assert!(stat.threads >= 1 && stat.resident_pages > 100);
        assert!(open_descriptors().expect("Linux has it") >= 3.0);
        assert!(Process::new().started_at.expect("Linux has it") > 1.6e9);
    }
}
