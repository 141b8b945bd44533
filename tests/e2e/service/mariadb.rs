//! MariaDB in a directory of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use rustix::process::{Signal, getuid};
use tempfile::TempDir;

use crate::harness::child::{self, Child};
use crate::harness::{port, program, wait};

/// A server with its own users only, and a password for each.
pub(crate) struct Mariadb {
    pub(crate) address: SocketAddr,
    child: Child,
    _directory: TempDir,
}

impl Mariadb {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let data = format!("--datadir={}", directory.path().join("data").display());
        let user: &[&str] = if getuid().is_root() {
            &["--user=root"]
        } else {
            &[]
        };
        let mut install = Command::new(program::path("mariadb-install-db"));
        install
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", &data])
            .args(user);
        child::run(&mut install);
        let port = port::free();
        let socket = directory.path().join("mariadb.sock");
        let mut server = Command::new(program::path("mariadbd"));
        server
            .args(["--no-defaults", "--bind-address=127.0.0.1", &data])
            .args([
                format!("--port={port}"),
                format!("--socket={}", socket.display()),
            ])
            // So that a client that leaves in the middle of the handshake is blocked after two.
            .args([
                "--max-connect-errors=2",
                "--innodb-flush-method=fsync",
                "--log-warnings=2",
            ])
            .args(user);
        let child = Child::spawn(&mut server, Signal::KILL);
        wait::until("MariaDB is ready", || {
            child.log().contains("ready for connections")
        });
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            child,
            _directory: directory,
        }
    }

    pub(crate) fn log(&self) -> String {
        self.child.log()
    }
}
