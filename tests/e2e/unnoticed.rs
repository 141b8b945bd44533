//! Everything changes at once: reloads and switches one after the other, under connections that come, go and stay.
//!
//! `CORELANE_SOAK=full` is the long run (`just soak`).

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::bytes::MIB;
use crate::harness::change::reload;
use crate::harness::echoed;
use crate::harness::metrics::Totals;
use crate::harness::peer;
use crate::harness::port;
use crate::harness::process;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, End};

each_scheduler!(nobody_notices);

/// How much there is of everything.
#[derive(Clone, Copy)]
struct Size {
    /// Connections that come and go, a second.
    coming: u64,
    /// Transfers at a time, and their bytes.
    transfers: usize,
    transfer_bytes: u64,
    reloads: usize,
    /// Switches that move connections, and as many that let them finish.
    switches: usize,
}

const SHORT: Size = Size {
    coming: 60,
    transfers: 6,
    transfer_bytes: 8 * MIB,
    reloads: 6,
    switches: 4,
};

const FULL: Size = Size {
    coming: 500,
    transfers: 100,
    transfer_bytes: 32 * MIB,
    reloads: 50,
    switches: 20,
};

/// Threads that connections come from.
const COMERS: u64 = 4;

/// Workers, in turn.
const CORES: [usize; 3] = [2, 4, 1];

/// What one step's file says.
struct Scene {
    main: u16,
    extras: [u16; 2],
    servers: [SocketAddr; 2],
}

impl Scene {
    /// The file of a step: listeners, servers, weights and limits differ from one step to the next.
    fn text(&self, step: usize, scheduler: Scheduler, cores: usize, on_switch: &str) -> String {
        let [a, b] = self.servers;
        let servers = match step % 4 {
            0 => format!("\"{a}\", \"{b}\""),
            1 => format!("\"{a}\""),
            2 => format!("{{ address = \"{b}\", weight = 3 }}, \"{a}\""),
            _ => format!("\"{b}\""),
        };
        let mut text = format!(
            "[runtime]\n{}cores = {cores}\npin = false\non_switch = \"{on_switch}\"\ndrain_timeout = \"60s\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [listeners.main]\nbind = \"127.0.0.1:{}\"\nupstream = \"u\"\nmax_connections = {}\nidle_timeout = \"{}s\"\n\
             [upstreams.u]\nservers = [{servers}]\n",
            scheduler.runtime_toml(),
            self.main,
            10_000 + step,
            100 + step,
        );
        for (number, port) in self.extras.iter().enumerate() {
            if (step + number).is_multiple_of(2) {
                let _ = writeln!(
                    text,
                    "[listeners.extra{number}]\nbind = \"127.0.0.1:{port}\"\nupstream = \"u\""
                );
            }
        }
        text
    }
}

