//! How long the recipes for PostgreSQL and Redis that replicate take to recover from a primary that dies, beside HAProxy with the
//! same intervals. HAProxy has the rest of the template that Patroni comes with (`retries 2`). It measures and takes minutes, so it is a recipe: `just recovery`.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::examples;
use crate::failover::scripted_patroni;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::Scheduler;
use crate::harness::wait::{self, End};
use crate::service::haproxy::Haproxy;
use crate::service::postgres::{Postgres, query, try_query};
use crate::service::redis::{Client, Redis};

/// Of each system. In each the primary dies at another moment between two checks.
const ROUNDS: u32 = 5;

/// Between two writes, each by a connection of its own.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes in a row after which a proxy counts as settled.
const SETTLED: usize = 20;

/// What stands in front of the two servers.
#[derive(Clone, Copy)]
enum System {
    Haproxy,
    Corelane(Scheduler),
}

const SYSTEMS: [System; 4] = [
    System::Haproxy,
    System::Corelane(Scheduler::Glommio),
    System::Corelane(Scheduler::WorkStealing),
    System::Corelane(Scheduler::PerCore),
];

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Corelane(scheduler) => scheduler.name(),
        }
    }
}

/// One that runs.
enum Running {
    Haproxy(Haproxy),
    Corelane(Proxy, &'static str),
}

impl Running {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Haproxy(haproxy) => haproxy.addresses[0],
            Self::Corelane(proxy, listener) => proxy.address(listener),
        }
    }
}

/// What clients noticed.
#[derive(Debug)]
struct Noticed {
    /// From the primary's death to the first write that arrived after it.
    took: Duration,
    /// Writes that did not arrive meanwhile.
    refused: usize,
    /// Writes that were acknowledged, and that the new primary lacks.
    lost: u64,
}

/// One write after another; each says how many there were before it. `die` has the primary die and another one promoted.
fn notice(
    write: impl Fn() -> Result<u64, String> + Sync,
    follows: impl Fn() -> bool,
    before: Duration,
    die: impl FnOnce(),
) -> Noticed {
    let written: Mutex<Vec<(Instant, Option<u64>)>> = Mutex::default();
    let is_over = AtomicBool::new(false);
    let mut died_at = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let count = write().ok();
                written
                    .lock()
                    .expect("no panic")
                    .push((Instant::now(), count));
                thread::sleep(PAUSE);
            }
        });
        let _end = End(&is_over);
        let settled = |since: usize| {
            let written = written.lock().expect("no panic");
            let last = written[since..].iter().rev().take(SETTLED);
            last.filter(|(_, count)| count.is_some()).count() == SETTLED
        };
        wait::until("writes arrive", || settled(0));
        wait::until("the other one follows", follows);
        thread::sleep(before);
        died_at = Instant::now();
        let since = written.lock().expect("no panic").len();
        die();
        wait::until("writes arrive again", || settled(since));
    });
    let written = written.into_inner().expect("no panic");
    let (alive, after): (Vec<_>, Vec<_>) = written.into_iter().partition(|(at, _)| *at < died_at);
    // The first ones may still have reached the primary.
    let refused_at = after.iter().position(|(_, count)| count.is_none());
    let refused_at = refused_at.expect("the primary is gone");
    let behind = &after[refused_at..];
    let arrived = behind.iter().position(|(_, count)| count.is_some());
    let arrived = arrived.expect("it recovers");
    let (at, count) = behind[arrived];
    let mut acknowledged = alive.iter().chain(&after[..refused_at]).rev();
    let last = acknowledged.find_map(|(_, count)| *count).expect("some");
    Noticed {
        took: at - died_at,
        refused: arrived,
        lost: (last + 1).saturating_sub(count.expect("it arrived")),
    }
}

fn servers_of_haproxy(servers: &[SocketAddr], ports: &[u16], intervals: &str) -> String {
    let servers = servers.iter().zip(ports).enumerate();
    let line = |(number, (server, port)): (usize, (&SocketAddr, &u16))| {
        format!("    server s{number} {server} check port {port}\n")
    };
    format!(
        "    retries 2\n    timeout check 5s\n    default-server {intervals} fall 3 rise 2 on-marked-down shutdown-sessions\n{}",
        servers.map(line).collect::<String>()
    )
}

