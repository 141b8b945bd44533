//! What happens before anything is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, getrlimit, setpriority_process, setrlimit};
use rustix::thread::sched_setaffinity;

use crate::cli::MachineArgs;
use crate::network;
use crate::sys;
use crate::system::System;

/// Puts this process where and how it stays.
pub(crate) fn settle(args: &MachineArgs) -> anyhow::Result<()> {
    ensure!(
        args.proxy_cpu != args.load_cpu,
        "proxy and load need a CPU each"
    );
    // Before any thread is started: a namespace is a thread's, and its children's.
    network::enter(&args.congestion)?;
    if let Some(nice) = args.nice {
        setpriority_process(None, nice).context("setting the niceness")?;
    }
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).context("raising the limit on descriptors")?;
    sched_setaffinity(None, &sys::set_of(&[args.load_cpu]))
        .with_context(|| format!("moving to CPU {}", args.load_cpu))
}

/// The corelane binary, if one of `systems` needs it: the given one, or one that is built.
pub(crate) fn corelane(
    given: Option<&Path>,
    systems: &[System],
) -> anyhow::Result<Option<PathBuf>> {
    if !systems
        .iter()
        .any(|system| matches!(system, System::Corelane(_)))
    {
        return Ok(None);
    }
    if let Some(path) = given {
        return Ok(Some(path.to_owned()));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "-p", "corelane"])
        .status()?;
    ensure!(status.success(), "corelane doesn't build");
    // Cargo puts the workspace's binaries beside this one.
    Ok(Some(std::env::current_exe()?.with_file_name("corelane")))
}
