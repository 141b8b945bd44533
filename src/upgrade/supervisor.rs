//! A process that only watches another one, in the place of which it was started: it passes signals on, and ends as that ends.
//!
//! It is this program, run once more in the same process: so all memory and all descriptors are given back. What takes over
//! from the process that it watches becomes its own child when that ends (`PR_SET_CHILD_SUBREAPER`), so there is one
//! supervisor, however many upgrades there are.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use nix::sys::signal::SigSet;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::signals::passed_on_as;

/// What a shell adds to the number of the signal that ended a process.
const SIGNALED: i32 = 128;

/// Signals that are passed on; more of the same at once may be one.
const PASSED_ON: [Signal; 6] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

/// Signals that wait to be passed on.
const WAITING_MAX: usize = 16;

/// Becomes the supervisor of a process, whose successors are told of by `line`. Returns the exit code.
pub(super) fn stay(pid: Pid, line: OwnedFd, pending: impl FnOnce() -> Vec<Signal>) -> u8 {
    // Until the program that follows listens to them.
    let blocked = SigSet::all().thread_block();
    if let Err(error) = blocked {
        tracing::error!(%error, "signals of the next moment may be lost");
    }
    for signal in pending() {
        let _ = kill_process(pid, passed_on_as(signal));
    }
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::error!(%error, "the next upgrade leaves this process with nobody to watch");
    }
    let (number, descriptor) = (pid.as_raw_nonzero().to_string(), line.as_raw_fd());
    let kept = fcntl_setfd(&line, FdFlags::empty());
    // Its own file, whatever is at its path now.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.args(["supervise", &number, &descriptor.to_string()]);
    proxy_console::flush();
    let error = match kept {
        Ok(()) => command.exec(),
        Err(error) => error.into(),
    };
    tracing::warn!(%error, "the memory of this process is not given back while it supervises the new one");
    match watch(pid, line) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            1
        }
    }
}

/// `corelane supervise`: watches a process. Returns the exit code.
///
/// # Errors
/// When it can't.
pub(crate) fn supervise(pid: i32, line: i32) -> anyhow::Result<u8> {
    let pid = Pid::from_raw(pid).context("0 is no process")?;
    let line = proxy_sys::inherited_descriptor(line);
    watch(
        pid,
        line.context("this command is for a process that has upgraded")?,
    )
}

fn watch(pid: Pid, line: OwnedFd) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the supervisor's runtime")?;
    Ok(runtime.block_on(until_it_ends(pid, line))?)
}

async fn until_it_ends(mut pid: Pid, line: OwnedFd) -> io::Result<u8> {
    let (sender, mut signals) = mpsc::channel(WAITING_MAX);
    for passed_on in PASSED_ON {
        let mut caught = signal(SignalKind::from_raw(passed_on.as_raw()))?;
        let sender = sender.clone();
        drop(tokio::spawn(async move {
            while caught.recv().await.is_some() {
                let _ = sender.send(passed_on).await;
            }
        }));
    }
    let mut children = signal(SignalKind::child())?;
    // Those that came meanwhile are caught now.
    let _ = SigSet::all().thread_unblock();
    loop {
        // Who ends has told of its successor before.
        while let Some(successor) = told(&line) {
            pid = successor;
        }
        while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
            if ended == pid {
                let code = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code,
                    (None, Some(signal)) => SIGNALED + signal,
                    (None, None) => continue,
                };
                return Ok(u8::try_from(code).unwrap_or(u8::MAX));
            }
        }
        tokio::select! {
            _ = children.recv() => {}
            Some(signal) = signals.recv() => {
                while let Some(successor) = told(&line) {
                    pid = successor;
                }
                let _ = kill_process(pid, passed_on_as(signal));
            }
        }
    }
}

/// The process that is to be watched from now on, if somebody has said so.
fn told(line: &OwnedFd) -> Option<Pid> {
    let mut number = [0; 4];
    let (read, _) = recv(line, &mut number[..], RecvFlags::DONTWAIT).ok()?;
    (read == number.len()).then(|| Pid::from_raw(i32::from_le_bytes(number)))?
}
