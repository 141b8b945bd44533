//! Servers that speak TLS: openssl's, each with a certificate and a file of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::child::{self, Child};
use crate::harness::{port, program, wait};

/// `openssl s_server`, which serves the file `who` with its name in it. It has one client at a time.
pub(crate) struct TlsServer {
    pub(crate) address: SocketAddr,
    certificate: PathBuf,
    _child: Child,
    _directory: TempDir,
}

impl TlsServer {
    pub(crate) fn start(name: &str) -> Self {
        Self::start_for(name, "2")
    }

    /// With a certificate that is valid for so many days.
    pub(crate) fn start_for(name: &str, days: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let (certificate, key) = certify(directory.path());
        sign_for(&certificate, &key, days);
        fs::write(directory.path().join("who"), name).expect("write");
        let port = port::free();
        let mut command = Command::new(program::path("openssl"));
        command
            .current_dir(directory.path())
            .args([
                "s_server",
                "-WWW",
                "-4",
                "-accept",
                &format!("127.0.0.1:{port}"),
            ])
            .arg("-cert")
            .arg(&certificate)
            .arg("-key")
            .arg(&key);
        let child = Child::spawn(&mut command, Signal::KILL);
        wait::until("openssl accepts", || child.log().contains("ACCEPT"));
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            certificate,
            _child: child,
            _directory: directory,
        }
    }

    /// The file of its certificate, which is of the name `test`.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }
}

/// A certificate of nobody's and its key, in this directory.
pub(crate) fn certify(directory: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("server.crt"), directory.join("server.key"));
    let mut openssl = Command::new(program::path("openssl"));
    openssl
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=DNS:test"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    child::run(&mut openssl);
    (certificate, key)
}

/// Has a certificate be valid for so many days from now on.
fn sign_for(certificate: &Path, key: &Path, days: &str) {
    let mut openssl = Command::new(program::path("openssl"));
    openssl.args(["x509", "-days", days]);
    openssl
        .arg("-in")
        .arg(certificate)
        .arg("-out")
        .arg(certificate);
    child::run(openssl.arg("-signkey").arg(key));
}

/// What the server says that `curl` reaches by this name at this address: the name of the server.
pub(crate) fn who(address: SocketAddr, name: &str, options: &[&str]) -> String {
    let mut curl = curl(address, name, options);
    child::run(&mut curl)
}

/// `curl` for the file of a [`TlsServer`].
pub(crate) fn curl(address: SocketAddr, name: &str, options: &[&str]) -> Command {
    let port = address.port();
    let mut curl = Command::new(program::path("curl"));
    curl.args(["--silent", "--show-error", "--insecure", "--max-time", "60"])
        .args(["--noproxy", "*"])
        .args(["--resolve", &format!("{name}:{port}:{}", address.ip())])
        .args(options)
        .arg(format!("https://{name}:{port}/who"));
    curl
}
