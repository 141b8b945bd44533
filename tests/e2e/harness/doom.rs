//! Workers that die: by libraries of C that are loaded into the proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::proxy::{self, Proxy};
use super::scheduler::Scheduler;

/// A library of the harness's, by its source's name. None, and says why, where there is no compiler.
pub(crate) fn library(directory: &Path, name: &str) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/harness");
    let library = directory.join(name).with_extension("so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library);
    match compiler.arg(source.join(name)).arg("-ldl").status() {
        Ok(status) => {
            assert!(status.success(), "cc: {status}");
            Some(library)
        }
        Err(error) => {
            println!("skipped: cc: {error}; `bash tests/run` installs it");
            None
        }
    }
}

/// A command of the proxy whose workers [`kill`] ends.
pub(crate) fn command(directory: &Path) -> Option<Command> {
    let mut command = proxy::command();
    command.env("LD_PRELOAD", library(directory, "doom.c")?);
    Some(command)
}

/// The same; while there is a file at `gate`, no thread is started, so that no worker can be replaced.
pub(crate) fn command_with_gate(directory: &Path, gate: &Path) -> Option<Command> {
    let mut command = command(directory)?;
    command.env("DOOM_GATE", gate);
    Some(command)
}

/// The worker threads of a process, the oldest first, each before those that it has started.
pub(crate) fn workers(pid: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
    let workers = tasks.flatten().filter(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.starts_with("corelane-w")
    });
    let ids = workers.filter_map(|task| task.file_name().to_str()?.parse().ok());
    let mut ids: Vec<i32> = ids.collect();
    ids.sort_unstable();
    ids
}

/// Has the first of these workers fail when it waits next; under work stealing whichever of them waits for events next.
pub(crate) fn kill_one(proxy: &Proxy, scheduler: Scheduler, workers: &[i32]) {
    kill_one_of(proxy.pid(), scheduler, workers);
}

/// The same, of another process.
pub(crate) fn kill_one_of(pid: u32, scheduler: Scheduler, workers: &[i32]) {
    let doomed = match scheduler {
        Scheduler::WorkStealing => workers,
        Scheduler::Glommio | Scheduler::PerCore => &workers[..1],
    };
    assert!(!doomed.is_empty(), "no such worker");
    for tid in doomed {
        // SAFETY: it sends a signal, for which the process has a handler.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, *tid, Signal::URG.as_raw()) };
    }
}

/// Has a worker fail when it waits next; under work stealing whichever waits for events next, as all have the same.
pub(crate) fn kill(proxy: &Proxy, scheduler: Scheduler, worker: usize) {
    let pid = proxy.pid();
    let names: Vec<String> = match scheduler {
        Scheduler::WorkStealing => vec!["corelane-w".to_owned()],
        Scheduler::Glommio | Scheduler::PerCore => vec![format!("corelane-w{worker}\n")],
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
    // All are known before the first has died: those that take their place have the same names.
    let workers = tasks.flatten().filter(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        names.iter().any(|wanted| name.starts_with(wanted))
    });
    let workers: Vec<i32> = workers
        .map(|task| task.file_name().to_string_lossy().parse().expect("an id"))
        .collect();
    assert!(!workers.is_empty(), "no such worker");
    for tid in workers {
        // SAFETY: it sends a signal, for which the process has a handler.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, Signal::URG.as_raw()) };
    }
}
