//! Asking corelane for its metrics.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// Between two looks at whether there are metrics.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The answer with the metrics as text, over a connection of its own.
pub(crate) fn scrape(admin: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(admin).context("connecting to the admin server")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .context("reading the metrics")?;
    ensure!(
        text.starts_with("HTTP/1.1 200 "),
        "no metrics: {}",
        text.lines().next().unwrap_or_default()
    );
    Ok(text)
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
