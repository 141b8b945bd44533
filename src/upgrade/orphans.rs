//! Processes whose parents have ended: the first process of a container gets them, and has to wait for each that ends, or it stays as
//! a zombie.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// The number of the process that this one has started and waits for itself; 0: there is none.
static OWN: AtomicI32 = AtomicI32::new(0);

/// How long it is left to who waits for it, before it is looked for others behind it.
const PATIENCE: Duration = Duration::from_secs(1);

/// This process waits for a child of its own, or for none.
pub(super) fn set_own(child: Option<Pid>) {
    OWN.store(child.map_or(0, |pid| pid.as_raw_nonzero().get()), Relaxed);
}

/// Waits for those that are nobody's.
///
/// # Errors
/// When their ends can't be heard of.
pub(crate) fn reap() -> io::Result<impl Future<Output = ()>> {
    let mut ends = signal(SignalKind::child())?;
    Ok(async move {
        loop {
            let is_own_there = reap_all();
            match is_own_there {
                true => drop(timeout(PATIENCE, ends.recv()).await),
                false => drop(ends.recv().await),
            }
        }
    })
}

/// Whether the child of its own has ended and waits.
fn reap_all() -> bool {
    let looks = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Some(pid) = waitid(Id::All, looks).ok().and_then(|ended| ended.pid()) {
        if pid.as_raw() == OWN.load(Relaxed) {
            return true;
        }
        let takes = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        if waitid(Id::Pid(pid), takes).is_err() {
            return false;
        }
    }
    false
}
