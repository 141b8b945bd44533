//! What the kernel says of a process in /proc.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
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

/// Threads.
pub(crate) fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task"))
        .expect("task")
        .count()
}

/// Whether all threads are stopped.
pub(crate) fn stands_still(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("task");
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The name before it may have anything in it.
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with(['T', 't']))
    })
}

/// The number that the next descriptor has.
pub(crate) fn next_descriptor(pid: u32) -> u64 {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("fd");
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let numbers: BTreeSet<u64> = numbers.collect();
    (0..).find(|number| !numbers.contains(number)).expect("one")
}

/// Names of the threads.
pub(crate) fn thread_names(pid: u32) -> Vec<String> {
    tasks(pid).map(|(name, _)| name).collect()
}

/// CPU time of the threads whose name starts with `prefix`, summed. It is schedstat's first field, in
/// nanoseconds; `stat` counts in ticks of 10 ms.
pub(crate) fn threads_cpu(pid: u32, prefix: &str) -> Duration {
    let (mut names, mut total) = (Vec::new(), Duration::ZERO);
    for (name, task) in tasks(pid) {
        if name.starts_with(prefix) {
            total += schedstat(&task, 0);
        }
        names.push(name);
    }
    assert!(
        names.iter().any(|name| name.starts_with(prefix)),
        "no thread {prefix}* in {names:?}"
    );
    total
}

/// Time that the thread of this name could have run and waited for a CPU.
pub(crate) fn thread_wait(pid: u32, name: &str) -> Duration {
    schedstat(&thread(pid, name), 1)
}

/// The CPUs that the thread of this name may run on, as the kernel lists them: "0-3,8".
pub(crate) fn thread_cpus(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(thread(pid, name).join("status")).expect("status");
    let cpus = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    cpus.expect("Cpus_allowed_list").trim().to_owned()
}

/// The oldest of this name, which those that it starts inherit.
fn thread(pid: u32, name: &str) -> PathBuf {
    let mut named = tasks(pid).filter(|(comm, _)| comm == name);
    named.next().expect("a thread of this name").1
}

fn schedstat(task: &Path, field: usize) -> Duration {
    let schedstat = fs::read_to_string(task.join("schedstat")).expect("schedstat");
    let nanos = schedstat.split(' ').nth(field);
    Duration::from_nanos(
        nanos
            .and_then(|nanos| nanos.parse().ok())
            .expect("nanoseconds"),
    )
}

/// Name and folder of each thread.
fn tasks(pid: u32) -> impl Iterator<Item = (String, PathBuf)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("task");
    tasks.flatten().map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        (name.trim_end().to_owned(), task.path())
    })
}
