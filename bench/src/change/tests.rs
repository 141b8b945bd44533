//! The clients see what a proxy does to them, here by a scripted one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use proxy_load::{Clients, Stage};
use socket2::SockRef;

use super::arrivals::Arrivals;
use super::busy::Busy;
use super::cue::{Cue, Phase};
use super::faults::Faults;
use super::idle::Idle;
use super::transfers::Transfers;

/// Longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// When an answer is late that never comes.
const SOON: Duration = Duration::from_millis(100);
/// For what happens at once, on a machine that does much else.
const WHILE: Duration = Duration::from_millis(500);

/// What becomes of a connection after its first message has come back.
#[derive(Clone, Copy, Debug)]
enum Then {
    EchoOn,
    Reset,
    Close,
    Garble,
    EchoTwice,
    KeepSilent,
}

/// Serves each connection in a thread of its own, which end with the connections.
fn serve(then: Then) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve_one(stream.unwrap(), then));
        }
    });
    address
}

fn serve_one(mut stream: TcpStream, then: Then) {
    let mut bytes = [0; 64 * 1024];
    let mut first = true;
    while let Ok(count) = stream.read(&mut bytes)
        && count > 0
    {
        let bytes = &mut bytes[..count];
        if std::mem::take(&mut first) {
            let _ = stream.write_all(bytes);
            continue;
        }
        let answer: &[u8] = match then {
            Then::Reset => {
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return;
            }
            Then::Close => {
                let _ = stream.shutdown(Shutdown::Write);
                continue;
            }
            Then::Garble => {
                bytes[count / 2] ^= 1;
                bytes
            }
            Then::EchoTwice => {
                let _ = stream.write_all(bytes);
                bytes
            }
            Then::KeepSilent => continue,
            Then::EchoOn => bytes,
        };
        let _ = stream.write_all(answer);
    }
}

/// A turn in which nothing is late but what never comes.
fn cue(then: Then) -> Cue {
    Cue::new(if matches!(then, Then::KeepSilent) {
        SOON
    } else {
        PATIENCE
    })
}

/// Goes on until `done`, or too long.
fn play(stage: &mut Stage<'_>, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() && Instant::now() < deadline {
        stage.turn().unwrap();
    }
}

fn stage<'a>(target: SocketAddr, clients: &'a mut dyn Clients) -> Stage<'a> {
    Stage::without_server(target, Box::new(clients)).unwrap()
}

/// Two idle connections, checked.
fn idle(then: Then) -> String {
    let cue = cue(then);
    let mut idle = Idle::new(2, &cue);
    let mut stage = stage(serve(then), &mut idle);
    play(&mut stage, || {
        cue.opened.load(std::sync::atomic::Ordering::Relaxed)
    });
    cue.set(Phase::Check);
    // The silent ones are waited for in vain.
    let waits = Instant::now() + WHILE;
    let silent = matches!(then, Then::KeepSilent);
    play(&mut stage, || {
        cue.checked.load(std::sync::atomic::Ordering::Relaxed) || silent && Instant::now() > waits
    });
    drop(stage);
    idle.settle();
    idle.faults.to_string()
}

#[test]
fn an_idle_connection_that_fails_is_counted_by_how() {
    assert_eq!(idle(Then::EchoOn), "0");
    assert_eq!(idle(Then::Reset), "2 reset");
    assert_eq!(idle(Then::Close), "2 closed");
    assert_eq!(idle(Then::Garble), "2 wrong");
    assert_eq!(idle(Then::KeepSilent), "2 late");
}

/// Two busy connections for a while.
fn busy(then: Then) -> (Faults, [Vec<Duration>; 2]) {
    let cue = cue(then);
    cue.set(Phase::Change);
    let mut busy = Busy::new(2, Duration::from_millis(5), &cue);
    let mut stage = stage(serve(then), &mut busy);
    stage.run_for(WHILE).unwrap();
    drop(stage);
    busy.settle(Instant::now());
    (busy.faults, busy.pauses())
}

