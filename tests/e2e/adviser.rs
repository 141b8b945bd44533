//! What the adviser says, on the live page. It takes a minute of one load before it says anything; so the proxy's own page
//! is served here, with a state of the proxy's that has advice in it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::config::forward;
use crate::harness::peer::Server;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::Scheduler;
use crate::harness::wait;

const UNEVEN: &str = "imbalance 0.8, core 0 at 90 % and the mean at 50 %, for 3 min: use scheduler = \"tokio\" with mode = \
    \"work-stealing\"; `corelane compare FILE --record` tells what that costs";
const STARVED: &str =
    "the worker of core 1 waits for its CPU 25 % of the time, for 2 min: <b>others</b> use its CPU";

#[test]
fn is_read_out_on_the_page() {
    let proxy = Proxy::start(Scheduler::PerCore, &forward(&["builtin:echo"]));
    let state = proxy.get("/state").body;
    let mut state: Value = serde_json::from_slice(&state).expect("JSON");
    assert!(state["advice"].is_null(), "an idle proxy needs no advice");
    state["advice"] = json!([UNEVEN, STARVED]);
    let shown = Arc::new(Mutex::new(state.clone()));
    let site = Server::bind().serve({
        let (page, shown) = (proxy.get("/").body, shown.clone());
        move |stream| answer(stream, &page, &shown)
    });
    let url = format!("http://{}/", site.address());
    let Some(mut browser) = Browser::open(proxy.directory(), &url) else {
        return;
    };
    let line = format!("Adviser: {UNEVEN} {STARVED}");
    wait::until("the advice is on the page, in words", || {
        browser.readable().lines().any(|text| text == line)
    });
    state["advice"] = json!([]);
    *shown.lock().expect("a state") = state;
    wait::until("advice that is taken back is not", || {
        !browser.readable().contains("Adviser")
    });
    // The page is not empty for that.
    assert!(browser.readable().contains("Imbalance"));
}

/// One answer a connection. That of the events has one event: the page asks again at once, and gets what is shown then.
fn answer(mut stream: TcpStream, page: &[u8], shown: &Mutex<Value>) {
    let mut request = String::new();
    let mut lines = BufReader::new(&stream);
    // A browser may connect and not ask.
    while !request.ends_with("\r\n\r\n") {
        match lines.read_line(&mut request) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let events = || format!("retry: 50\ndata: {}\n\n", shown.lock().expect("a state"));
    let (status, kind, body) = match request.split(' ').nth(1) {
        Some("/") => ("200 OK", "text/html; charset=utf-8", page.to_vec()),
        Some("/events") => ("200 OK", "text/event-stream", events().into_bytes()),
        _ => ("404 Not Found", "text/plain", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n");
    // A browser that was closed doesn't read.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}
