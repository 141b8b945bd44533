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
    /// Where it wants a header of the PROXY protocol. There, `/client` is the client that was announced.
    pub(crate) behind_proxy: SocketAddr,
    directory: TempDir,
    _child: Child,
}

impl Nginx {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let ports = [port::free(), port::free()];
        fs::write(
            directory.path().join("nginx.conf"),
            configuration(ports, directory.path()),
        )
        .expect("write");
        fs::create_dir(directory.path().join("files")).expect("mkdir");
        let [address, behind_proxy] =
            ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let child = spawn(directory.path(), address);
        Self {
            address,
            behind_proxy,
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

/// nginx as a proxy that announces its clients by the PROXY protocol, version 1.
pub(crate) struct NginxStream {
    pub(crate) address: SocketAddr,
    _directory: TempDir,
    _child: Child,
}

impl NginxStream {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()));
        let text = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
             daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
             events {{ worker_connections 1024; }}\n\
             stream {{ server {{ listen {address}; proxy_pass {to}; proxy_protocol on; }} }}\n"
        );
        fs::write(directory.path().join("nginx.conf"), text).expect("write");
        let child = spawn(directory.path(), address);
        Self {
            address,
            _directory: directory,
            _child: child,
        }
    }
}

/// Starts the configuration in a directory, and waits until it listens.
fn spawn(directory: &Path, address: SocketAddr) -> Child {
    let mut command = Command::new(program::path("nginx"));
    command
        .arg("-p")
        .arg(directory)
        .args(["-c", "nginx.conf", "-e", "stderr"]);
    let child = Child::spawn(&mut command, Signal::TERM);
    wait::until("nginx is ready", || {
        assert!(!child.log().contains("[emerg]"), "{}", child.log());
        TcpStream::connect(address).is_ok()
    });
    child
}

/// One process, so that nothing is left when it is killed.
fn configuration([port, behind_proxy]: [u16; 2], directory: &Path) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary
        .map(|name| format!("{name}_temp_path tmp-{name};"))
        .join(" ");
    let socket = directory.join("nginx.sock");
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; {temporary}\n\
         server {{ listen 127.0.0.1:{port} backlog=1024; listen unix:{}; listen 127.0.0.1:{behind_proxy} proxy_protocol;\n\
         root files; default_type text/plain;\n\
         location /client {{ return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; }} }} }}\n",
        socket.display()
    )
}