/// Connections that come at a rate, until it is over; none is refused, cut or given other bytes.
fn come(address: SocketAddr, interval: Duration, over: &AtomicBool, came: &AtomicU64) {
    let mut due = Instant::now();
    while !over.load(Relaxed) {
        echoed::visit(address, came.fetch_add(1, Relaxed));
        due += interval;
        // What is late is not made up for in a burst.
        due = due.max(Instant::now() - interval);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Transfers one after the other, until it is over; each is what was sent.
fn transfer(address: SocketAddr, seed: u64, length: u64, over: &AtomicBool) -> u64 {
    let mut count = 0;
    while !over.load(Relaxed) {
        let client = peer::connect(address);
        echoed::transfer(&client, seed, length);
        count += 1;
    }
    count
}

/// Looks until it is over: no counter goes backwards, and none is gone.
fn scrape(proxy: &Proxy, over: &AtomicBool) {
    let mut totals = Totals::default();
    while !over.load(Relaxed) {
        totals.grow(&proxy.metrics());
    }
}

/// What the descriptors of a process are.
fn files(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let paths = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut names: Vec<_> = paths.map(|path| path.display().to_string()).collect();
    names.sort();
    names
}

fn nobody_notices(scheduler: Scheduler) {
    let size = match std::env::var("CORELANE_SOAK").as_deref() {
        Ok("full") => FULL,
        _ => SHORT,
    };
    for to in Scheduler::ALL {
        if to != scheduler && to.usable() {
            between(scheduler, to, size);
        }
    }
}

fn between(scheduler: Scheduler, other: Scheduler, size: Size) {
    let services = [peer::echo(), peer::echo()];
    let scene = Scene {
        main: port::free(),
        extras: [port::free(), port::free()],
        servers: [services[0].address(), services[1].address()],
    };
    let first = scene.text(0, scheduler, CORES[0], "move");
    let proxy = Proxy::start_file(&first);
    let address = proxy.address("main");
    // What both schedulers and all listeners leave behind is there from here on: sockets for as many workers as there ever
    // were among it, since one in whose queue a client may wait is not closed.
    for warm in [other, scheduler] {
        reload(&proxy, &scene.text(1, warm, CORES[1], "move"));
    }
    let settle = || {
        // A listener that comes has as many sockets as there are workers then.
        reload(&proxy, &scene.text(1, scheduler, CORES[0], "move"));
        reload(&proxy, &first);
    };
    settle();
    let held = || {
        (
            process::descriptors(proxy.pid()),
            process::resident_bytes(proxy.pid()),
        )
    };
    let before = held();

    let over = AtomicBool::new(false);
    let came = AtomicU64::new(0);
    let transferred = thread::scope(|scope| {
        let _end = End(&over);
        let interval = Duration::from_secs(1) / (size.coming / COMERS) as u32;
        let mut clients = Vec::new();
        for _ in 0..COMERS {
            let (over, came) = (&over, &came);
            clients.push(scope.spawn(move || come(address, interval, over, came)));
        }
        let transfers: Vec<_> = (0..size.transfers)
            .map(|seed| {
                let over = &over;
                scope.spawn(move || transfer(address, seed as u64, size.transfer_bytes, over))
            })
            .collect();
        clients.push(scope.spawn(|| scrape(&proxy, &over)));
        let is_well = |clients: &[thread::ScopedJoinHandle<'_, ()>]| {
            clients.iter().all(|client| !client.is_finished())
                && transfers.iter().all(|transfer| !transfer.is_finished())
        };
        let (mut now, mut cores) = (scheduler, CORES[0]);
        let steps = size.reloads + size.switches;
        for step in 1..=steps {
            // Switches stand among the reloads, every second one of which lets connections finish.
            let is_switch = step * size.switches / steps != (step - 1) * size.switches / steps;
            let on_switch = if step.is_multiple_of(2) {
                "move"
            } else {
                "drain"
            };
            if is_switch {
                now = if now == scheduler { other } else { scheduler };
                cores = CORES[step % CORES.len()];
            }
            reload(&proxy, &scene.text(step, now, cores, on_switch));
            let shown = || {
                let metrics = proxy.metrics();
                metrics.series("corelane_core_connections", &[]).count()
            };
            wait::until("its workers are shown", || shown() == cores);
            let enough = came.load(Relaxed) + size.coming / 4;
            wait::until("clients come and go", || {
                assert!(is_well(&clients), "a client has seen it, at step {step}");
                came.load(Relaxed) >= enough
            });
        }
        over.store(true, Relaxed);
        clients
            .into_iter()
            .for_each(|client| client.join().expect("it saw nothing"));
        let counts = transfers
            .into_iter()
            .map(|one| one.join().expect("it saw nothing"));
        counts.sum::<u64>()
    });
    assert!(transferred >= size.transfers as u64);
    settle();
    wait::until("everybody is gone", || {
        let open = proxy.metrics();
        open.series("corelane_listener_connections", &[])
            .all(|(_, open)| open == 0.0)
    });
    let tidy = wait::holds_within(wait::DEADLINE, || held().0 <= before.0);
    assert!(
        tidy,
        "{} descriptors, {} before: {:?}",
        held().0,
        before.0,
        files(proxy.pid())
    );
    let resident = held().1;
    assert!(
        resident <= before.1 + before.1 / 2 + 64 * MIB,
        "{resident} bytes, {} before, from {} to {}",
        before.1,
        scheduler.name(),
        other.name()
    );
    proxy.stop();
}
