//! Compio on its `io_uring`: a task a connection, and the library's copy for each direction.

use std::io;
use std::net::SocketAddr;

use compio::io::util::copy_with_size;
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, spawn};
use futures_lite::future::try_zip;

use crate::readiness::SCRATCH_BYTES;
use crate::service::Service;
use crate::socket;

/// Relays until the process is killed.
pub(crate) fn run(services: &[Service]) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let mut accepting = Vec::new();
        for service in services {
            // Compio's own `bind` has an accept queue of 128.
            let listener = std::net::TcpListener::from(socket::listener(service.listen)?);
            // The ring waits by itself only for a socket that blocks.
            listener.set_nonblocking(false)?;
            let listener = TcpListener::from_std(listener)?;
            accepting.push(spawn(accept(listener, service.upstream)));
        }
        for task in accepting {
            task.await.map_err(|_| io::Error::other("a panic"))??;
        }
        Ok(())
    })
}

async fn accept(listener: TcpListener, upstream: SocketAddr) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        // An error is the connection's own; there is nobody to tell.
        spawn(async move {
            let _ = relay(client, upstream).await;
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
