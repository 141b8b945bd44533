//! What the kernel says of a process in /proc.

use std::fs;
use std::time::Duration;

/// Resident memory in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number of kB");
    kib * 1024
}

/// Open descriptors.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("fd").count()
}

/// CPU time of the threads whose name starts with `prefix`, summed. It is schedstat's first field, in
/// nanoseconds; `stat` counts in ticks of 10 ms.
pub(crate) fn threads_cpu(pid: u32, prefix: &str) -> Duration {
    let mut names = Vec::new();
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .expect("task")
        .flatten()
    {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with(prefix) {
            let schedstat = fs::read_to_string(task.path().join("schedstat")).expect("schedstat");
            let nanos = schedstat
                .split(' ')
                .next()
                .and_then(|nanos| nanos.parse().ok());
            total += Duration::from_nanos(nanos.expect("nanoseconds"));
        }
        names.push(name);
    }
    assert!(
        names.iter().any(|name| name.starts_with(prefix)),
        "no thread {prefix}* in {names:?}"
    );
    total
}
