//! nginx with files to serve.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::bytes::{Digest, send};
use crate::harness::child::Child;
use crate::harness::{port, program, wait};

/// A server with files of its own and nothing outside its directory.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    directory: TempDir,
    _child: Child,
}

impl Nginx {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let port = port::free();
        fs::write(
            directory.path().join("nginx.conf"),
            configuration(port, directory.path()),
        )
        .expect("write");
        fs::create_dir(directory.path().join("files")).expect("mkdir");
        let mut command = Command::new(program::path("nginx"));
        command
            .arg("-p")
            .arg(directory.path())
            .args(["-c", "nginx.conf", "-e", "stderr"]);
        let child = Child::spawn(&mut command, Signal::TERM);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait::until("nginx is ready", || {
            assert!(!child.log().contains("[emerg]"), "{}", child.log());
            TcpStream::connect(address).is_ok()
        });
        Self {
            address,
            directory,
            _child: child,
        }
    }

    pub(crate) fn unix_address(&self) -> String {
        format!(
            "unix:{}",
            self.directory.path().join("nginx.sock").display()
        )
    }

    pub(crate) fn write_file(&self, name: &str, len: u64) -> Digest {
        let path = self.directory.path().join("files").join(name);
        let mut file = BufWriter::new(File::create(path).expect("create"));
        let written = send(&mut file, len, len);
        file.flush().expect("write");
        written
    }
}

/// One process, so that nothing is left when it is killed.
fn configuration(port: u16, directory: &Path) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary
        .map(|name| format!("{name}_temp_path tmp-{name};"))
        .join(" ");
    let socket = directory.join("nginx.sock");
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; {temporary}\n\
         server {{ listen 127.0.0.1:{port} backlog=1024; listen unix:{}; root files; }} }}\n",
        socket.display()
    )
}
