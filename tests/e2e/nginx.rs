//! nginx: a large download, and many requests at once.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::bytes::{Digest, MIB, digest, send};
use crate::harness::child::{self, Child};
use crate::harness::config::forward;
use crate::harness::port;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::{http, wait};

each_scheduler!(download, parallel_requests, over_unix_socket);

/// Requests at once, over 20 files from 1 KB to 1 MB.
const REQUESTS: usize = 200;
const FILES: usize = 20;

/// A server with files of its own and nothing outside its directory.
struct Nginx {
    address: SocketAddr,
    directory: TempDir,
    _child: Child,
}

impl Nginx {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let port = port::free();
        fs::write(
            directory.path().join("nginx.conf"),
            configuration(port, directory.path()),
        )
        .expect("write");
        fs::create_dir(directory.path().join("files")).expect("mkdir");
        let mut command = Command::new(child::program("nginx"));
        command
            .arg("-p")
            .arg(directory.path())
            .args(["-c", "nginx.conf", "-e", "stderr"]);
        let child = Child::spawn(&mut command, Signal::TERM);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait::until("nginx is ready", || {
            assert!(!child.log().contains("[emerg]"), "{}", child.log());
            std::net::TcpStream::connect(address).is_ok()
        });
        Self {
            address,
            directory,
            _child: child,
        }
    }

    fn unix_address(&self) -> String {
        format!(
            "unix:{}",
            self.directory.path().join("nginx.sock").display()
        )
    }

    fn write_file(&self, name: &str, len: u64) -> Digest {
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

fn get(proxy: &Proxy, path: &str) -> Digest {
    let response = http::get_on(proxy.connect("main"), path);
    assert_eq!(response.status, 200, "{path}");
    digest(&response.body)
}

fn download(scheduler: Scheduler) {
    let nginx = Nginx::start();
    let proxy = Proxy::start(scheduler, &forward(&[&nginx.address.to_string()]));
    let written = nginx.write_file("large", 50 * MIB);
    assert_eq!(get(&proxy, "/large"), written);
    proxy.stop();
}

fn parallel_requests(scheduler: Scheduler) {
    let nginx = Nginx::start();
    requests_at_once(scheduler, &nginx, &nginx.address.to_string());
}

fn over_unix_socket(scheduler: Scheduler) {
    let nginx = Nginx::start();
    requests_at_once(scheduler, &nginx, &nginx.unix_address());
}

fn requests_at_once(scheduler: Scheduler, nginx: &Nginx, server: &str) {
    let proxy = Proxy::start(scheduler, &forward(&[server]));
    let sizes = (0..FILES).map(|index| 1000 + index as u64 * 52_579);
    let files: Vec<Digest> = sizes
        .enumerate()
        .map(|(index, len)| nginx.write_file(&format!("file-{index}"), len))
        .collect();
    // All connections stand before the first request is made.
    let clients: Vec<_> = (0..REQUESTS).map(|_| proxy.connect("main")).collect();
    thread::scope(|scope| {
        for (index, client) in clients.into_iter().enumerate() {
            let files = &files;
            scope.spawn(move || {
                let response = http::get_on(client, &format!("/file-{}", index % FILES));
                assert_eq!(
                    digest(&response.body),
                    files[index % FILES],
                    "request {index}"
                );
            });
        }
    });
    proxy.stop();
}
