//! Asking corelane for its metrics.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use proxy_state::client;

/// Between two looks at whether there are metrics.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long each step to an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The metrics as text, over a connection of its own.
pub(crate) fn scrape(admin: SocketAddr) -> anyhow::Result<String> {
    let answer = client::get(&admin.to_string(), "/metrics", ANSWER_MAX)
        .context("asking the admin server")?;
    ensure!(answer.status == 200, "no metrics: {}", answer.status);
    Ok(answer.body)
}

/// Waits until there are metrics: a proxy may accept before its admin server does.
pub(crate) fn await_start(admin: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + ANSWER_MAX;
    loop {
        match scrape(admin) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(LOOK_EVERY),
        }
    }
}
