//! The recipes for PostgreSQL and Redis that replicate, at real fail-overs: connections follow the primary, and none goes to a
//! server that is not it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::checks::is_up;
use crate::examples;
use crate::harness::peer::{Server, Service};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, End};
use crate::service::postgres::{Postgres, query, try_query};
use crate::service::redis::{Client, Redis};

each_scheduler!(postgres, redis);

/// Between two writes of a client that goes on whatever happens.
const PAUSE: Duration = Duration::from_millis(20);

/// What stands for Patroni beside a server: a script that asks the server itself whether it is the primary, and answers as
/// Patroni's REST does. It is no Patroni: nobody elects anybody here.
pub(crate) fn scripted_patroni(server: SocketAddr) -> Service {
    scripted_patroni_at(([127, 0, 0, 1], 0).into(), server)
}

/// The same at an address of its own.
pub(crate) fn scripted_patroni_at(address: SocketAddr, server: SocketAddr) -> Service {
    Server::bind_at(address).serve(move |mut stream| {
        let mut request = String::new();
        let mut lines = BufReader::new(&stream);
        while lines.read_line(&mut request).is_ok_and(|count| count > 2) {}
        let wanted = match request.split(' ').nth(1) {
            Some("/primary") => "f",
            _ => "t",
        };
        let recovers = try_query(server, "SELECT pg_is_in_recovery()");
        let status = match recovers.is_ok_and(|recovers| recovers == wanted) {
            true => "200 OK",
            false => "503 Service Unavailable",
        };
        let _ = write!(
            stream,
            "HTTP/1.0 {status}\r\nServer: BaseHTTP/0.6\r\n\r\n{{}}"
        );
    })
}

/// Every check of the recipe comes sooner, and has longer on a busy machine.
const QUICKER: [(&str, &str); 3] = [
    (
        "interval = \"2s\"",
        "interval = \"200ms\"\ntimeout = \"10s\"",
    ),
    ("fast_interval = \"500ms\"", "fast_interval = \"100ms\""),
    ("fall = 3", "fall = 2"),
];

fn postgres(scheduler: Scheduler) {
    let primary = Postgres::start();
    query(primary.address, "CREATE TABLE written (number int)");
    let standby = Postgres::start_standby_of(&primary);
    let servers = [primary.address, standby.address];
    let patronis = servers.map(scripted_patroni);
    let texts = servers.map(|server| format!("\"{server}\""));
    let ports = patronis
        .each_ref()
        .map(|one| format!("check_port = {}", one.address().port()));
    let mut replacements = vec![
        ("127.0.0.1:15434", "127.0.0.1:0"),
        ("127.0.0.1:15435", "127.0.0.1:0"),
        ("\"127.0.0.1:5432\"", &texts[0]),
        ("\"127.0.0.1:5433\"", &texts[1]),
        ("check_port = 8008", &ports[0]),
        ("check_port = 8009", &ports[1]),
    ];
    replacements.extend(QUICKER);
    let proxy = examples::start(scheduler, "patroni.toml", &replacements);
    let roles = |upstream| servers.map(|server| is_up(&proxy, upstream, server));
    wait::until("the primary is found", || roles("primary") == [true, false]);
    wait::until("the standby is found", || roles("standby") == [false, true]);
    let recovers = "SELECT pg_is_in_recovery()";
    assert_eq!(query(proxy.address("standby"), recovers), "t");
    let write = || {
        try_query(
            proxy.address("primary"),
            "INSERT INTO written VALUES (1) RETURNING pg_is_in_recovery()",
        )
    };
    let refusals = write_on(write, |written| {
        wait::until("writes arrive", || written() >= 3);
        let caught_up = "SELECT count(*) > 2 FROM written";
        wait::until("the standby follows", || {
            try_query(standby.address, caught_up).is_ok_and(|is| is == "t")
        });
        drop(primary);
        wait::until("the primary is down", || roles("primary") == [false, false]);
        // Nobody is the primary for a while.
        let before = written();
        thread::sleep(PAUSE * 10);
        assert_eq!(written(), before, "somebody took a write");
        query(standby.address, "SELECT pg_promote()");
        wait::until("the standby is the primary", || {
            roles("primary") == [false, true]
        });
        let before = written();
        wait::until("writes arrive again", || written() >= before + 3);
        wait::until("there is no standby", || roles("standby") == [false, false]);
    });
    let on_standby: Vec<_> = refusals
        .iter()
        .filter(|text| text.contains("read-only"))
        .collect();
    assert!(on_standby.is_empty(), "{on_standby:?}");
    proxy.stop();
}

fn redis(scheduler: Scheduler) {
    let master = Redis::start();
    let replica = Redis::start_replica_of(&master);
    let servers = [master.address, replica.address];
    let texts = servers.map(|server| format!("\"{server}\""));
    let replacements = [
        ("127.0.0.1:16380", "127.0.0.1:0"),
        ("\"127.0.0.1:6379\"", &texts[0][..]),
        ("\"127.0.0.1:6380\"", &texts[1]),
        (
            "interval = \"1s\"",
            "interval = \"200ms\"\ntimeout = \"10s\"",
        ),
        ("fast_interval = \"200ms\"", "fast_interval = \"100ms\""),
        ("fall = 3", "fall = 2"),
    ];
    let proxy = examples::start(scheduler, "redis-replication.toml", &replacements);
    let roles = || servers.map(|server| is_up(&proxy, "master", server));
    wait::until("the master is found", || roles() == [true, false]);
    let replica_says = |words: &str| Client::to(replica.address).ask(words);
    let write = || match Client::connect(&proxy, "master").ask("INCR written") {
        Some(answer) if answer.starts_with(':') => Ok(answer),
        answer => Err(answer.unwrap_or_default()),
    };
    let refusals = write_on(write, |written| {
        wait::until("writes arrive", || written() >= 3);
        wait::until("the replica follows", || {
            replica_says("GET written").is_some_and(|is| is.starts_with('$') && is != "$-1")
        });
        drop(master);
        wait::until("the master is down", || roles() == [false, false]);
        let before = written();
        thread::sleep(PAUSE * 10);
        assert_eq!(written(), before, "somebody took a write");
        assert_eq!(replica_says("REPLICAOF NO ONE"), Some("+OK".to_owned()));
        wait::until("the replica is the master", || roles() == [false, true]);
        let before = written();
        wait::until("writes arrive again", || written() >= before + 3);
    });
    let on_replica: Vec<_> = refusals
        .iter()
        .filter(|text| text.contains("READONLY"))
        .collect();
    assert!(on_replica.is_empty(), "{on_replica:?}");
    proxy.stop();
}

/// Writes again and again, each time by a connection of its own, while `meanwhile` goes on, which can ask how many writes
/// arrived. Returns what was said to those that did not.
fn write_on(
    write: impl Fn() -> Result<String, String> + Sync,
    meanwhile: impl FnOnce(&dyn Fn() -> u16),
) -> Vec<String> {
    let (written, refusals) = (AtomicU16::new(0), Mutex::new(Vec::new()));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                match write() {
                    Ok(_) => drop(written.fetch_add(1, Relaxed)),
                    Err(refusal) => refusals.lock().expect("no panic").push(refusal),
                }
                thread::sleep(PAUSE);
            }
        });
        let _end = End(&is_over);
        meanwhile(&|| written.load(Relaxed));
    });
    refusals.into_inner().expect("no panic")
}
