//! Many short connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use proxy_core::listen::BindAddress;
use proxy_core::metrics::Cause;
use socket2::{Domain, Socket, Type};

use crate::cases::Counts;
use crate::process::{alone, descriptors, resident_bytes};
use crate::real::{Real, RealStage, Scheduler};
use crate::stage::{Setup, Stage};
use crate::wait::{settle, wait};

/// Connections that are counted; with `CORELANE_SOAK=full` the second number.
const CONNECTIONS: u64 = 50_000;
const CONNECTIONS_FULL: u64 = 100_000;

/// Connections before, after which the process has what it will ever need.
const WARM_UP: u64 = 10_000;

/// Clients at a time.
const CLIENTS: u64 = 4;

/// What the process may have grown by: 40 bytes a connection would be noticed.
const GROWTH_BYTES_MAX: u64 = 2_000_000;

/// Each fourth connection ends in order, and the others by a reset, which leaves no port behind for a minute.
const ORDERLY_ONE_IN: u64 = 4;

/// Tens of thousands of short connections leave descriptors and memory where they were.
pub fn many_short_connections<B: Scheduler>() {
    let _alone = alone();
    let stage = Real::<B>::start(Setup::default());
    let BindAddress::Tcp(address) = *stage.address() else {
        unreachable!("stages listen on TCP by default");
    };
    serve(&stage);
    run_clients(address, WARM_UP);
    settle(&stage);
    wait(&stage, "the servers have closed too", || {
        let first = descriptors();
        thread::sleep(Duration::from_millis(100));
        (descriptors() == first).then_some(())
    });
    let before = (descriptors(), resident_bytes());
    let connections = match std::env::var("CORELANE_SOAK").as_deref() {
        Ok("full") => CONNECTIONS_FULL,
        _ => CONNECTIONS,
    };
    run_clients(address, connections);
    settle(&stage);
    // A connection is counted as ended just before its descriptors are closed.
    wait(&stage, "the descriptors are closed", || {
        (descriptors() <= before.0).then_some(())
    });
    let after = (descriptors(), resident_bytes());
    println!("descriptors and resident bytes before {before:?}, after {after:?}");
    assert!(
        after.1 < before.1 + GROWTH_BYTES_MAX,
        "resident bytes grew from {} to {}",
        before.1,
        after.1
    );
    let counts = Counts(&stage);
    let total = WARM_UP + connections;
    assert_eq!(counts.accepted(), total);
    assert_eq!(counts.ended(Cause::Finished), total / ORDERLY_ONE_IN);
    assert_eq!(
        counts.ended(Cause::ClientReset),
        total - total / ORDERLY_ONE_IN
    );
    assert_eq!(counts.bytes(), (8 * total, 8 * total));
}

/// Servers that answer one message and wait for the client to go. They end with the process.
fn serve<B: Scheduler>(stage: &Real<B>) {
    for _ in 0..CLIENTS {
        let listener: TcpListener = stage.server_socket(0).into();
        listener.set_nonblocking(false).expect("a socket can block");
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut message = [0; 8];
                let _ = stream
                    .read_exact(&mut message)
                    .and_then(|()| stream.write_all(&message))
                    // The end, or a reset.
                    .and_then(|()| stream.read(&mut message));
            }
        });
    }
}

fn run_clients(proxy: SocketAddr, connections: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let next = next.clone();
            thread::spawn(move || {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= connections {
                        break;
                    }
                    talk(proxy, number);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client failed");
    }
}

/// One question, one answer.
fn talk(proxy: SocketAddr, number: u64) {
    let mut socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), None).expect("a socket");
    // Ports of connections that ended in order are taken for a minute, on each address.
    let source = Ipv4Addr::new(127, 0, 1, 1 + (number % 200) as u8);
    socket
        .bind(&SocketAddr::from((source, 0)).into())
        .expect("a loopback address");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a socket has timeouts");
    socket.connect(&proxy.into()).expect("the proxy accepts");
    let (message, mut answer) = (number.to_ne_bytes(), [0; 8]);
    socket.write_all(&message).expect("the proxy takes bytes");
    socket.read_exact(&mut answer).expect("the answer comes");
    assert_eq!(answer, message);
    if number.is_multiple_of(ORDERLY_ONE_IN) {
        socket
            .shutdown(std::net::Shutdown::Write)
            .expect("the stream is open");
        assert_eq!(socket.read(&mut answer).expect("the end comes"), 0);
    } else {
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("a socket can linger");
    }
}
