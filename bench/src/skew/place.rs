//! Connections on the cores where they are wanted: opened one at a time, until each core took its number.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rustix::fd::OwnedFd;

use super::metrics;
use proxy_load::connect;

/// Connections opened in the search.
const CANDIDATES_MAX: usize = 1_000;
/// How long the proxy may take to accept one.
const ACCEPT_MAX: Duration = Duration::from_secs(5);
/// Between two looks at whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Opens as many connections to `target` as `wanted` says for each core. Those that landed elsewhere are closed
/// in the end, not before: a proxy that places by their number would send the next to the same core.
pub(super) fn deal(
    target: SocketAddr,
    admin: SocketAddr,
    mut wanted: Vec<usize>,
) -> anyhow::Result<Vec<OwnedFd>> {
    let (mut taken, mut others) = (Vec::new(), Vec::new());
    for _ in 0..CANDIDATES_MAX {
        if wanted.iter().all(|&count| count == 0) {
            return Ok(taken);
        }
        let (socket, core) = one(target, admin)?;
        match wanted.get_mut(core) {
            Some(count) if *count > 0 => {
                *count -= 1;
                taken.push(socket);
            }
            _ => others.push(socket),
        }
    }
    bail!(
        "of {CANDIDATES_MAX} connections too few landed on the cores that were to have them: {wanted:?} are missing"
    )
}

/// Opens `count` connections, wherever they land.
pub(super) fn open(
    target: SocketAddr,
    admin: SocketAddr,
    count: usize,
) -> anyhow::Result<Vec<OwnedFd>> {
    (0..count).map(|_| Ok(one(target, admin)?.0)).collect()
}

/// A connection, and the core that took it.
fn one(target: SocketAddr, admin: SocketAddr) -> anyhow::Result<(OwnedFd, usize)> {
    let before = metrics::accepts(admin)?;
    let socket = connect(target)?;
    let deadline = Instant::now() + ACCEPT_MAX;
    loop {
        let now = metrics::accepts(admin)?;
        if let Some(core) = now
            .iter()
            .zip(&before)
            .position(|(now, before)| now > before)
        {
            return Ok((socket, core));
        }
        ensure!(
            Instant::now() < deadline,
            "no core took a connection in {ACCEPT_MAX:?}"
        );
        sleep(LOOK_EVERY);
    }
}
