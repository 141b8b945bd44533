//! What most Tokio servers do: a task a connection; `copy_bidirectional` to relay, a loop over one buffer to echo.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::service::Post;
use crate::socket;

/// The buffer of an echo.
const ECHO_BYTES: usize = 4 * 1024;

/// Serves on the calling thread.
pub(crate) fn run_current_thread(posts: &[Post]) -> io::Result<()> {
    serve(&mut Builder::new_current_thread(), posts)
}

/// Serves on so many workers that steal from each other; from nobody where there is one.
pub(crate) fn run_stealing(workers: usize, posts: &[Post]) -> io::Result<()> {
    serve(Builder::new_multi_thread().worker_threads(workers), posts)
}

fn serve(builder: &mut Builder, posts: &[Post]) -> io::Result<()> {
    let runtime = builder.enable_io().build()?;
    // The future of `block_on` is no worker's: accepting has a task of its own.
    runtime.block_on(async {
        let mut accepting: JoinSet<_> = posts.iter().copied().map(accept).collect();
        // None ends but by an error.
        while let Some(ended) = accepting.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

async fn accept(post: Post) -> io::Result<()> {
    let listener = TcpListener::from_std(socket::bind(post.listen, post.shared)?.into())?;
    loop {
        let (client, _) = listener.accept().await?;
        // An error is the connection's own; there is nobody to tell.
        tokio::spawn(async move {
            let _ = match post.upstream {
                Some(upstream) => relay(client, upstream).await,
                None => echo(client).await,
            };
        });
    }
}

async fn relay(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn echo(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = [0; ECHO_BYTES];
    loop {
        let bytes = client.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        client.write_all(&buffer[..bytes]).await?;
    }
}
