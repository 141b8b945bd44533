//! Slow cores on a machine that has few: a cgroup for each worker's threads, with a part of a CPU.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, ensure};
use rustix::process::Pid;

/// Where the controller is mounted by convention.
const CONTROLLER: &str = "/sys/fs/cgroup/cpu";
/// How often a worker's quota is refilled, in µs. A worker that has used it up waits for the rest of the period, so it
/// is as short as the least quota of the kernel, 1 ms, allows.
pub(super) const PERIOD_US: u32 = 10_000;
/// How the names of corelane's workers begin; the worker's number follows.
const WORKER: &str = "corelane-w";
/// How the names of the cgroups begin; the process' id follows, and "-" and the worker's number.
const GROUP: &str = "bench-";

/// The cgroups of a proxy; they go when this does, after the proxy.
pub(super) struct Caps {
    dirs: Vec<PathBuf>,
}

/// Where cgroups can be made, or why none can. What a run left there that was stopped by a signal is removed.
pub(super) fn place() -> anyhow::Result<PathBuf> {
    // A line is "1:cpu:/path".
    let own = fs::read_to_string("/proc/self/cgroup").context("reading /proc/self/cgroup")?;
    let path = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let mut controllers = controllers.split(',');
        controllers.any(|name| name == "cpu").then_some(path)
    });
    let path = path.context("cgroup v1's cpu controller is not mounted")?;
    let dir = Path::new(CONTROLLER).join(path.trim_start_matches('/'));
    let is_alive = |pid: u32| fs::exists(format!("/proc/{pid}")).unwrap_or(true);
    sweep(&dir, is_alive).with_context(|| format!("looking through {}", dir.display()))?;
    let probe = dir.join(format!("{GROUP}{}", process::id()));
    fs::create_dir(&probe).with_context(|| format!("making a cgroup in {}", dir.display()))?;
    let capped = fs::exists(probe.join("cpu.cfs_quota_us"));
    fs::remove_dir(&probe).context("removing a cgroup")?;
    ensure!(capped?, "the kernel has no CPU bandwidth control");
    Ok(dir)
}

impl Caps {
    /// Lets each of the `workers` of process `pid` have `percent` of a CPU.
    pub(super) fn put(
        place: &Path,
        pid: Pid,
        workers: usize,
        percent: u32,
    ) -> anyhow::Result<Self> {
        let mut caps = Self { dirs: Vec::new() };
        for worker in 0..workers {
            let dir = place.join(format!("{GROUP}{}-{worker}", process::id()));
            fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
            caps.dirs.push(dir.clone());
            let write = |file: &str, value: String| {
                fs::write(dir.join(file), value).with_context(|| format!("writing {file}"))
            };
            write("cpu.cfs_period_us", PERIOD_US.to_string())?;
            write("cpu.cfs_quota_us", (PERIOD_US * percent / 100).to_string())?;
            let threads = threads(pid, worker)?;
            ensure!(!threads.is_empty(), "worker {worker} has no thread");
            for thread in threads {
                write("tasks", thread)?;
            }
        }
        Ok(caps)
    }
}

impl Drop for Caps {
    fn drop(&mut self) {
        for dir in &self.dirs {
            // One that can't be removed is empty and without effect.
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Removes the cgroups of processes that are gone.
fn sweep(dir: &Path, is_alive: impl Fn(u32) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if owner(&entry.file_name().to_string_lossy()).is_some_and(|pid| !is_alive(pid)) {
            // One that has threads yet is refused, and stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

/// The process that made a cgroup of this name.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(GROUP)?;
    let (pid, worker) = rest.split_once('-').unwrap_or((rest, "0"));
    worker.parse::<u32>().ok()?;
    pid.parse().ok()
}

/// The threads of a worker: Glommio gives its helper the same name.
fn threads(pid: Pid, worker: usize) -> anyhow::Result<Vec<String>> {
    let name = format!("{WORKER}{worker}");
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid()))? {
        let thread = thread?;
        let comm = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            found.push(thread.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_left_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let gone = ["bench-7", "bench-7-0", "bench-7-12"];
        let kept = [
            "bench-8-0",
            "bench-7-x",
            "bench-",
            "bench-7-3",
            "system.slice",
        ];
        for name in gone.iter().chain(&kept) {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        // As if a thread were in it.
        fs::create_dir(dir.path().join("bench-7-3/thread")).expect("a directory");
        sweep(dir.path(), |pid| pid == 8).expect("a directory");
        for name in gone {
            assert!(!dir.path().join(name).exists(), "{name}");
        }
        for name in kept {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }
}
