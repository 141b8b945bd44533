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

/// The corelane binary, if one of `systems` needs it: the given one, or one that is built. Fails where this one or that of another
/// build doesn't run: not after rounds of the others.
pub(crate) fn corelane(
    given: Option<&Path>,
    systems: &[System],
) -> anyhow::Result<Option<PathBuf>> {
    for system in systems {
        if let System::Build { binary, .. } = *system {
            runs(Path::new(binary))?;
        }
    }
    if !systems
        .iter()
        .any(|system| matches!(system, System::Corelane(_)))
    {
        return Ok(None);
    }
    if let Some(path) = given {
        runs(path)?;
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

fn runs(binary: &Path) -> anyhow::Result<()> {
    let name = binary.display();
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .with_context(|| format!("{name}: it doesn't run; name a build of corelane, with ./ where it is in this folder"))?;
    ensure!(
        output.status.success() && output.stdout.starts_with(b"corelane "),
        "{name}: it says no version of corelane"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_does_not_run_is_told_before_anything_is_measured() {
        let error = |text: &str| {
            let systems = [text.parse().unwrap()];
            corelane(None, &systems).unwrap_err().to_string()
        };
        let missing = error("corelane-tokio=./no-such-build");
        assert!(
            missing.starts_with("./no-such-build: it doesn't run;"),
            "{missing}"
        );
        let other = error("corelane-tokio=true");
        assert_eq!(other, "true: it says no version of corelane");
        let given = corelane(
            Some(Path::new("./no-such")),
            &["corelane-glommio".parse().unwrap()],
        );
        assert!(given.is_err());
    }
}
