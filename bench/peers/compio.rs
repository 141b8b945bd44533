//! Compio on its `io_uring`: a task a connection, and the library's copy for each direction.

use std::io;
use std::net::SocketAddr;

use compio::io::util::copy_with_size;
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, spawn};
use futures_lite::future::try_zip;

use crate::readiness::SCRATCH_BYTES;
use crate::service::Post;
use crate::socket;

/// Serves until the process is killed.
pub(crate) fn run(posts: &[Post]) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let mut accepting = Vec::new();
        for post in posts {
            // Compio's own `bind` has an accept queue of 128.
            let listener = std::net::TcpListener::from(socket::bind(post.listen, post.shared)?);
            // The ring waits by itself only for a socket that blocks.
            listener.set_nonblocking(false)?;
            let listener = TcpListener::from_std(listener)?;
            accepting.push(spawn(accept(listener, post.upstream)));
        }
        for task in accepting {
            task.await.map_err(|_| io::Error::other("a panic"))??;
        }
        Ok(())
    })
}

async fn accept(listener: TcpListener, upstream: Option<SocketAddr>) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        // An error is the connection's own; there is nobody to tell.
        spawn(async move {
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
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    // `copy_bidirectional` would wait for the other direction when one has failed.
    try_zip(
        copy_with_size(&mut from_client, &mut to_server, SCRATCH_BYTES),
        copy_with_size(&mut from_server, &mut to_client, SCRATCH_BYTES),
    )
    .await?;
    Ok(())
}

async fn echo(client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut from, mut to) = client.split();
    copy_with_size(&mut from, &mut to, SCRATCH_BYTES).await?;
    Ok(())
}
