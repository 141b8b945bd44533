//! The PROXY protocol, in and out, with HAProxy and nginx on both sides: who the client is, and that no byte is lost.

mod changes;
mod peers;
mod real_peers;
mod sent;
mod who_may;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use serde_json::Value;

use crate::harness::http;
use crate::harness::proxy::Proxy;
use crate::harness::wait;

/// Another address of loopback's than the one that everybody else has.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";
const ANNOUNCED: &str = "192.0.2.7:56324";

fn prologues(proxy: &Proxy, result: &str) -> f64 {
    let labels = [("result", result)];
    proxy.metric("corelane_listener_prologue_total", &labels)
}

fn own(stream: &TcpStream) -> SocketAddr {
    stream.local_addr().expect("address")
}

fn list(proxy: &Proxy) -> Vec<Value> {
    let list: Value = serde_json::from_slice(&proxy.get("/connections").body).expect("JSON");
    list["connections"].as_array().expect("an array").clone()
}

/// A log in a file of its own, by its section.
fn access_log(directory: &tempfile::TempDir) -> String {
    let path = directory.path().join("access.log");
    format!("[access_log]\npath = {path:?}\nformat = \"json\"\n")
}

/// Waits for so many lines.
fn lines(directory: &tempfile::TempDir, count: usize) -> Vec<Value> {
    let path = directory.path().join("access.log");
    let read = || fs::read_to_string(&path).unwrap_or_default();
    wait::until("lines in the log", || read().lines().count() >= count);
    let read = read();
    let lines = read
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

fn text(response: http::Response) -> String {
    assert_eq!(response.status, 200);
    String::from_utf8(response.body).expect("text")
}
