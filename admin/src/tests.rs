//! The admin server, asked over sockets.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::http::events;
use proxy_core::listen::{self, BindAddress};
use proxy_state::State;

fn listening() -> (SocketAddr, Vec<Descriptor>) {
    let any = BindAddress::Tcp(([127, 0, 0, 1], 0).into());
    let bound = listen::bind(&any, BACKLOG, 1).expect("a port of loopback");
    (
        address_of(&bound.sockets[0]).expect("it is TCP"),
        bound.sockets,
    )
}

/// One whose commands nobody takes.
fn api(observed: &Arc<Observed>) -> Arc<Api> {
    let (commands, _) = tokio::sync::mpsc::channel(1);
    Arc::new(Api::new(observed.clone(), commands))
}

fn admin() -> (Admin, Arc<Observed>) {
    let observed = Arc::new(fixture::proxy());
    let (address, sockets) = listening();
    let api = api(&observed);
    let mut admin =
        start(address, observed.clone(), &[], api, Security::default()).expect("threads");
    admin.serve(sockets).expect("it is TCP");
    (admin, observed)
}

/// Sends `head` with an end of its own, and reads until the server closes.
fn ask(admin: &Admin, head: &str) -> String {
    let mut stream = TcpStream::connect(admin.address).expect("it listens");
    let request = format!("{head} HTTP/1.1\r\nhost: corelane\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn endpoints_answer() {
    let (admin, observed) = admin();
    let metrics = ask(&admin, "GET /metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(metrics.contains("\ncorelane_core_connections{core=\"0\"} "));
    assert!(ask(&admin, "GET /healthz").ends_with("\r\n\r\nok\n"));
    assert!(ask(&admin, "GET /readyz").ends_with("\r\n\r\nready\n"));
    observed.start_draining();
    let draining = ask(&admin, "GET /readyz");
    assert!(draining.starts_with("HTTP/1.1 503 "), "{draining}");
    assert!(draining.ends_with("\r\n\r\ndraining\n"));
    assert!(ask(&admin, "GET /healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn the_page_and_what_it_shows() {
    let (admin, _) = admin();
    let page = ask(&admin, "GET /");
    assert!(page.contains("content-security-policy: default-src 'none'; "));
    assert!(page.contains("\r\n\r\n<!doctype html>"), "{page}");
    let state = ask(&admin, "GET /state");
    let (head, body) = state.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("content-type: application/json"), "{head}");
    let state: State = serde_json::from_str(body).expect("JSON");
    assert_eq!((state.cores.len(), &state.scheduler[..]), (2, "some"));
    assert!(ask(&admin, "GET /config").starts_with("HTTP/1.1 200 "));
}

/// Asks for events, and reads until one, or a refusal, is complete.
fn subscribe(admin: &Admin) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(admin.address).expect("it listens");
    stream
        .write_all(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    while !answer.contains("\n\n") && !answer.contains("/state") {
        read_more(&mut stream, &mut answer);
    }
    (stream, answer)
}

fn read_more(stream: &mut TcpStream, answer: &mut String) {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).expect("it answers");
    assert!(count > 0, "ended after {answer:?}");
    answer.push_str(str::from_utf8(&bytes[..count]).expect("ASCII"));
}

#[test]
fn events_follow_each_other() {
    let (admin, _) = admin();
    let (mut stream, mut answer) = subscribe(&admin);
    assert!(
        answer.contains("content-type: text/event-stream"),
        "{answer}"
    );
    let states = |answer: &str| -> Vec<State> {
        let whole = answer.rsplit_once("\n\n").expect("an event").0;
        let data = whole.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|json| serde_json::from_str(json).expect("JSON"))
            .collect()
    };
    assert_eq!(states(&answer)[0].cores.len(), 2);
    // Each has what is new of the history only.
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < 3 {
        read_more(&mut stream, &mut answer);
        let history = states(&answer).into_iter().flat_map(|state| state.history);
        numbers = history.map(|point| point.number).collect();
    }
    let in_turn = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert!(in_turn, "{numbers:?}");
}

