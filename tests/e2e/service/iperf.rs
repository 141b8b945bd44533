//! iperf3's server.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::{port, program, wait};

/// It serves one client after the other.
pub(crate) struct Iperf {
    pub(crate) address: SocketAddr,
    _child: Child,
}

impl Iperf {
    pub(crate) fn start() -> Self {
        let port = port::free();
        let mut command = Command::new(program::path("iperf3"));
        command.args(["-s", "--forceflush", "-p", &port.to_string()]);
        let child = Child::spawn(&mut command, Signal::KILL);
        wait::until("iperf3 is ready", || child.log().contains("listening"));
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            _child: child,
        }
    }
}
