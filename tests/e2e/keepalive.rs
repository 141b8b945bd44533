//! Both sides of a connection have a keepalive timer: a peer that vanished without a word is found out.

use std::fs;
use std::io::{Read, Write};

use crate::harness::config::forward_with;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(both_sides_have_a_keepalive_timer);

/// The timer of /proc/net/tcp that is the keepalive's.
const KEEPALIVE: &str = "02";

fn both_sides_have_a_keepalive_timer(scheduler: Scheduler) {
    let echo = peer::echo();
    let routes = forward_with(&[&echo.address().to_string()], "idle_timeout = \"off\"", "");
    let proxy = Proxy::start(scheduler, &routes);
    let mut client = proxy.connect("main");
    client.write_all(b"x").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");
    let listener = proxy.address("main").port();
    let server = echo.address().port();
    // Right after a byte the timer is that of its acknowledgement.
    wait::until("a keepalive timer on both sides", || {
        has_timer(|local, _| local == listener) && has_timer(|_, remote| remote == server)
    });
}

/// Whether there is an established socket with these ports, and all such have the timer.
fn has_timer(ports: impl Fn(u16, u16) -> bool) -> bool {
    const ESTABLISHED: &str = "01";
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let port = |address: &str| {
        let (_, port) = address.split_once(':').expect("an address");
        u16::from_str_radix(port, 16).expect("a port")
    };
    let mut found = false;
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        if fields[3] == ESTABLISHED && ports(port(fields[1]), port(fields[2])) {
            found = true;
            if !fields[5].starts_with(KEEPALIVE) {
                return false;
            }
        }
    }
    found
}