#[test]
fn a_busy_connection_that_fails_is_counted_by_how() {
    let (faults, [before, during]) = busy(Then::EchoOn);
    assert_eq!(faults.to_string(), "0");
    assert!(before == [Duration::ZERO; 2] && during[0] > Duration::ZERO);
    assert_eq!(busy(Then::Reset).0.to_string(), "2 reset");
    assert_eq!(busy(Then::Close).0.to_string(), "2 closed");
    assert_eq!(busy(Then::Garble).0.to_string(), "2 wrong");
    // Two echoes of one message: the second one is none of the next's.
    assert_eq!(busy(Then::EchoTwice).0.to_string(), "2 wrong");
    let (faults, [_, during]) = busy(Then::KeepSilent);
    assert_eq!(faults.to_string(), "2 late");
    // What never came is a pause as well.
    assert!(during[0] >= SOON, "{during:?}");
}

/// Two transfers.
fn transfers(then: Then) -> (Faults, u64) {
    let cue = cue(then);
    cue.set(Phase::Change);
    let mut transfers = Transfers::new(2, 1e6, &cue);
    let mut stage = stage(serve(then), &mut transfers);
    stage.run_for(WHILE).unwrap();
    cue.set(Phase::Check);
    stage.run_for(WHILE).unwrap();
    drop(stage);
    transfers.settle(Instant::now());
    let [before, during] = transfers.pauses();
    assert_eq!(before, [Duration::ZERO; 2]);
    // What never came is a pause as well.
    let least = match then {
        Then::KeepSilent => WHILE,
        _ => Duration::from_nanos(1),
    };
    let [_, still] = transfers.still();
    assert!(
        during[0] + still >= least,
        "{then:?}: {during:?}, {still:?}"
    );
    (transfers.faults, transfers.bytes())
}

#[test]
fn a_transfer_that_fails_is_counted_by_how() {
    let (faults, bytes) = transfers(Then::EchoOn);
    assert_eq!(faults.to_string(), "0");
    assert!(bytes > 100_000, "{bytes}");
    assert_eq!(transfers(Then::Reset).0.to_string(), "2 reset");
    assert_eq!(transfers(Then::Close).0.to_string(), "2 closed");
    assert_eq!(transfers(Then::Garble).0.to_string(), "2 wrong");
    assert_eq!(transfers(Then::EchoTwice).0.to_string(), "2 wrong");
    assert_eq!(transfers(Then::KeepSilent).0.to_string(), "2 late");
}

/// New connections for a while, and how many there were.
fn arrivals(target: SocketAddr) -> (Faults, u64) {
    let cue = cue(Then::EchoOn);
    cue.set(Phase::Change);
    let mut arrivals = Arrivals::new(100.0, &cue);
    let mut stage = stage(target, &mut arrivals);
    stage.run_for(WHILE).unwrap();
    cue.set(Phase::Closing);
    stage.run_for(WHILE).unwrap();
    drop(stage);
    arrivals.settle(Instant::now());
    let [before, during] = arrivals.pauses();
    let answered = arrivals.begun - arrivals.faults.total();
    assert!(before.is_empty());
    assert_eq!(during.is_empty(), answered == 0);
    assert!(during.len() as u64 <= answered);
    (arrivals.faults, arrivals.begun)
}

#[test]
fn a_new_connection_that_is_refused_is_counted() {
    let (faults, begun) = arrivals(serve(Then::EchoOn));
    assert_eq!(faults.to_string(), "0");
    assert!(begun > 10, "{begun}");
    // Bound and not listened on: a connect is refused, and nobody else gets the port meanwhile.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let nobody = socket.local_addr().unwrap().as_socket().unwrap();
    let (faults, begun) = arrivals(nobody);
    assert_eq!(faults.to_string(), format!("{begun} refused"));
}