#[test]
fn subscribers_are_bounded() {
    let (admin, _) = admin();
    let mut held: Vec<_> = (0..events::SUBSCRIBERS_MAX)
        .map(|_| subscribe(&admin))
        .collect();
    let (_, refusal) = subscribe(&admin);
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    drop(held.pop());
    // The server hears of the end when it sends the next event.
    let again = (0..1000).any(|_| {
        thread::park_timeout(std::time::Duration::from_millis(10));
        subscribe(&admin).1.starts_with("HTTP/1.1 200 ")
    });
    assert!(again, "a subscriber that left is still counted");
}

#[test]
fn head_has_no_body_and_other_methods_are_refused() {
    let (admin, _) = admin();
    let head = ask(&admin, "HEAD /healthz");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-length: 3\r\n") && head.ends_with("\r\n\r\n"));
    let post = ask(&admin, "POST /metrics");
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    assert!(post.contains("allow: GET, HEAD\r\n"));
    assert!(ask(&admin, "GET /nothing").starts_with("HTTP/1.1 404 "));
    assert!(ask(&admin, "POST /nothing").starts_with("HTTP/1.1 404 "));
}

#[test]
fn headers_are_bounded() {
    let (admin, _) = admin();
    let long = "x".repeat(2 * server::HEADER_BYTES_MAX);
    let answer = ask(&admin, &format!("GET /{long}"));
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[test]
fn silent_connections_go_for_new_ones() {
    let (admin, _) = admin();
    let connect = || TcpStream::connect(admin.address).expect("it listens");
    let (mut listener, _) = subscribe(&admin);
    let half = b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ";
    let silent: Vec<_> = (0..3 * server::ADMIN_CONNECTIONS_MAX)
        .map(|number| {
            let mut stream = connect();
            if number % 2 == 0 {
                // It may be closed already.
                let _ = stream.write_all(half);
            }
            stream
        })
        .collect();
    for _ in 0..3 {
        assert!(ask(&admin, "GET /healthz").ends_with("\r\n\r\nok\n"));
    }
    // Who listens is kept as long as others can go.
    let mut event = String::new();
    read_more(&mut listener, &mut event);
    let gone = silent.into_iter().filter(|mut stream| {
        stream.set_nonblocking(true).expect("a socket");
        !matches!(stream.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    });
    assert!(gone.count() >= 2 * server::ADMIN_CONNECTIONS_MAX);
}

#[test]
fn who_is_no_name_of_ours_sees_no_client() {
    let (admin, _) = admin();
    let get = |path: &str, host: &str| {
        let mut stream = TcpStream::connect(admin.address).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };
    for path in ["/", "/connections", "/state", "/events", "/config"] {
        let refusal = get(path, "evil.example");
        assert!(refusal.starts_with("HTTP/1.1 403 "), "{path}: {refusal}");
        assert!(refusal.contains("hosts = [\"evil.example\"]"), "{refusal}");
    }
    let listed = get("/connections", &admin.address.to_string());
    assert!(listed.starts_with("HTTP/1.1 200 "), "{listed}");
    assert!(get("/healthz", "corelane.example").starts_with("HTTP/1.1 200 "));
}

#[test]
fn one_that_never_served_ends() {
    let address = ([127, 0, 0, 1], 1).into();
    let observed = Arc::new(fixture::proxy());
    let api = api(&observed);
    drop(start(address, observed, &[], api, Security::default()).expect("threads"));
}

#[test]
fn an_address_that_is_released_can_be_bound_while_clients_are_served() {
    let (admin, _) = admin();
    let (mut stream, mut answer) = subscribe(&admin);
    admin.release();
    let address = BindAddress::Tcp(admin.address);
    listen::reserve(&address, 1).expect("nobody listens there");
    read_more(&mut stream, &mut answer);
}

#[test]
fn who_waits_where_it_was_is_served() {
    let (mut admin, _) = admin();
    let old = admin.address;
    // The thread is busy with them, so that some wait when it moves.
    let mut clients: Vec<_> = (0..32)
        .map(|_| TcpStream::connect(old).expect("it listens"))
        .collect();
    let (address, sockets) = listening();
    admin.serve(sockets).expect("it is TCP");
    assert_eq!(admin.address, address);
    TcpStream::connect(old).expect_err("it has moved");
    for client in &mut clients {
        let head = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(head).expect("it is connected");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("it is served");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(ask(&admin, "GET /healthz").ends_with("\r\n\r\nok\n"));
}
