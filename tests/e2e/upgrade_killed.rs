//! One of the two processes is killed while one takes over from the other: no byte is doubled, each connection is one process's or
//! ends, and the one that is left goes on.
//!
//! `CORELANE_KILLS` says how often, where the tests have no time for more.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::bytes::Pattern;
use crate::harness::chance::Chance;
use crate::harness::config::{forward, forward_with};
use crate::harness::heirs::{self, Heirs};
use crate::harness::peer;
use crate::harness::proxy::{Proxy, configuration_with};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upgrade::ask;

each_scheduler!(
    one_of_two_is_killed,
    commands_find_the_old_one_when_the_new_one_is_killed,
);

/// How often, unless it is said.
const KILLS: usize = 2;

/// Connections that say something all along, and those that wait.
const TALKING: usize = 40;
const IDLE: usize = 300;

/// The longest time until one of the processes is killed, from when the new one is started, and from when it accepts.
const DELAYS_MAX_US: [u64; 2] = [160_000, 20_000];

/// How often an upgrade may be over before one is killed, beside four times for each kill.
const LATE_MAX: usize = 20;

/// Bytes of a message.
const MESSAGE: usize = 1000;

fn kills() -> usize {
    let kills = std::env::var("CORELANE_KILLS").ok();
    kills.map_or(KILLS, |kills| kills.parse().expect("a number"))
}

fn one_of_two_is_killed(scheduler: Scheduler) {
    let mut chance = Chance::new(u64::from(std::process::id()));
    let (mut killed, mut late) = (0, 0);
    while killed < kills() {
        // Mostly while connections go over.
        let accepts = killed % 8 < 6;
        let delay = chance.below(DELAYS_MAX_US[usize::from(accepts)]);
        let delay = Duration::from_micros(delay);
        match kill_one(scheduler, killed % 2 == 0, accepts, delay) {
            true => killed += 1,
            false => late += 1,
        }
        assert!(late <= LATE_MAX + 4 * kills(), "each upgrade was over");
    }
}

/// The new process has the path of the socket by then.
fn commands_find_the_old_one_when_the_new_one_is_killed(scheduler: Scheduler) {
    let service = peer::echo();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let inode = || std::fs::metadata(&socket).expect("it is there").ino();
    // A client that has said nothing yet keeps the old process.
    let listener = "accept_proxy_protocol = true\nprologue_timeout = \"1h\"";
    let routes = forward_with(&[&service.address().to_string()], listener, "");
    let admin = format!("socket = {socket:?}");
    let times = "drain_timeout = \"1h\"\n";
    let proxy = Proxy::start_file(&configuration_with(scheduler, times, &admin, &routes));
    let heirs = Heirs::of(&proxy);
    let (old, before) = (heirs.only(), inode());
    let client = proxy.connect("main");
    wait::until("it is heard", || {
        proxy.metric("corelane_listener_connections", &[]) == 1.0
    });
    proxy.signal(Signal::USR2);
    wait::until("the new process has the path", || inode() != before);
    let both = heirs.pids();
    let new = both.into_iter().find(|&pid| pid != old).expect("it runs");
    heirs::signal(new, Signal::KILL);
    wait::until("the old one goes on", || {
        proxy.log().contains("and the old one goes on")
    });
    drop(client);
    wait::until("it takes commands", || ask(&socket, None).status.success());
    assert_ne!(heirs.only(), old);
}

/// A client that sends, and what it heard until it is told to stop, or its connection ended.
fn talk(client: &TcpStream, seed: u64) -> bool {
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut pattern = Pattern::new(seed);
            let mut message = vec![0; MESSAGE];
            for _ in 0..200 {
                pattern.fill(&mut message);
                if (&*client).write_all(&message).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
            let _ = client.shutdown(Shutdown::Write);
        });
        let mut pattern = Pattern::new(seed);
        let (mut wanted, mut got, mut heard) = (Vec::new(), vec![0; 4096], 0);
        let whole = loop {
            match (&*client).read(&mut got) {
                Ok(0) => break heard == 200 * MESSAGE,
                Err(_) => break false,
                Ok(count) => {
                    while wanted.len() < count {
                        let mut next = [0; MESSAGE];
                        pattern.fill(&mut next);
                        wanted.extend(next);
                    }
                    assert!(
                        got[..count] == wanted[..count],
                        "connection {seed} hears something else at {heard}"
                    );
                    wanted.drain(..count);
                    heard += count;
                }
            }
        };
        sending.join().expect("it sends");
        whole
    })
}

