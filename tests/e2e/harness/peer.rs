//! Scripted clients and servers on real sockets.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::wait::DEADLINE;

/// Connects; reads and writes fail, rather than hang, after [`DEADLINE`].
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
    let connected = socket.connect_timeout(&address.into(), DEADLINE);
    connection(socket, connected, &format!("connect to {address}"))
}

/// The same from an address of loopback's.
pub(crate) fn connect_from(client: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket
        .bind(&SocketAddr::from((client, 0)).into())
        .expect("bind");
    let connected = socket.connect(&address.into());
    connection(
        socket,
        connected,
        &format!("connect from {client} to {address}"),
    )
}

/// The stream of a socket that has connected. Who is accepted and reset at once, on a machine with much to do, may hear of the
/// reset before the connect has returned, and then has a stream that was reset.
fn connection(socket: Socket, connected: io::Result<()>, what: &str) -> TcpStream {
    let stream = match connected {
        Ok(()) => socket.into(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => was_reset(),
        Err(error) => panic!("{what}: {error}"),
    };
    prepare(&stream);
    stream
}

/// A connected stream that its peer has reset.
fn was_reset() -> TcpStream {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = server.local_addr().expect("address");
    let stream = TcpStream::connect(address).expect("connect");
    let (accepted, _) = server.accept().expect("accept");
    reset(accepted);
    stream
}

fn prepare(stream: &TcpStream) {
    stream.set_nodelay(true).expect("nodelay");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("read timeout");
    stream
        .set_write_timeout(Some(DEADLINE))
        .expect("write timeout");
}

/// Closes with a reset instead of an orderly end.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
}

/// Reads what is left and returns how the stream ended: `None` for an orderly end.
pub(crate) fn end_of(stream: &mut TcpStream) -> Option<ErrorKind> {
    match io::copy(stream, &mut io::sink()) {
        Ok(_) => None,
        Err(error) => Some(error.kind()),
    }
}

/// Closed by the proxy, orderly or with a reset, and without a byte.
pub(crate) fn assert_closed_unanswered(mut stream: TcpStream) {
    match stream.read(&mut [0; 1]) {
        Ok(0) => {}
        Ok(_) => panic!("an answer where none can come from"),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the proxy keeps a client that it can't serve: {error}"),
    }
}

/// A listening socket; the test accepts and plays each connection itself.
pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) fn bind() -> Self {
        Self::bind_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// At this address.
    pub(crate) fn bind_at(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        // Bounds `accept` on Linux.
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("accept timeout");
        // Another one may have been here a moment ago.
        socket.set_reuse_address(true).expect("SO_REUSEADDR");
        socket.bind(&address.into()).expect("bind");
        socket.listen(1024).expect("listen");
        Self {
            listener: socket.into(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("address")
    }

    pub(crate) fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().expect("the proxy connects");
        prepare(&stream);
        stream
    }

    /// Plays `script` on each connection, on a thread of its own, until the result is dropped.
    pub(crate) fn serve(self, script: impl Fn(TcpStream) + Send + Sync + 'static) -> Service {
        let address = self.address();
        let stopped = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let script = Arc::new(script);
        let acceptor = thread::spawn({
            let (stopped, accepted) = (stopped.clone(), accepted.clone());
            move || {
                while let Ok((stream, _)) = self.listener.accept() {
                    if stopped.load(Ordering::Acquire) {
                        return;
                    }
                    accepted.fetch_add(1, Ordering::Release);
                    prepare(&stream);
                    let script = script.clone();
                    thread::spawn(move || script(stream));
                }
            }
        });
        Service {
            address,
            stopped,
            accepted,
            acceptor: Some(acceptor),
        }
    }
}

impl Drop for Server {
    /// A process that another test starts just now has the socket, too, until it runs its program: closing it here would leave it
    /// listening.
    fn drop(&mut self) {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

/// A server that plays its script until it is dropped.
pub(crate) struct Service {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    acceptor: Option<JoinHandle<()>>,
}

impl Service {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Acquire)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

/// An address that refuses: a port that was bound a moment ago, below the ephemeral range.
pub(crate) fn refusing() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, super::port::free()))
}

/// Answers each connection with what it sends.
pub(crate) fn echo() -> Service {
    Server::bind().serve(|stream| {
        // Clients that are idle for longer than a test waits for anything are left alone.
        stream.set_read_timeout(None).expect("no time");
        let _ = io::copy(&mut &stream, &mut &stream);
    })
}

/// A server whose queue is full: a connect to it goes on until [`Full::accept`].
pub(crate) struct Full {
    listener: Socket,
    /// What fills it.
    filler: Socket,
}

impl Full {
    /// At this address, be it of TCP or a path.
    pub(crate) fn bind(address: &socket2::SockAddr) -> Self {
        let socket = || Socket::new(address.domain(), Type::STREAM, None).expect("socket");
        let (listener, filler) = (socket(), socket());
        listener
            .set_read_timeout(Some(DEADLINE))
            .expect("accept timeout");
        listener.bind(address).expect("bind");
        // The kernel takes one more than the backlog.
        listener.listen(0).expect("listen");
        let address = listener.local_addr().expect("address");
        filler.connect(&address).expect("it is the first");
        Self { listener, filler }
    }

    /// The port of loopback.
    pub(crate) fn on_loopback() -> Self {
        Self::bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.listener.local_addr().expect("address");
        address.as_socket().expect("of TCP")
    }

    /// Makes room, and accepts who waited.
    pub(crate) fn accept(self) -> Socket {
        let (filler, _) = self.listener.accept().expect("the filler");
        drop((filler, self.filler));
        let (stream, _) = self.listener.accept().expect("the proxy connects");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("read timeout");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("write timeout");
        stream
    }
}
