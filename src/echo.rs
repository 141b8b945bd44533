//! The embedded upstream `builtin:echo`: a real TCP server on loopback, on a thread of its own, so that the
//! proxy runs with nothing else installed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use proxy_core::descriptors;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Bytes that an echo connection holds.
const BUFFER_BYTES: usize = 16 * 1024;

/// Connections that may wait: as many as a listener's by default, so that a burst needn't wait for a second SYN.
const BACKLOG: u32 = 4096;

/// How long accepting rests when the process has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Starts the server; it runs as long as the process. Returns its address.
///
/// # Errors
/// When loopback has no port left, or there is no thread for it.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let listener = {
        let _context = runtime.enter();
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        socket.listen(BACKLOG)?
    };
    let address = listener.local_addr()?;
    thread::Builder::new()
        .name("corelane-echo".into())
        .spawn(move || runtime.block_on(serve(listener)))?;
    Ok(address)
}

async fn serve(listener: TcpListener) {
    loop {
        // Its connections are in this process, too, and must leave alone what is kept for others.
        if !descriptors::has_room(&listener) {
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(async move {
                // A client that goes away doesn't concern the server.
                let _ = echo(stream).await;
            })),
            // Descriptors are exhausted, most likely: some will be given back.
            Err(_) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
        }
    }
}

/// Sends back what comes, and the end after it.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}
