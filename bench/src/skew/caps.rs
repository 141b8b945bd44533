//! Slow cores on a machine that has few: a cgroup for each worker's threads, with a part of a CPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, ensure};
use rustix::process::Pid;

/// Where the controller is mounted by convention.
const CONTROLLER: &str = "/sys/fs/cgroup/cpu";
/// How often a worker has its quota anew, in µs. A worker that has used it up waits for the rest of the period, so it
/// is as short as the least quota of the kernel, 1 ms, allows.
pub(super) const PERIOD_US: u32 = 10_000;
/// How the names of corelane's workers begin; the worker's number follows.
const WORKER: &str = "corelane-w";

/// The cgroups of a proxy; they go when this does, after the proxy.
pub(super) struct Caps {
    dirs: Vec<PathBuf>,
}

/// Where cgroups can be made, or why none can.
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
    let probe = dir.join(format!("bench-{}", process::id()));
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
            let dir = place.join(format!("bench-{}-{worker}", process::id()));
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