fn redis(system: System, before: Duration) -> Noticed {
    let master = Redis::start();
    let replica = Redis::start_replica_of(&master);
    let servers = [master.address, replica.address];
    let running = match system {
        System::Haproxy => Running::Haproxy(Haproxy::start(1, |addresses| {
            format!(
                "listen master\n    bind {}\n    option tcp-check\n    tcp-check send INFO\\ replication\\r\\nQUIT\\r\\n\n    \
                 tcp-check expect string role:master\n{}",
                addresses[0],
                servers_of_haproxy(
                    &servers,
                    &servers.map(|server| server.port()),
                    "inter 1s fastinter 200ms"
                )
            )
        })),
        System::Corelane(scheduler) => {
            let texts = servers.map(|server| format!("\"{server}\""));
            let replacements = [
                ("127.0.0.1:16380", "127.0.0.1:0"),
                ("\"127.0.0.1:6379\"", &texts[0][..]),
                ("\"127.0.0.1:6380\"", &texts[1]),
            ];
            let proxy = examples::start(scheduler, "redis-replication.toml", &replacements);
            Running::Corelane(proxy, "master")
        }
    };
    let write = || {
        let answer = Client::to(running.address()).ask("INCR written");
        let count = answer
            .as_deref()
            .and_then(|answer| answer.strip_prefix(':'));
        let count: Option<u64> = count.and_then(|count| count.parse().ok());
        count
            .map(|count| count - 1)
            .ok_or_else(|| format!("{answer:?}"))
    };
    let follows = || {
        let copied = Client::to(replica.address).ask("GET written");
        copied.is_some_and(|copied| copied.starts_with('$') && copied != "$-1")
    };
    notice(write, follows, before, || {
        drop(master);
        let promoted = Client::to(replica.address).ask("REPLICAOF NO ONE");
        assert_eq!(promoted.as_deref(), Some("+OK"));
    })
}

fn postgres(system: System, before: Duration) -> Noticed {
    let primary = Postgres::start();
    query(primary.address, "CREATE TABLE written (number int)");
    let standby = Postgres::start_standby_of(&primary);
    let servers = [primary.address, standby.address];
    let patronis = servers.map(scripted_patroni);
    let ports = patronis.each_ref().map(|one| one.address().port());
    let running = match system {
        System::Haproxy => Running::Haproxy(Haproxy::start(1, |addresses| {
            format!(
                "listen primary\n    bind {}\n    option httpchk OPTIONS /primary\n    http-check expect status 200\n{}",
                addresses[0],
                servers_of_haproxy(&servers, &ports, "inter 2s fastinter 500ms")
            )
        })),
        System::Corelane(scheduler) => {
            let texts = servers.map(|server| format!("\"{server}\""));
            let ports = ports.map(|port| format!("check_port = {port}"));
            let replacements = [
                ("127.0.0.1:15434", "127.0.0.1:0"),
                ("127.0.0.1:15435", "127.0.0.1:0"),
                ("\"127.0.0.1:5432\"", &texts[0][..]),
                ("\"127.0.0.1:5433\"", &texts[1]),
                ("check_port = 8008", &ports[0]),
                ("check_port = 8009", &ports[1]),
            ];
            let proxy = examples::start(scheduler, "patroni.toml", &replacements);
            Running::Corelane(proxy, "primary")
        }
    };
    let write = || {
        let insert = "INSERT INTO written VALUES (1) RETURNING (SELECT count(*) FROM written)";
        let count = try_query(running.address(), insert)?;
        count.parse().map_err(|_| count)
    };
    let follows = || {
        let copied = "SELECT count(*) > 2 FROM written";
        try_query(standby.address, copied).is_ok_and(|is| is == "t")
    };
    let noticed = notice(write, follows, before, || {
        drop(primary);
        query(standby.address, "SELECT pg_promote()");
    });
    drop(running);
    noticed
}

#[test]
#[ignore = "it measures, for some minutes: just recovery"]
fn time_to_recover() {
    println!(
        "| servers | proxy | until writes arrive again, s: median | least | most | writes refused meanwhile | acknowledged writes lost |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|");
    type Measure = fn(System, Duration) -> Noticed;
    let recipes: [(&str, Measure, Duration); 2] = [
        ("Redis", redis, Duration::from_secs(1)),
        ("PostgreSQL", postgres, Duration::from_secs(2)),
    ];
    for (name, measure, interval) in recipes {
        let mut all: [Vec<Noticed>; SYSTEMS.len()] = Default::default();
        for round in 0..ROUNDS {
            for (system, noticed) in SYSTEMS.iter().zip(&mut all) {
                // Any moment between two checks, by rounds.
                let before = interval + interval * round / ROUNDS;
                noticed.push(measure(*system, before));
            }
        }
        for (system, noticed) in SYSTEMS.iter().zip(&mut all) {
            noticed.sort_by_key(|one| one.took);
            let seconds = |place: usize| noticed[place].took.as_secs_f64();
            let refused: usize = noticed.iter().map(|one| one.refused).sum();
            let lost: u64 = noticed.iter().map(|one| one.lost).sum();
            println!(
                "| {name} | {} | {:.2} | {:.2} | {:.2} | {refused} | {lost} |",
                system.name(),
                seconds(noticed.len() / 2),
                seconds(0),
                seconds(noticed.len() - 1),
            );
        }
    }
}
