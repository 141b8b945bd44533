//! A service manager's watchdog is fed as long as every core turns, and no longer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::change;
use crate::harness::config::forward;
use crate::harness::doom;
use crate::harness::halt::Halted;
use crate::harness::heirs::{self, Heirs};
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::unit::Manager;
use crate::harness::wait;

each_scheduler!(
    a_core_that_hangs_is_not_hidden,
    cores_that_sleep_and_do_not_wake_are_not_hidden,
    a_core_that_dies_and_is_replaced_is_no_reason,
    who_takes_over_feeds_it,
);

/// How long the watchdog waits.
const TIME: Duration = Duration::from_millis(600);

/// A proxy with such a watchdog, which is fed.
fn start(scheduler: Scheduler, mut command: std::process::Command) -> (Proxy, Manager) {
    let manager = Manager::start();
    manager.is_told_by(&mut command);
    command.env("WATCHDOG_USEC", TIME.as_micros().to_string());
    let text = configuration(scheduler, "", &forward(&["builtin:echo"]));
    let proxy = Proxy::start_command(command, &text);
    manager.is_fed();
    (proxy, manager)
}

/// The one that receives next stands still, as if it were in a loop; the others go on.
fn a_core_that_hangs_is_not_hidden(scheduler: Scheduler) {
    let (proxy, manager) = start(scheduler, proxy::command());
    let mut client = proxy.connect("main");
    client.write_all(b"!").expect("write");
    client.read_exact(&mut [0]).expect("it is served");
    let sends = || client.write_all(b"!").expect("write");
    let Some((halted, core)) = Halted::receiver(proxy.pid(), sends) else {
        return;
    };
    let words = format!("core {core} of {} doesn't turn", scheduler.name());
    wait::until("it is logged", || proxy.log().contains(&words));
    assert!(!manager.is_fed_within(2 * TIME), "{}", proxy.log());
    drop(halted);
    client.read_exact(&mut [0]).expect("it is served");
    manager.is_fed();
    manager.is_fed();
    wait::until("it is logged", || {
        proxy.log().contains("all cores turn again")
    });
    drop(client);
    proxy.stop();
}

/// They wait for events, as all those do that have nothing to do.
fn cores_that_sleep_and_do_not_wake_are_not_hidden(scheduler: Scheduler) {
    let (proxy, manager) = start(scheduler, proxy::command());
    let Some(halted) = Halted::workers(proxy.pid()) else {
        return;
    };
    wait::until("it is logged", || proxy.log().contains("doesn't turn"));
    assert!(!manager.is_fed_within(2 * TIME), "{}", proxy.log());
    drop(halted);
    manager.is_fed();
    proxy.stop();
}

fn a_core_that_dies_and_is_replaced_is_no_reason(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(command) = doom::command(directory.path()) else {
        return;
    };
    let (proxy, manager) = start(scheduler, command);
    // It holds the workers that leave up.
    let clients: Vec<_> = (0..8).map(|_| proxy.connect("main")).collect();
    doom::kill(&proxy, scheduler, 0);
    wait::until("it is replaced", || {
        let _ = TcpStream::connect(proxy.address("main"));
        proxy.metric("corelane_worker_restarts_total", &[]) > 0.0
    });
    manager.is_fed();
    manager.is_fed();
    drop(clients);
    proxy.stop();
}

/// Another scheduler does, and another process, once it is the one to watch.
fn who_takes_over_feeds_it(scheduler: Scheduler) {
    let (mut proxy, manager) = start(scheduler, proxy::command());
    let heirs = Heirs::of(&proxy);
    let other = Scheduler::ALL.into_iter().find(|other| *other != scheduler);
    let other = other.filter(|other| other.usable()).unwrap_or(scheduler);
    change::switch(
        &proxy,
        &configuration(other, "", &forward(&["builtin:echo"])),
    );
    manager.is_fed();
    manager.is_fed();
    proxy.signal(Signal::USR2);
    assert!(proxy.wait().success(), "{}", proxy.log());
    while manager.is_fed_within(Duration::ZERO) {}
    manager.is_fed();
    manager.is_fed();
    heirs::signal(heirs.only(), Signal::TERM);
    wait::until("it ends", || heirs.pids().is_empty());
}
