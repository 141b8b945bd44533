//! HAProxy with a configuration of the test's.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::child::Child;
use crate::harness::{port, program, wait};

/// One process, with nothing outside its directory.
pub(crate) struct Haproxy {
    /// Where its frontends listen, in their order.
    pub(crate) addresses: Vec<SocketAddr>,
    _directory: TempDir,
    _child: Child,
}

impl Haproxy {
    /// Starts one with so many frontends, whose sections `sections` makes of their addresses.
    pub(crate) fn start(frontends: usize, sections: impl FnOnce(&[SocketAddr]) -> String) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let address = |_| SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()));
        let addresses: Vec<_> = (0..frontends).map(address).collect();
        let file = directory.path().join("haproxy.cfg");
        let text = format!(
            "global\n    maxconn 1000\n    nbthread 1\ndefaults\n    mode tcp\n    timeout connect 60s\n    timeout client 60s\n    \
             timeout server 60s\n{}",
            sections(&addresses)
        );
        fs::write(&file, text).expect("write");
        let mut command = Command::new(program::path("haproxy"));
        command.arg("-db").arg("-f").arg(&file);
        let child = Child::spawn(&mut command, Signal::TERM);
        wait::until("HAProxy is ready", || {
            assert!(!child.log().contains("[ALERT]"), "{}", child.log());
            let is_ready = |address: &SocketAddr| TcpStream::connect(address).is_ok();
            addresses.iter().all(is_ready)
        });
        Self {
            addresses,
            _directory: directory,
            _child: child,
        }
    }
}
