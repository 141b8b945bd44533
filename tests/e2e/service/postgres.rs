//! PostgreSQL in a directory of its own, and its client programs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, getuid};
use tempfile::TempDir;

use crate::harness::child::{self, Child};
use crate::harness::{port, program, wait};
use crate::service::tls;

/// A cluster of its own; what a crash of the machine would do to it doesn't matter.
pub(crate) struct Postgres {
    pub(crate) address: SocketAddr,
    _child: Child,
    _directory: TempDir,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_on(port::free())
    }

    /// At a port of its own.
    pub(crate) fn start_on(port: u16) -> Self {
        Self::start_if_tls(false, port)
    }

    /// With a certificate of nobody's.
    pub(crate) fn start_with_tls() -> Self {
        Self::start_if_tls(true, port::free())
    }

    fn start_if_tls(with_tls: bool, port: u16) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("data");
        let user = User::for_server();
        user.own(directory.path());
        let mut initdb = Command::new(program::path("initdb"));
        initdb.arg("-D").arg(&data).args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "-N",
            "--locale=C",
            "-E",
            "UTF8",
        ]);
        child::run(user.run(initdb.current_dir(directory.path())));

        Self::serve(directory, with_tls, port)
    }

    /// A standby that follows a server.
    pub(crate) fn start_standby_of(primary: &Self) -> Self {
        Self::start_standby_on(primary, port::free())
    }

    /// The same at a port of its own.
    pub(crate) fn start_standby_on(primary: &Self, port: u16) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let user = User::for_server();
        user.own(directory.path());
        let mut backup = client("pg_basebackup", primary.address);
        backup
            .current_dir(directory.path())
            .args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"])
            .arg(directory.path().join("data"));
        child::run(user.run(&mut backup));
        Self::serve(directory, false, port)
    }

    /// Starts a server of the cluster in `data` of a directory.
    fn serve(directory: TempDir, with_tls: bool, port: u16) -> Self {
        let data = directory.path().join("data");
        let user = User::for_server();
        let mut server = Command::new(program::path("postgres"));
        server
            .current_dir(directory.path())
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "full_page_writes=off",
            "max_wal_size=4GB",
        ] {
            server.args(["-c", setting]);
        }
        if with_tls {
            let (certificate, key) = tls::certify(directory.path());
            user.own(&key);
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
            for setting in [
                "ssl=on".to_owned(),
                format!("ssl_cert_file={}", certificate.display()),
                format!("ssl_key_file={}", key.display()),
            ] {
                server.args(["-c", &setting]);
            }
        }
        server.args([
            "-c",
            &format!("unix_socket_directories={}", directory.path().display()),
        ]);
        // SIGQUIT ends the server's other processes too, and frees its shared memory.
        let child = Child::spawn(user.run(&mut server), Signal::QUIT);
        wait::until("PostgreSQL is ready", || {
            child.log().contains("ready to accept")
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            address,
            _child: child,
            _directory: directory,
        }
    }
}

/// The user that the server runs as: PostgreSQL refuses to run as root.
struct User(Option<(u32, u32)>);

impl User {
    fn for_server() -> Self {
        if !getuid().is_root() {
            return Self(None);
        }
        let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        let user = users.lines().find(|line| line.starts_with("postgres:"));
        let mut fields = user
            .expect("the user postgres, of Debian's package")
            .split(':')
            .skip(2);
        let mut id = || fields.next().and_then(|id| id.parse().ok()).expect("an id");
        Self(Some((id(), id())))
    }

    fn own(&self, directory: &Path) {
        if let Self(Some((user, group))) = self {
            chown(directory, Some(*user), Some(*group)).expect("chown");
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("chmod");
        }
    }

    fn run<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Self(Some((user, group))) = self {
            command.uid(*user).gid(*group);
        }
        command
    }
}

/// A client program that connects through the proxy.
pub(crate) fn client(program: &str, address: SocketAddr) -> Command {
    let mut command = Command::new(program::path(program));
    let port = address.port().to_string();
    // The client's own settings must not lead it elsewhere, or to ask for a password.
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port)
        .env("PGUSER", "postgres");
    command
        .env("PGDATABASE", "postgres")
        .env("PGSSLMODE", "disable")
        .env("PGCONNECT_TIMEOUT", "30");
    command
}

/// The same as [`query`], and what the client says where that fails.
pub(crate) fn try_query(address: SocketAddr, sql: &str) -> Result<String, String> {
    let mut psql = client("psql", address);
    let output = psql
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .output();
    let output = output.expect("psql");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

pub(crate) fn query(address: SocketAddr, sql: &str) -> String {
    child::run(client("psql", address).args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]))
        .trim()
        .to_owned()
}
