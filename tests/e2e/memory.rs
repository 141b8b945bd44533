//! What connections cost of the process's memory: an idle one less than 2 KiB, and one in its prologue what it has said.

use std::io::Write;

use crate::harness::config::{forward, forward_with};
use crate::harness::limit;
use crate::harness::process::resident_bytes;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::redis::{Client, Redis};

each_scheduler!(idle_connections, connections_in_the_prologue);

const CONNECTIONS: usize = 4_000;

const BYTES_MAX_IDLE: u64 = 2 * 1024;

/// The code's pages, the buffers of each worker, and what an allocator keeps at hand are there after these.
const WARM_UP: usize = 100;

/// Descriptors that the proxy has open for each connection; the test and the server have one.
const DESCRIPTORS_EACH: u64 = 2;

/// Descriptors for everything else.
const DESCRIPTORS_SPARE: u64 = 2_000;

fn idle_connections(scheduler: Scheduler) {
    let _alone = limit::alone();
    if !limit::descriptors(CONNECTIONS as u64 * DESCRIPTORS_EACH + DESCRIPTORS_SPARE) {
        return;
    }
    let redis = Redis::start();
    let proxy = Proxy::start(scheduler, &forward(&[&redis.address.to_string()]));
    let mut clients = Vec::new();
    let mut open = |count| {
        for _ in 0..count {
            let mut client = Client::connect(&proxy, "main");
            // Bytes have gone both ways: buffers, timers and watches are what they will be.
            client.request(&[b"ECHO", &[b'x'; 5_000]]);
            assert_eq!(client.bulk().len(), 5_000);
            clients.push(client);
        }
    };
    open(WARM_UP);
    let before = resident_bytes(proxy.pid());
    open(CONNECTIONS);
    let each = resident_bytes(proxy.pid()).saturating_sub(before) / CONNECTIONS as u64;
    println!("{each} bytes a connection");
    assert!(each <= BYTES_MAX_IDLE, "{each} bytes a connection");
    // They are all alive.
    for client in &mut clients {
        client.request(&[b"PING"]);
    }
    assert!(clients.iter_mut().all(|client| client.line() == "+PONG"));
}

/// Connections that have sent nearly all that a ClientHello may have.
fn connections_in_the_prologue(scheduler: Scheduler) {
    const HEARD: usize = 1_000;
    /// What the README says of a ClientHello, and what any connection costs.
    const BYTES_MAX: u64 = 64 * 1024 + 4 * 1024;
    let _alone = limit::alone();
    if !limit::descriptors(HEARD as u64 * DESCRIPTORS_EACH + DESCRIPTORS_SPARE) {
        return;
    }
    let listener = "prologue_timeout = \"10m\"\n[[listeners.main.routes]]\nsni = \"a.example\"\nreject = true\n";
    let proxy = Proxy::start(scheduler, &forward_with(&["builtin:echo"], listener, ""));
    // A message of 65,000 bytes in records of 16 KiB each, of which some 60,000 come.
    let record = |content: &[u8]| {
        let length = (content.len() as u16).to_be_bytes();
        [&[22, 3, 1][..], &length, content].concat()
    };
    let mut said = record(&[&[1, 0, 0xfd, 0xe8][..], &[0; 16_380]].concat());
    (0..2).for_each(|_| said.extend(record(&[0; 16_384])));
    said.extend(record(&[0; 16_384])[..10_000].iter());
    let mut clients = Vec::new();
    let mut open = |count| {
        for _ in 0..count {
            let mut client = proxy.connect("main");
            client.write_all(&said).expect("send");
            clients.push(client);
        }
        let open = clients.len() as f64;
        let heard = || {
            let listed = proxy.get("/connections").body;
            String::from_utf8(listed).expect("JSON")
        };
        wait::until("all are heard", || {
            proxy.metric("corelane_listener_connections", &[("listener", "main")]) == open
        });
        assert!(heard().contains("\"prologue\""), "{}", heard());
    };
    open(WARM_UP);
    let before = resident_bytes(proxy.pid());
    open(HEARD);
    // What has not been received yet comes.
    let each = || resident_bytes(proxy.pid()).saturating_sub(before) / HEARD as u64;
    wait::until("they are heard", || each() >= said.len() as u64 / 2);
    let mut last = 0;
    wait::until("nothing more is received", || {
        let now = each();
        now <= std::mem::replace(&mut last, now)
    });
    println!("{last} bytes a connection");
    assert!(last <= BYTES_MAX, "{last} bytes a connection");
    // It is the system's again when they are gone, but for what idle connections leave.
    clients.clear();
    wait::until("the memory is given back", || {
        let left = resident_bytes(proxy.pid()).saturating_sub(before);
        left <= HEARD as u64 * BYTES_MAX_IDLE
    });
}
