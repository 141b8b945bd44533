//! PostgreSQL: pgbench, and a COPY of 100 MB in and out.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::{Signal, getuid};
use tempfile::TempDir;

use crate::harness::bytes::{Digest, Hasher, Pattern, receive};
use crate::harness::child::{self, Child};
use crate::harness::config::forward;
use crate::harness::port;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(pgbench, copy);

/// A cluster of its own; what a crash of the machine would do to it doesn't matter.
struct Postgres {
    address: SocketAddr,
    _child: Child,
    _directory: TempDir,
}

impl Postgres {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("data");
        let user = User::for_server();
        user.own(directory.path());
        let mut initdb = Command::new(child::program("initdb"));
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

        let port = port::free();
        let mut server = Command::new(child::program("postgres"));
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
        server.args([
            "-c",
            &format!("unix_socket_directories={}", directory.path().display()),
        ]);
        // SIGQUIT ends the server's other processes too, and frees its shared memory.
        let child = Child::spawn(user.run(&mut server), Signal::QUIT);
        wait::until("PostgreSQL is ready", || {
            child.log().contains("ready to accept connections")
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            address,
            _child: child,
            _directory: directory,
        }
    }
}

/// Whom the server runs as: PostgreSQL refuses to run as root.
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

fn start(scheduler: Scheduler) -> (Postgres, Proxy) {
    let postgres = Postgres::start();
    let proxy = Proxy::start(scheduler, &forward(&[&postgres.address.to_string()]));
    (postgres, proxy)
}

/// A client program that connects through the proxy.
fn client(program: &str, proxy: &Proxy) -> Command {
    let mut command = Command::new(child::program(program));
    let port = proxy.address("main").port().to_string();
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

fn query(proxy: &Proxy, sql: &str) -> String {
    child::run(client("psql", proxy).args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]))
        .trim()
        .to_owned()
}

fn pgbench(scheduler: Scheduler) {
    let (_postgres, proxy) = start(scheduler);
    child::run(client("pgbench", &proxy).args(["-i", "-q"]));
    let report =
        child::run(client("pgbench", &proxy).args(["-c", "8", "-j", "2", "-T", "3", "-n"]));
    assert!(
        report.contains("number of failed transactions: 0 "),
        "{report}"
    );
    // A connection for each transaction.
    let report = child::run(client("pgbench", &proxy).args(["-C", "-c", "8", "-t", "25", "-n"]));
    assert!(
        report.contains("transactions actually processed: 200/200"),
        "{report}"
    );
    // Every transaction moves the same sum in three tables: none was lost or done twice.
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
                AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)";
    assert_eq!(query(&proxy, sums), "t");
    proxy.stop();
}

/// Rows of an index and 1,000 hexadecimal digits.
const COPY_ROWS: u64 = 100_000;

fn copy(scheduler: Scheduler) {
    let (_postgres, proxy) = start(scheduler);
    query(
        &proxy,
        "CREATE UNLOGGED TABLE copied (index int PRIMARY KEY, text text)",
    );
    let written = copy_in(&proxy);
    assert!(written.len > 100_000_000, "{written:?}");
    assert_eq!(copy_out(&proxy), written);
    proxy.stop();
}

fn copy_in(proxy: &Proxy) -> Digest {
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    let source = thread::spawn(move || {
        let (mut pattern, mut hasher) = (Pattern::new(11), Hasher::default());
        for index in 0..COPY_ROWS {
            let mut row = format!("{index}\t");
            for _ in 0..63 {
                row.push_str(&format!("{:016x}", pattern.next()));
            }
            row.push('\n');
            writer
                .write_all(row.as_bytes())
                .expect("psql takes the rows");
            hasher.write_all(row.as_bytes()).expect("hash");
        }
        hasher.digest()
    });
    let mut psql = client("psql", proxy);
    psql.args([
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        "COPY copied FROM STDIN",
    ]);
    child::run_with_input(&mut psql, Stdio::from(reader));
    source.join().expect("source")
}

fn copy_out(proxy: &Proxy) -> Digest {
    let mut psql = client("psql", proxy);
    psql.args([
        "-XAtq",
        "-c",
        "COPY (SELECT * FROM copied ORDER BY index) TO STDOUT",
    ]);
    let (mut psql, mut stdout) = Child::spawn_piped(&mut psql, Signal::KILL);
    let read = receive(&mut stdout);
    assert!(psql.wait().success(), "{}", psql.log());
    read
}