/// Returns whether there were two when one was killed: the new one may be the only one already.
fn kill_one(scheduler: Scheduler, kills_new: bool, accepts: bool, delay: Duration) -> bool {
    let service = peer::echo();
    let proxy = Proxy::start(scheduler, &forward(&[&service.address().to_string()]));
    let heirs = Heirs::of(&proxy);
    let old = heirs.only();
    let clients: Vec<_> = (0..TALKING).map(|_| proxy.connect("main")).collect();
    let idle: Vec<_> = (0..IDLE).map(|_| proxy.connect("main")).collect();
    assert!(idle.iter().all(answers));
    thread::scope(|scope| {
        let talking = (0..).zip(&clients);
        let talking: Vec<_> = talking
            .map(|(seed, client)| scope.spawn(move || talk(client, seed)))
            .collect();
        proxy.signal(Signal::USR2);
        let pids = || heirs.pids();
        let is_time = || match accepts {
            true => proxy.log().contains("the new process accepts"),
            false => pids().len() == 2 || is_over(&proxy),
        };
        let until = std::time::Instant::now() + wait::DEADLINE;
        while !is_time() {
            assert!(std::time::Instant::now() < until, "{}", proxy.log());
            thread::sleep(Duration::from_micros(200));
        }
        let found = pids();
        thread::sleep(delay);
        let new = found.iter().copied().find(|&pid| pid != old);
        let killed = if kills_new { new.unwrap_or(old) } else { old };
        heirs::signal(killed, Signal::KILL);
        // Whoever is left serves. One that has not been given the sockets yet can't; and nobody is left where the new one is killed when
        // all was over, and the old one ended.
        let nobody_is_left = || pids().is_empty() && (!accepts && !kills_new || is_over(&proxy));
        let served = wait::holds_within(wait::DEADLINE, || {
            nobody_is_left()
                || TcpStream::connect(proxy.address("main")).is_ok_and(|client| answers(&client))
        });
        assert!(served, "{}", proxy.log());
        let survived = talking
            .into_iter()
            .map(|one| one.join().expect("not a byte is another"));
        let survived = survived.filter(|survived| *survived).count();
        let idle = idle.iter().filter(|client| answers(client)).count();
        let is_alive = !pids().is_empty();
        let who = if kills_new { "new" } else { "old" };
        println!(
            "the {who} one was killed after {delay:?} ({accepts}): {survived} of {TALKING} and {idle} of {IDLE} survived"
        );
        if kills_new && accepts {
            assert!(!pids().is_empty() || is_over(&proxy), "{}", proxy.log());
        }
        // Who survives is whose connection the process that is left has.
        if is_alive {
            let mut open = f64::NAN;
            let is_its = wait::holds_within(wait::DEADLINE, || {
                open = proxy.metric("corelane_listener_connections", &[("listener", "main")]);
                open == idle as f64
            });
            assert!(is_its, "{open} and not {idle}: {}", proxy.log());
        }
    });
    heirs
        .pids()
        .into_iter()
        .for_each(|pid| heirs::signal(pid, Signal::TERM));
    drop(idle);
    wait::until("all end", || heirs.pids().is_empty());
    !is_over(&proxy)
}

/// Whether the old process has told the new one that it has nothing any more. One that can't tell it goes on, as the new one is gone.
fn is_over(proxy: &Proxy) -> bool {
    let log = proxy.log();
    log.contains("the upgrade is over") && !log.contains("the new process doesn't hear")
}

/// Whether an idle connection is still answered.
fn answers(mut client: &TcpStream) -> bool {
    let patience = Some(Duration::from_secs(10));
    client.set_read_timeout(patience).expect("a time");
    let mut answer = [0; 5];
    client.write_all(b"hello").is_ok()
        && client.read_exact(&mut answer).is_ok()
        && answer == *b"hello"
}
