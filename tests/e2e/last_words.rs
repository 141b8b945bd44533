//! What a side said before it reset arrives, whole, and the reset comes after it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::harness::bytes::{MIB, Pattern};
use crate::harness::config::forward_with;
use crate::harness::peer::Server;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(
    an_early_answer_before_a_reset_arrives,
    a_request_before_a_reset_arrives,
    bytes_that_are_held_arrive_before_the_reset,
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

/// The client is slow, so that the proxy has the end of the answer in its hands when the server resets.
fn bytes_that_are_held_arrive_before_the_reset(scheduler: Scheduler) {
    for splice in [true, false] {
        let (server, proxy) = start(scheduler, splice);
        let mut client = proxy.connect("main");
        client.write_all(b"a question").expect("send");
        let mut upstream = server.accept();
        let mut question = [0; 5];
        upstream.read_exact(&mut question).expect("receive");
        // As much as goes without anybody reading at the other end, short of what the server's own machine keeps: that
        // is thrown away by its reset.
        let mut pattern = Pattern::new(7);
        let mut sent = Vec::new();
        upstream.set_nonblocking(true).expect("an option");
        let mut chunk = vec![0; 64 * 1024];
        loop {
            pattern.fill(&mut chunk);
            match upstream.write(&chunk) {
                Ok(count) => sent.extend_from_slice(&chunk[..count]),
                Err(_) => break,
            }
            if sent.len() > 64 * MIB as usize {
                break;
            }
        }
        // Unread bytes make the close a reset.
        client.write_all(b"more").expect("send");
        drop(upstream);
        let answer = read_until_reset(&mut client);
        let kept = &sent[..answer.len().min(sent.len())];
        assert!(answer == kept, "the bytes differ, splice = {splice}");
        // What the proxy and its kernel had is more than the client's machine takes at once.
        assert!(
            answer.len() > MIB as usize,
            "{} of {} bytes, splice = {splice}",
            answer.len(),
            sent.len()
        );
    }
}
