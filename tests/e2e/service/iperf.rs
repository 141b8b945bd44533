//! iperf3's server.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::child::Child;
use crate::harness::{port, program, wait};

/// One server, in a directory for the files of the test.
pub(crate) struct Iperf {
    pub(crate) address: SocketAddr,
    _child: Child,
    pub(crate) directory: TempDir,
}

impl Iperf {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let port = port::free();
        let mut command = Command::new(program::path("iperf3"));
        command
            .current_dir(directory.path())
            .args(["-s", "--forceflush", "-p", &port.to_string()]);
        let child = Child::spawn(command.args(arguments), Signal::KILL);
        wait::until("iperf3 is ready", || child.log().contains("listening"));
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            _child: child,
            directory,
        }
    }
}
