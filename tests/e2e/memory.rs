//! What an idle connection costs: of the process's memory, less than 2 KiB.

use std::sync::{Mutex, PoisonError};

use crate::harness::config::forward;
use crate::harness::limit;
use crate::harness::process::resident_bytes;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::service::redis::{Client, Redis};

each_scheduler!(idle_connections);

const CONNECTIONS: usize = 4_000;

const BYTES_MAX: u64 = 2 * 1024;

/// The code's pages, the buffers of each worker, and what an allocator keeps at hand are there after these.
const WARM_UP: usize = 100;

/// Descriptors that the proxy has open for each connection; the test and the server have one.
const DESCRIPTORS_EACH: u64 = 2;

/// Descriptors for everything else.
const DESCRIPTORS_SPARE: u64 = 2_000;

fn idle_connections(scheduler: Scheduler) {
    // The clients of one test are as many descriptors as this process should have at a time.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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
    assert!(each <= BYTES_MAX, "{each} bytes a connection");
    // They are all alive.
    for client in &mut clients {
        client.request(&[b"PING"]);
    }
    assert!(clients.iter_mut().all(|client| client.line() == "+PONG"));
}
