//! Small messages don't wait for each other: Nagle's algorithm is off on both sides.

use std::fs;
use std::io::{Read, Write};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use crate::harness::config::forward;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(ping_pong, on_both_sides);

/// Each half of a message is a write of its own. Were one side without TCP_NODELAY, the second half would
/// wait 40 ms for the acknowledgement of the first, and the reads would still succeed, slowly; that the option
/// is set is what `on_both_sides` shows.
fn ping_pong(scheduler: Scheduler) {
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &forward(&[&echo.address().to_string()]));
    let mut client = proxy.connect("main");
    for trip in 0..1000_u32 {
        let message = [trip.to_le_bytes(); 16].concat();
        let (first, second) = message.split_at(32);
        client.write_all(first).expect("send");
        client.write_all(second).expect("send");
        let mut answer = [0; 64];
        client.read_exact(&mut answer).expect("receive");
        assert_eq!(answer, *message, "trip {trip}");
    }
}

/// Asks the kernel for the option on the proxy's own sockets.
fn on_both_sides(scheduler: Scheduler) {
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &forward(&[&echo.address().to_string()]));
    let mut client = proxy.connect("main");
    client.write_all(b"?").expect("send");
    client.read_exact(&mut [0; 1]).expect("receive");

    let client_address = client.local_addr().expect("address");
    let (mut towards_client, mut towards_server) = (None, None);
    let pid = Pid::from_raw(proxy.pid() as i32).expect("a pid isn't 0");
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd");
    for entry in fs::read_dir(format!("/proc/{}/fd", proxy.pid()))
        .expect("fd")
        .flatten()
    {
        let number = entry
            .file_name()
            .to_string_lossy()
            .parse()
            .expect("a descriptor");
        let socket = match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
            Ok(descriptor) => Socket::from(descriptor),
            Err(rustix::io::Errno::PERM) => {
                return println!("skipped: pidfd_getfd isn't permitted here");
            }
            Err(_) => continue,
        };
        let Some(address) = socket
            .peer_addr()
            .ok()
            .and_then(|address| address.as_socket())
        else {
            continue;
        };
        if address == client_address {
            towards_client = Some(socket.tcp_nodelay().expect("option"));
        } else if address == echo.address() {
            towards_server = Some(socket.tcp_nodelay().expect("option"));
        }
    }
    assert_eq!((towards_client, towards_server), (Some(true), Some(true)));
}
