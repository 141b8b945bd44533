//! What most Tokio proxies do: a task a connection, `copy_bidirectional`.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::service::Service;

/// Relays on one worker, stealing (from nobody) or current-thread.
pub(crate) fn run(stealing: bool, services: &[Service]) -> io::Result<()> {
    let mut builder = if stealing {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    let runtime = builder.worker_threads(1).enable_io().build()?;
    // The future of `block_on` is no worker's: accepting has a task of its own.
    runtime.block_on(async {
        let mut accepting: JoinSet<_> = services.iter().copied().map(accept).collect();
        // None ends but by an error.
        while let Some(ended) = accepting.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

async fn accept(Service { listen, upstream }: Service) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        // An error is the connection's own; there is nobody to tell.
        tokio::spawn(async move {
            let _ = relay(client, upstream).await;
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
