//! What a side said before it reset arrives, whole, and the reset comes after it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use crate::harness::bytes::{MIB, pattern};
use crate::harness::config::{forward, forward_with};
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    an_early_answer_before_a_reset_arrives,
    a_request_before_a_reset_arrives,
    bytes_that_are_held_arrive_before_the_reset,
    a_unix_server_that_takes_nothing_more_is_still_heard,
    a_flood_does_not_keep_last_words_waiting_for_ever,
);

const ROUNDS: usize = 40;

const ANSWER: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";

fn start(scheduler: Scheduler, splice: bool) -> (Server, Proxy) {
    let server = Server::bind();
    let splice = format!("splice = {splice}");
    let routes = forward_with(&[&server.address().to_string()], &splice, "");
    let proxy = Proxy::start(scheduler, &routes);
    (server, proxy)
}

/// Everything until a reset. An orderly end, which nobody sent, fails.
fn read_until_reset(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => panic!("an end that nobody sent, after {} bytes", bytes.len()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    bytes
}

/// The server answers before it has read the upload, and closes: the kernel makes a reset of that.
fn an_early_answer_before_a_reset_arrives(scheduler: Scheduler) {
    for splice in [true, false] {
        let (server, proxy) = start(scheduler, splice);
        let service = server.serve(|mut stream| {
            // A part of the upload.
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(ANSWER);
        });
        for round in 0..ROUNDS {
            let mut client = proxy.connect("main");
            // It may fail half-way: the answer is there all the same.
            let _ = client.write_all(&vec![b'u'; MIB as usize]);
            let answer = read_until_reset(&mut client);
            assert_eq!(answer, ANSWER, "round {round}, splice = {splice}");
        }
        drop(service);
    }
}

/// The client asks and closes without having read what the server says all the time.
fn a_request_before_a_reset_arrives(scheduler: Scheduler) {
    let (server, proxy) = start(scheduler, true);
    for round in 0..ROUNDS {
        let mut client = proxy.connect("main");
        client.write_all(b"begin").expect("send");
        let mut upstream = server.accept();
        let mut begin = [0; 5];
        upstream.read_exact(&mut begin).expect("receive");
        let mut talks = upstream.try_clone().expect("a second handle");
        let talk = thread::spawn(move || while talks.write_all(&[b't'; 10_000]).is_ok() {});
        client.read_exact(&mut [0; 1]).expect("receive");
        client.write_all(b"the last words").expect("send");
        drop(client);
        let words = read_until_reset_or_broken(&mut upstream);
        assert_eq!(words, b"the last words", "round {round}");
        talk.join().expect("the talker");
    }
}

/// The socket tells of the reset once: it may have told the talker.
fn read_until_reset_or_broken(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// The client reads nothing until the server has reset: the answer is in the hands of the proxy, and of its kernel.
fn bytes_that_are_held_arrive_before_the_reset(scheduler: Scheduler) {
    for splice in [true, false] {
        let (server, proxy) = start(scheduler, splice);
        let mut client = proxy.connect("main");
        client.write_all(b"question").expect("send");
        let mut upstream = server.accept();
        upstream.read_exact(&mut [0; 4]).expect("receive");
        let sent = pattern(7, MIB as usize);
        upstream.write_all(&sent).expect("send");
        // What the server's own machine had not sent would be thrown away by the reset.
        wait::until("the proxy's machine has all of it", || {
            proxy_sys::unacknowledged(&upstream).expect("a count") == 0
        });
        // Half of the question is unread, which makes the close a reset.
        drop(upstream);
        thread::sleep(Duration::from_millis(200));
        let answer = read_until_reset(&mut client);
        assert!(
            answer == sent,
            "{} of {} bytes, or others, splice = {splice}",
            answer.len(),
            sent.len()
        );
    }
}

/// `SHUT_RD` on a unix socket makes the other side's sends fail, and says nothing of what it sends itself.
fn a_unix_server_that_takes_nothing_more_is_still_heard(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server");
    let server = UnixListener::bind(&path).expect("bind");
    let proxy = Proxy::start(scheduler, &forward(&[&format!("unix:{}", path.display())]));
    let mut client = proxy.connect("main");
    client.write_all(b"question").expect("send");
    let (mut upstream, _) = server.accept().expect("the proxy connects");
    upstream.read_exact(&mut [0; 8]).expect("receive");
    upstream.shutdown(Shutdown::Read).expect("shutdown");
    client.write_all(b"more").expect("send");
    thread::sleep(Duration::from_millis(200));
    upstream.write_all(b"answer").expect("send");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).expect("the answer");
    assert_eq!(&answer, b"answer");
}

/// The server takes nothing, and sends without end to a client that is lost: its patience is the idle timeout, as it is
/// shorter than a minute.
fn a_flood_does_not_keep_last_words_waiting_for_ever(scheduler: Scheduler) {
    let server = Server::bind();
    let address = server.address().to_string();
    let routes = forward_with(&[&address], "idle_timeout = \"2s\"", "");
    let proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    client.write_all(b"begin").expect("send");
    let mut upstream = server.accept();
    client.set_nonblocking(true).expect("an option");
    let chunk = vec![b'w'; 64 * 1024];
    // Until all buffers are full.
    while wait::holds_within(Duration::from_millis(200), || client.write(&chunk).is_ok()) {}
    let flood = thread::spawn(move || {
        let chunk = vec![b'f'; 64 * 1024];
        while upstream.write_all(&chunk).is_ok() {}
    });
    peer::reset(client);
    wait::until("the server is cut", || {
        proxy.metric("corelane_listener_connections", &[("listener", "main")]) == 0.0
    });
    flood.join().expect("the server");
    let reset = [("listener", "main"), ("cause", "client_reset")];
    assert_eq!(proxy.metric("corelane_listener_ended_total", &reset), 1.0);
    proxy.stop();
}
