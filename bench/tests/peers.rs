//! The relays relay and the echo servers echo: bytes come back as they went, and the end of the stream passes through
//! both ways.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ports of the relays.
const PORTS: std::ops::Range<u16> = 12_000..20_000;

/// The process of a relay with one service, or of an echo server; it ends with the test.
struct Relay {
    child: Child,
    listen: SocketAddr,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    fn start(name: &str) -> Self {
        let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = upstream.local_addr().unwrap();
        thread::spawn(move || {
            for stream in upstream.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || echo(stream));
            }
        });
        let listen = free_address();
        let child = peer(name, &[(listen, address)]).spawn().unwrap();
        Self { child, listen }
    }

    fn connect(&self) -> TcpStream {
        connect(self.listen)
    }
}

/// The command of a relay for pairs of listening and upstream addresses.
fn peer(name: &str, services: &[(SocketAddr, SocketAddr)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["peer", name]);
    for (listen, upstream) in services {
        command.args(["--service", &format!("{listen}={upstream}")]);
    }
    command
}

/// An address that nothing listens on. Its port is below those of outgoing connections, one of which could take it
/// before the relay does.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let free = PORTS.into_iter().find_map(|_| {
        let step = NEXT
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(std::process::id() as u16);
        let port = PORTS.start + step % (PORTS.end - PORTS.start);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        listener.local_addr().ok()
    });
    free.unwrap()
}

/// A connection to where a relay listens, or soon will.
fn connect(listen: SocketAddr) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(listen) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Echoes until the end, then ends too.
fn echo(mut stream: TcpStream) {
    let mut chunk = vec![0; 100_000];
    while let Ok(bytes @ 1..) = stream.read(&mut chunk) {
        if stream.write_all(&chunk[..bytes]).is_err() {
            return;
        }
    }
}

/// Bytes in which a lost, doubled or moved piece shows.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Sends `len` bytes, then the end, and reads until the end.
fn whole_stream(relay: &Relay, seed: u64, len: usize) {
    let mut stream = relay.connect();
    let sent = pattern(seed, len);
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(
        received == sent,
        "{} bytes of {len} came back, or others",
        received.len()
    );
}

/// Streams that run at once. The completion-based relays get short ones: their shared pool of buffers lets one
/// stalled reader starve the others, which is why they are references and nothing more.
fn lengths(relay: &str) -> &'static [usize] {
    if relay.starts_with("recv-ring") {
        &[0, 1, 64, 5_000, 70_000]
    } else {
        &[0, 1, 64, 5_000, 70_000, 3_000_000, 8_000_000]
    }
}

#[test]
fn every_relay_relays_and_passes_the_end_on() {
    for name in peers::Relay::ALL.map(peers::Relay::name) {
        eprintln!("{name}");
        let relay = Relay::start(name);
        // Several rounds, so that slots of ended connections are used again.
        for round in 0..3 {
            thread::scope(|scope| {
                for (seed, &len) in lengths(name).iter().enumerate() {
                    let relay = &relay;
                    scope.spawn(move || whole_stream(relay, seed as u64 + round, len));
                }
            });
        }
        // One that vanishes without reading its echo leaves the others alone.
        let mut rude = relay.connect();
        rude.write_all(&pattern(7, 50_000)).unwrap();
        drop(rude);
        whole_stream(&relay, 9, 1_000_000);
    }
}

#[test]
fn every_echo_server_echoes_and_passes_the_end_on() {
    for name in peers::Echo::ALL.map(peers::Echo::name) {
        eprintln!("{name}");
        let listen = free_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
        let child = command
            .args(["echo", name, &listen.to_string()])
            .spawn()
            .unwrap();
        let server = Relay { child, listen };
        // Several at once, since a server may have several workers at its address.
        thread::scope(|scope| {
            for (seed, len) in [0, 1, 64, 5_000, 70_000, 3_000_000].into_iter().enumerate() {
                let server = &server;
                scope.spawn(move || whole_stream(server, seed as u64, len));
            }
        });
    }
}

#[test]
fn each_service_has_its_own_upstream() {
    for relay in peers::Relay::ALL {
        let name = relay.name();
        eprintln!("{name}");
        let upstreams = [0, 1].map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let services = [0, 1].map(|index: usize| {
            let upstream = upstreams[index].local_addr().unwrap();
            (free_address(), upstream)
        });
        let mut command = peer(name, &services);
        // A library's relay has a task for each listener; the candidates have one listener.
        if relay.library().is_none() {
            let output = command.output().unwrap();
            assert!(!output.status.success());
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("relays one service"), "{said}");
            continue;
        }
        let relay = Relay {
            child: command.spawn().unwrap(),
            listen: services[0].0,
        };
        for (greeting, ((listen, _), upstream)) in services.iter().zip(&upstreams).enumerate() {
            let mut client = connect(*listen);
            client.write_all(&[greeting as u8]).unwrap();
            let (mut server, _) = upstream.accept().unwrap();
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = [u8::MAX];
            server.read_exact(&mut received).unwrap();
            assert_eq!(received, [greeting as u8]);
        }
        drop(relay);
    }
}
