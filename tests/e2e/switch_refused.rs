//! A switch to a scheduler that can't start or can't listen: the one that runs goes on as if nothing had been asked.
//!
//! `CORELANE_SWEEP=full` goes through every number of descriptors and threads that may be missing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::harness::change;
use crate::harness::config::route;
use crate::harness::listening;
use crate::harness::process;
use crate::harness::proxy::{self, Proxy};
use crate::harness::restrict::{self, Lowered};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::switch;

each_scheduler!(
    without_descriptors_nothing_changes,
    without_threads_nothing_changes,
    without_io_uring_nothing_changes,
    without_locked_memory_nothing_changes,
    without_the_cpu_nothing_changes,
);

/// Clients that come after a refusal: enough for each socket of an address to have some.
const CLIENTS: usize = 24;

/// Listeners with two addresses each.
const LISTENERS: [&str; 3] = ["main", "a", "b"];

/// Workers before and after.
const CORES: [usize; 2] = [2, 3];

/// Descriptors and threads by which the limits grow from one try to the next.
const STEPS: [usize; 2] = [7, 1];

/// More than any scheduler needs.
const DESCRIPTORS_MAX: u64 = 250;
const THREADS_MAX: u64 = 30;

fn step(step: usize) -> usize {
    match std::env::var("CORELANE_SWEEP").as_deref() {
        Ok("full") => 1,
        _ => step,
    }
}

fn text(scheduler: Scheduler, cores: usize) -> String {
    let routes = LISTENERS.map(|name| {
        route(name, "127.0.0.1:0", &["builtin:echo"], "", "")
            .replace("\"127.0.0.1:0\"", "[\"127.0.0.1:0\", \"127.0.0.1:0\"]")
    });
    change::text(scheduler, cores, "", &routes.concat())
}

fn exchange(mut client: &TcpStream) {
    client.write_all(b"hello").expect("send");
    client.read_exact(&mut [0; 5]).expect("receive");
}

/// A proxy, a client that it has had all the time, and what it had open then.
struct Running {
    proxy: Proxy,
    client: TcpStream,
    scheduler: Scheduler,
    held: Held,
}

impl Running {
    fn start(command: Command, scheduler: Scheduler) -> Self {
        let proxy = Proxy::start_command(command, &text(scheduler, CORES[0]));
        let client = proxy.connect("main");
        exchange(&client);
        Self {
            held: Held::by(&proxy),
            proxy,
            client,
            scheduler,
        }
    }

    /// Asks for another scheduler, and waits for the answer in the log. Whether it was refused.
    fn is_refused(&self, to: Scheduler) -> bool {
        let said = |what: &str| self.proxy.log().matches(what).count();
        let [refused, done] = ["is not reloaded, what ran", "the switch is over"];
        let before = (said(refused), said(done));
        change::write(&self.proxy, &text(to, CORES[1]));
        wait::until("it is answered", || (said(refused), said(done)) != before);
        said(refused) != before.0
    }

    /// All is as before. How many switches were refused so far.
    fn assert_unchanged(&self) -> f64 {
        let Self {
            proxy,
            client,
            scheduler,
            held: before,
        } = self;
        let metrics = proxy.metrics();
        assert_eq!(change::switched(&metrics), 0.0);
        assert_eq!(change::shown(&metrics), (*scheduler, CORES[0]));
        let succeeded = metrics.get("corelane_config_last_reload_success", &[]);
        assert_eq!(succeeded, 0.0);
        exchange(client);
        for listener in LISTENERS {
            for address in proxy.addresses(listener) {
                let address = address.parse().expect("an address");
                for _ in 0..CLIENTS / LISTENERS.len() {
                    exchange(&crate::harness::peer::connect(address));
                }
            }
        }
        let is_tidy = || {
            let now = Held::by(proxy);
            now.listening <= before.listening + self.joined()
                && now.others <= before.others
                && now.threads <= before.threads
        };
        assert!(
            wait::holds_within(wait::DEADLINE / 4, is_tidy),
            "{:?}, {before:?} before",
            Held::by(proxy),
        );
        change::refused(&metrics)
    }

    /// Descriptors of sockets that joined and had to stay: one of their owner's, and one of the worker's that accepts.
    fn joined(&self) -> usize {
        let sockets = |cores: usize| match self.scheduler {
            // They began with one.
            Scheduler::WorkStealing => cores - 1,
            _ => cores - CORES[0],
        };
        2 * 2 * LISTENERS.len() * sockets(CORES[1])
    }

    /// What can run now does, and has everything.
    fn assert_switches(self, to: Scheduler) {
        assert!(!self.is_refused(to), "{}", self.proxy.log());
        let metrics = self.proxy.metrics();
        assert_eq!(change::shown(&metrics), (to, CORES[1]));
        exchange(&self.client);
        for listener in LISTENERS {
            for _ in 0..CLIENTS / LISTENERS.len() {
                exchange(&self.proxy.connect(listener));
            }
        }
        let ended = metrics.get("corelane_listener_ended_total", &[]);
        let finished = metrics.get("corelane_listener_ended_total", &[("cause", "finished")]);
        assert_eq!(ended, finished);
        drop(self.client);
        self.proxy.stop();
    }
}

