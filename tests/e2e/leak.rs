//! Tens of thousands of short connections leave descriptors and memory where they were.
//!
//! `CORELANE_SOAK=full` makes it 100,000. Half as many are always tried of each scheduler without the binary around it, by the
//! endurance tests of the backends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::thread;

use crate::harness::config::route;
use crate::harness::peer;
use crate::harness::process::{descriptors, resident_bytes};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(short_connections, refused_connections);

/// They fill pools, grow tables and touch the code's pages.
const WARM_UP: u32 = 5_000;

const CONNECTIONS: u32 = 15_000;
const CONNECTIONS_FULL: u32 = 100_000;
const REFUSED: u32 = 7_500;

/// A leak of 280 bytes a connection is over it, far less than what one has; what allocators and the kernel keep for themselves
/// is below.
const GROWTH_MAX: u64 = 4 * 1024 * 1024;

const CLIENTS: u32 = 4;

/// Destinations that the connections are spread over, so that the ephemeral ports of one don't run out while
/// closed connections are in TIME_WAIT.
const DESTINATIONS: u32 = 32;

fn short_connections(scheduler: Scheduler) {
    let proxy = Proxy::start(
        scheduler,
        &route("main", "0.0.0.0:0", &["builtin:echo"], "", ""),
    );
    let count = match std::env::var("CORELANE_SOAK").as_deref() {
        Ok("full") => CONNECTIONS_FULL,
        _ => CONNECTIONS,
    };
    assert_no_leak(&proxy, count, |address, index| {
        let mut client = peer::connect(address);
        client.write_all(&[index as u8; 64]).expect("send");
        let mut answer = [0; 64];
        client.read_exact(&mut answer).expect("receive");
        assert_eq!(answer, [index as u8; 64]);
        // Half of them end in order, the others by a reset.
        if index % 2 == 0 {
            client.shutdown(Shutdown::Write).expect("shutdown");
            assert_eq!(client.read(&mut answer).expect("an orderly end"), 0);
        } else {
            peer::reset(client);
        }
    });
}

/// The ways out after a failed connect are others.
fn refused_connections(scheduler: Scheduler) {
    let refusing = peer::refusing().to_string();
    let proxy = Proxy::start(scheduler, &route("main", "0.0.0.0:0", &[&refusing], "", ""));
    assert_no_leak(&proxy, REFUSED, |address, _| {
        peer::assert_closed_unanswered(peer::connect(address));
    });
}

fn assert_no_leak(proxy: &Proxy, count: u32, connection: impl Fn(SocketAddr, u32) + Sync) {
    run(proxy, WARM_UP, &connection);
    let descriptors_before = descriptors(proxy.pid());
    let resident_before = resident_bytes(proxy.pid());

    run(proxy, count, &connection);
    wait::until("no descriptor more than before", || {
        descriptors(proxy.pid()) <= descriptors_before
    });
    let growth = resident_bytes(proxy.pid()).saturating_sub(resident_before);
    assert!(
        growth <= GROWTH_MAX,
        "{growth} bytes more after {count} connections"
    );
}

/// Makes `count` connections and waits until the proxy has ended all of them.
fn run(proxy: &Proxy, count: u32, connection: &(impl Fn(SocketAddr, u32) + Sync)) {
    let port = proxy.address("main").port();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for index in (client..count).step_by(CLIENTS as usize) {
                    let host =
                        Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + index % DESTINATIONS);
                    connection(SocketAddr::from((host, port)), index);
                }
            });
        }
    });
    wait::until("end of all connections", || {
        proxy.metric("corelane_listener_connections", &[("listener", "main")]) == 0.0
    });
}
