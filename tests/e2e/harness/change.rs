//! Has a running proxy read another file.

use std::fmt::Display;
use std::fs;

use rustix::process::Signal;

use super::metrics::Metrics;
use super::proxy::Proxy;
use super::scheduler::Scheduler;
use super::wait;

const READ: &str = "corelane_config_last_reload_timestamp_seconds";
const SUCCEEDED: &str = "corelane_config_last_reload_success";
const SWITCHES: &str = "corelane_runtime_switches_total";

/// A whole file with so many workers, or CPUs, which aren't pinned.
pub(crate) fn text(
    scheduler: Scheduler,
    cores: impl Display,
    runtime: &str,
    routes: &str,
) -> String {
    let chosen = scheduler.runtime_toml();
    format!(
        "[runtime]\n{chosen}cores = {cores}\npin = false\n{runtime}\n[admin]\nlisten = \"127.0.0.1:0\"\n\n{routes}"
    )
}

/// Writes the file and has it read. Nothing is waited for.
pub(crate) fn write(proxy: &Proxy, text: &str) {
    fs::write(proxy.directory().join("corelane.toml"), text).expect("it is ours");
    proxy.signal(Signal::HUP);
}

/// Waits until the file is in force. Where it changes the scheduler, that has begun.
pub(crate) fn reload(proxy: &Proxy, text: &str) {
    let before = proxy.metrics();
    write(proxy, text);
    wait::until("it is reloaded", || {
        let now = proxy.metrics();
        let refused = now.get(SUCCEEDED, &[]) < before.get(SUCCEEDED, &[]);
        assert!(!refused, "{}", proxy.log());
        now.get(READ, &[]) > before.get(READ, &[])
    });
}

/// Waits until the file is in force and the scheduler before it has ended.
pub(crate) fn switch(proxy: &Proxy, text: &str) {
    let before = switched(&proxy.metrics());
    reload(proxy, text);
    wait::until("the switch is over", || switched(&proxy.metrics()) > before);
}

/// Switches that are over.
pub(crate) fn switched(metrics: &Metrics) -> f64 {
    metrics.get(SWITCHES, &[("result", "success")])
}

/// Switches that were refused.
pub(crate) fn refused(metrics: &Metrics) -> f64 {
    metrics.get(SWITCHES, &[("result", "failure")])
}

/// The scheduler that is shown, and how many workers it has.
pub(crate) fn shown(metrics: &Metrics) -> (Scheduler, usize) {
    let mut info = metrics.series("corelane_runtime_info", &[]);
    let info = info.next().expect("a scheduler").0;
    let mut all = Scheduler::ALL.into_iter();
    let scheduler = all
        .find(|one| info.contains(&format!("mode=\"{}\"", one.mode())))
        .unwrap_or_else(|| panic!("{info}"));
    let workers = metrics.series("corelane_core_connections", &[]).count();
    (scheduler, workers)
}
