//! How much a connection forwards before the others have their turn.

use std::io::{Read, Write};
use std::thread;

use crate::harness::bytes::MIB;
use crate::harness::config::forward_with;
use crate::harness::peer::Server;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(latency);

/// What the configuration's manual promises for 10 µs.
const TURN_BYTES: f64 = 64.0 * 1024.0;

/// Copied before it is known to be bulk, when a turn may be longer by a buffer.
const COPIED_BYTES: f64 = 1024.0 * 1024.0;

fn latency(scheduler: Scheduler) {
    let server = Server::bind();
    let config = forward_with(&[&server.address().to_string()], "latency = \"10us\"", "");
    let proxy = Proxy::start(scheduler, &config);
    let (mut client, mut upstream) = (proxy.connect("main"), server.accept());
    let bytes = 64 * MIB;
    thread::scope(|scope| {
        scope.spawn(|| {
            let chunk = vec![1; MIB as usize];
            (0..bytes / MIB).for_each(|_| client.write_all(&chunk).expect("send"));
        });
        let mut chunk = vec![0; MIB as usize];
        (0..bytes / MIB).for_each(|_| upstream.read_exact(&mut chunk).expect("receive"));
    });
    let forwarded = [("listener", "main"), ("direction", "in")];
    wait::until("all bytes are counted", || {
        proxy.metric("corelane_listener_bytes_total", &forwarded) == bytes as f64
    });
    let turns = proxy.metric("corelane_core_polls_total", &[]);
    let most = turns * TURN_BYTES + COPIED_BYTES;
    assert!(bytes as f64 <= most, "{bytes} bytes in {turns} turns");
}
