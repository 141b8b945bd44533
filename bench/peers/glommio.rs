//! Glommio as it comes: an executor, a task a connection, its own `TcpStream`s, and a loop over one buffer for each
//! direction.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::future::try_zip;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};

use crate::readiness::SCRATCH_BYTES;
use crate::service::Post;

/// Longer than a run. Glommio 0.12 parks for ever when its preempt timer fires before it has chosen a task queue, and
/// goes around its rings each time that it fires; here there is one queue, with nothing to preempt for.
const PREEMPT_TIMER: Duration = Duration::from_secs(24 * 60 * 60);

/// A buffer's first size, which is that of Tokio's `copy_bidirectional`. Unlike that one it grows, as long as reads fill
/// it. The traits want buffers that are initialised, so one of 64 KiB would be resident under an idle connection.
const FIRST_BYTES: usize = 8 * 1024;

/// Serves until the process is killed.
pub(crate) fn run(posts: &[Post]) -> io::Result<()> {
    // The harness has chosen the CPU.
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .preempt_timer(PREEMPT_TIMER)
        .make()?;
    executor.run(async {
        let mut accepting = Vec::new();
        for post in posts {
            // Glommio shares every address.
            let listener = TcpListener::bind(post.listen)?;
            accepting.push(glommio::spawn_local(accept(listener, post.upstream)));
        }
        for task in accepting {
            task.await?;
        }
        Ok(())
    })
}

async fn accept(listener: TcpListener, upstream: Option<SocketAddr>) -> io::Result<()> {
    loop {
        let client = listener.accept().await?;
        // An error is the connection's own; there is nobody to tell.
        glommio::spawn_local(async move {
            let _ = match upstream {
                Some(upstream) => relay(client, upstream).await,
                None => echo(client).await,
            };
        })
        .detach();
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    try_zip(pump(from_client, to_server), pump(from_server, to_client)).await?;
    Ok(())
}

async fn echo(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = vec![0; FIRST_BYTES];
    loop {
        let bytes = client.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        client.write_all(&buffer[..bytes]).await?;
    }
}

async fn pump(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; FIRST_BYTES];
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return to.close().await;
        }
        to.write_all(&buffer[..bytes]).await?;
        if bytes == buffer.len() && bytes < SCRATCH_BYTES {
            buffer.resize(2 * bytes, 0);
        }
    }
}
