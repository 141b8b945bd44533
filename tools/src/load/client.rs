//! The clients of one thread.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use proxy_console::errln;

use super::Flows;
use super::clocks::now;
use super::tally::Tally;

/// Messages up to this size are sent whole before the answer is read; larger ones might fill every buffer between here
/// and the echo, which then wait for each other.
const SEND_FIRST_BYTES_MAX: usize = 16 * 1024;

/// How far a paced flow may be behind and make up for it: timers have milliseconds, and intervals may be less.
const LAG_MAX: Duration = Duration::from_millis(10);

/// What is measured of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Light,
    Heavy,
}

/// A flow that is to begin.
pub(super) struct Client {
    pub(super) flow: Flow,
    pub(super) flows: Flows,
    /// Connected and non-blocking.
    pub(super) stream: std::net::TcpStream,
    /// Where it goes on.
    pub(super) address: SocketAddr,
    /// How long it waits before its first message.
    pub(super) phase: Duration,
}

/// Runs `clients` until `stopped` resolves.
pub(super) fn drive(clients: Vec<Client>, tally: &Arc<Tally>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            errln!("corelane: the clients can't run: {error}");
            return tally.on_lost(clients.len() as u64);
        }
    };
    runtime.block_on(async {
        let tally = Rc::new(tally.clone());
        for client in clients {
            let tally = tally.clone();
            tokio::task::spawn_local(async move {
                if run(client, &tally).await.is_err() {
                    tally.on_lost(1);
                }
            });
        }
        // Nothing is ever sent: the sender's end is the message.
        let _ = stopped.await;
    });
}

/// Ends with an error only.
async fn run(client: Client, tally: &Tally) -> io::Result<()> {
    let Flows {
        bytes,
        interval,
        messages,
        ..
    } = client.flows;
    let mut stream = TcpStream::from_std(client.stream)?;
    let out = vec![7; bytes];
    let mut back = vec![0; bytes];
    let mut left = messages;
    let mut due = tokio::time::Instant::from_std(now()) + client.phase;
    loop {
        if let Some(interval) = interval {
            tokio::time::sleep_until(due).await;
            due = (due + interval).max(tokio::time::Instant::from_std(now()) - LAG_MAX);
        }
        if left == Some(0) {
            stream = TcpStream::connect(client.address).await?;
            stream.set_nodelay(true)?;
            left = messages;
        }
        let asked = now();
        exchange(&mut stream, &out, &mut back).await?;
        left = left.map(|left| left - 1);
        match client.flow {
            Flow::Light => tally.on_answer(asked.elapsed()),
            Flow::Heavy => tally.on_heavy(),
        }
    }
}

async fn exchange(stream: &mut TcpStream, out: &[u8], back: &mut [u8]) -> io::Result<()> {
    if out.len() <= SEND_FIRST_BYTES_MAX {
        stream.write_all(out).await?;
        return stream.read_exact(back).await.map(drop);
    }
    let (mut read, mut write) = stream.split();
    let received = async { read.read_exact(back).await.map(drop) };
    tokio::try_join!(write.write_all(out), received).map(drop)
}