/// What a proxy has open.
#[derive(Debug)]
struct Held {
    /// Descriptors of sockets that listen.
    listening: usize,
    /// All others.
    others: usize,
    threads: usize,
}

impl Held {
    fn by(proxy: &Proxy) -> Self {
        let pid = proxy.pid();
        let listening = listening::descriptors(pid).len();
        Self {
            listening,
            others: process::descriptors(pid).saturating_sub(listening),
            threads: process::threads(pid),
        }
    }
}

/// The schedulers that a switch from this one can go to.
fn others(scheduler: Scheduler) -> impl Iterator<Item = Scheduler> {
    let all = Scheduler::ALL.into_iter();
    all.filter(move |to| *to != scheduler && to.usable())
}

/// Has fewer and fewer missing, until it is enough.
fn sweep(
    running: Running,
    to: Scheduler,
    resource: &'static str,
    limits: impl Iterator<Item = u64>,
) {
    let mut refusals = 0.0;
    for limit in limits {
        let lowered = Lowered::to(running.proxy.pid(), resource, limit);
        let refused = running.is_refused(to);
        drop(lowered);
        if !refused {
            assert!(refusals > 0.0, "the least was enough");
            exchange(&running.client);
            drop(running.client);
            return running.proxy.stop();
        }
        // The file itself could not be read where nothing more was counted.
        let counted = running.assert_unchanged();
        assert!(counted == refusals || counted == refusals + 1.0);
        refusals = counted;
    }
    panic!("no limit was enough: {}", running.proxy.log());
}

fn without_descriptors_nothing_changes(scheduler: Scheduler) {
    for to in others(scheduler) {
        let running = Running::start(proxy::command(), scheduler);
        let next = process::next_descriptor(running.proxy.pid());
        let limits = (next + 1..next + DESCRIPTORS_MAX).step_by(step(STEPS[0]));
        sweep(running, to, "nofile", limits);
    }
}

fn without_threads_nothing_changes(scheduler: Scheduler) {
    for to in others(scheduler) {
        let mut command = proxy::command();
        if !restrict::as_own_user(&mut command) {
            return;
        }
        let running = Running::start(command, scheduler);
        let most = process::threads(running.proxy.pid()) as u64;
        let limits = (most..most + THREADS_MAX).step_by(step(STEPS[1]));
        sweep(running, to, "nproc", limits);
    }
}

fn without_io_uring_nothing_changes(scheduler: Scheduler) {
    // It can't be taken away from one that has it.
    if scheduler == Scheduler::Glommio {
        return;
    }
    let mut command = proxy::command();
    restrict::without_io_uring(&mut command);
    let running = Running::start(command, scheduler);
    for refusals in 1..=3_u8 {
        assert!(running.is_refused(Scheduler::Glommio));
        assert_eq!(running.assert_unchanged(), f64::from(refusals));
    }
    running.proxy.logs("io_uring is not permitted");
    let to = others(scheduler).find(|to| *to != Scheduler::Glommio);
    running.assert_switches(to.expect("Tokio has two modes"));
}

fn without_locked_memory_nothing_changes(scheduler: Scheduler) {
    if scheduler == Scheduler::Glommio || !Scheduler::Glommio.usable() {
        return;
    }
    let running = Running::start(proxy::command(), scheduler);
    let lowered = Lowered::to(running.proxy.pid(), "memlock", 65_536);
    for refusals in 1..=2_u8 {
        assert!(running.is_refused(Scheduler::Glommio));
        assert_eq!(running.assert_unchanged(), f64::from(refusals));
    }
    drop(lowered);
    running.proxy.logs("ulimit -l");
    running.assert_switches(Scheduler::Glommio);
}

fn without_the_cpu_nothing_changes(scheduler: Scheduler) {
    let proxy = Proxy::start_file(&change::text(scheduler, 2, "", &switch::echo()));
    let client = proxy.connect("main");
    switch::exchange(&client, b"before").expect("an echo");
    // A CPU that there is not.
    let impossible = change::text(Scheduler::PerCore, "\"900\"", "", &switch::echo());
    change::write(&proxy, &impossible);
    wait::until("it is refused", || {
        proxy.metric("corelane_config_last_reload_success", &[]) == 0.0
    });
    assert_eq!(
        switch::switches(&proxy, scheduler, Scheduler::PerCore, "failure"),
        1.0
    );
    switch::exchange(&client, b"after").expect("an echo");
    switch::exchange(&proxy.connect("main"), b"a new one").expect("an echo");
    let metrics = proxy.metrics();
    assert_eq!(metrics.series("corelane_core_connections", &[]).count(), 2);
    // It can still be what is asked for next.
    let to = Scheduler::WorkStealing;
    switch::switch(
        &proxy,
        scheduler,
        to,
        &change::text(to, 1, "", &switch::echo()),
    );
    switch::exchange(&client, b"later").expect("an echo");
    drop(client);
    proxy.stop();
}
