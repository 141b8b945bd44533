//! PostgreSQL: pgbench, and a COPY of 100 MB in and out.

use std::io::Write;
use std::process::Stdio;
use std::thread;

use rustix::process::Signal;

use crate::harness::bytes::{Digest, Hasher, receive};
use crate::harness::chance::Chance;
use crate::harness::child::{self, Child};
use crate::harness::config::forward;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::service::postgres::{Postgres, client, query};

each_scheduler!(pgbench, copy);

fn start(scheduler: Scheduler) -> (Postgres, Proxy) {
    let postgres = Postgres::start();
    let proxy = Proxy::start(scheduler, &forward(&[&postgres.address.to_string()]));
    (postgres, proxy)
}

fn pgbench(scheduler: Scheduler) {
    let (_postgres, proxy) = start(scheduler);
    child::run(client("pgbench", proxy.address("main")).args(["-i", "-q"]));
    let report = child::run(
        client("pgbench", proxy.address("main")).args(["-c", "8", "-j", "2", "-T", "3", "-n"]),
    );
    assert!(
        report.contains("number of failed transactions: 0 "),
        "{report}"
    );
    // A connection for each transaction.
    let report = child::run(
        client("pgbench", proxy.address("main")).args(["-C", "-c", "8", "-t", "25", "-n"]),
    );
    assert!(
        report.contains("transactions actually processed: 200/200"),
        "{report}"
    );
    // Every transaction moves the same sum in three tables: none was lost or done twice.
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
                AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)";
    assert_eq!(query(proxy.address("main"), sums), "t");
    proxy.stop();
}

/// Rows of an index and 1,000 hexadecimal digits.
const COPY_ROWS: u64 = 100_000;

fn copy(scheduler: Scheduler) {
    let (_postgres, proxy) = start(scheduler);
    query(
        proxy.address("main"),
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
        let (mut chance, mut hasher) = (Chance::new(11), Hasher::default());
        for index in 0..COPY_ROWS {
            let mut row = format!("{index}\t");
            for _ in 0..63 {
                row.push_str(&format!("{:016x}", chance.number()));
            }
            row.push('\n');
            writer
                .write_all(row.as_bytes())
                .expect("psql takes the rows");
            hasher.write_all(row.as_bytes()).expect("hash");
        }
        hasher.digest()
    });
    let mut psql = client("psql", proxy.address("main"));
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
    let mut psql = client("psql", proxy.address("main"));
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
