//! Monoio, on either of its drivers: a task a connection, its streams' halves, and a loop over one buffer for each
//! direction. The loop is that of `monoio::io::copy`, whose buffer of 4 KiB can't be changed; `zero_copy` splices
//! 4 KiB at a time.

use std::io;
use std::net::SocketAddr;

use futures_lite::future::try_zip;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable as _};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::readiness::SCRATCH_BYTES;
use crate::service::Post;
use crate::socket::BACKLOG;

/// Serves on epoll.
pub(crate) fn run_epoll(posts: &[Post]) -> io::Result<()> {
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
    runtime.block_on(serve(posts))
}

/// Serves on an `io_uring`.
pub(crate) fn run_uring(posts: &[Post]) -> io::Result<()> {
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().build()?;
    runtime.block_on(serve(posts))
}

async fn serve(posts: &[Post]) -> io::Result<()> {
    let mut accepting = Vec::new();
    for post in posts {
        let options = ListenerOpts::new().reuse_port(post.shared).backlog(BACKLOG);
        let listener = TcpListener::bind_with_config(post.listen, &options)?;
        accepting.push(monoio::spawn(accept(listener, post.upstream)));
    }
    for task in accepting {
        task.await?;
    }
    Ok(())
}

async fn accept(listener: TcpListener, upstream: Option<SocketAddr>) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        // An error is the connection's own; there is nobody to tell.
        monoio::spawn(async move {
            let _ = match upstream {
                Some(upstream) => relay(client, upstream).await,
                None => echo(client).await,
            };
        });
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_addr(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    try_zip(
        pump(&mut from_client, &mut to_server),
        pump(&mut from_server, &mut to_client),
    )
    .await?;
    Ok(())
}

async fn echo(client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut from, mut to) = client.into_split();
    pump(&mut from, &mut to).await
}

async fn pump(from: &mut impl AsyncReadRent, to: &mut impl AsyncWriteRent) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(SCRATCH_BYTES);
    loop {
        let (read, filled) = from.read(buffer).await;
        if read? == 0 {
            return to.shutdown().await;
        }
        let (written, sent) = to.write_all(filled).await;
        written?;
        buffer = sent;
    }
}
