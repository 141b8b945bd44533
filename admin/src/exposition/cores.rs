//! What each core does. Every family means the same under every scheduler.

use proxy_core::View;

use super::family::Families;
use crate::observed::Observed;
use crate::sampling::load::Load;
use crate::sampling::sums::{connections_of, moved_in, moved_out, over_listeners};
use crate::sampling::threads::Times;

/// Adds what the workers and the kernel count.
pub(super) fn collect(
    families: &mut Families,
    observed: &Observed,
    view: &View,
    accounts: &[Times],
) {
    times(families, observed, accounts);
    let (running, workers) = (observed.running(), observed.workers_ever());
    let mut connections = families.gauge(
        "corelane_core_connections",
        "Connections that the core has now.",
    );
    for worker in 0..running.threads.len() {
        connections.add_count(
            &[("core", &worker.to_string())],
            connections_of(&running, worker),
        );
    }
    let mut accepts = families.counter(
        "corelane_core_accepts_total",
        "Connections that the core took on, over all listeners.",
    );
    for worker in 0..workers {
        let count = over_listeners(view, worker).accepted;
        accepts.add_count(&[("core", &worker.to_string())], count);
    }
    let mut bytes = families.counter(
        "corelane_core_bytes_total",
        "Bytes that the core forwarded; direction \"in\" is from clients, \"out\" to clients.",
    );
    for worker in 0..workers {
        let core = worker.to_string();
        let sum = over_listeners(view, worker);
        bytes.add_count(&[("core", &core), ("direction", "in")], sum.bytes_in);
        bytes.add_count(&[("core", &core), ("direction", "out")], sum.bytes_out);
    }
    let mut polls = families.counter(
        "corelane_core_polls_total",
        "Times that the core ran a connection.",
    );
    for worker in 0..workers {
        let cores = &observed.cores;
        let count = cores.sum_of_core(worker, |cells| cells.polls.get());
        polls.add_count(&[("core", &worker.to_string())], count);
    }
    families
        .counter(
            "corelane_connection_panics_total",
            "Connections that were cut because a bug made them panic; the log says where.",
        )
        .add_count(&[], observed.cores.sum(|core| core.panics.get()));
    let mut migrations = families.counter(
        "corelane_core_migrations_total",
        "Live connections that moved between cores: \"in\" to this core, \"out\" of it.",
    );
    for worker in 0..workers {
        let core = worker.to_string();
        let labels = |direction| [("core", core.as_str()), ("direction", direction)];
        migrations.add_count(&labels("in"), moved_in(observed, worker));
        migrations.add_count(&labels("out"), moved_out(observed, worker));
    }
}

fn times(families: &mut Families, observed: &Observed, accounts: &[Times]) {
    let mut info = families.gauge(
        "corelane_core_info",
        "Always 1; the label cpu tells the CPU that the core's worker is pinned to, or \"any\".",
    );
    for (worker, thread) in observed.running().threads.iter().enumerate() {
        let cpu = thread
            .cpu
            .map_or_else(|| "any".to_owned(), |cpu| cpu.to_string());
        info.add(&[("core", &worker.to_string()), ("cpu", &cpu)], 1.0);
    }
    let mut seconds = |name: &str, help: &str, read: &dyn Fn(usize, &Times) -> _| {
        let mut family = families.counter(name, help);
        for (worker, account) in accounts.iter().enumerate() {
            family.add_seconds(&[("core", &worker.to_string())], read(worker, account));
        }
    };
    seconds(
        "corelane_core_cpu_seconds_total",
        "CPU time, user and system, of the core's worker thread, in seconds. Its rate is the core's utilization.",
        &|_, account| account.cpu,
    );
    seconds(
        "corelane_core_busy_seconds_total",
        "Time that the scheduler says it ran tasks, in seconds. Not comparable between schedulers.",
        &|worker, _| observed.busy(worker),
    );
    seconds(
        "corelane_core_runqueue_wait_seconds_total",
        "Time that the worker thread could have run and waited for its CPU, in seconds: others use it.",
        &|_, account| account.runqueue_wait,
    );
    seconds(
        "corelane_core_iowq_cpu_seconds_total",
        "CPU time of the kernel's io_uring workers for this core's rings, in seconds.",
        &|_, account| account.iowq_cpu,
    );
}

/// Adds what the sampler found.
pub(super) fn collect_load(families: &mut Families, load: &Load) {
    let mut saturated = families.counter(
        "corelane_core_saturated_seconds_total",
        "Time that the core's utilization was above 95 %, in seconds, by one-second samples.",
    );
    for (worker, &time) in load.saturated().iter().enumerate() {
        saturated.add_seconds(&[("core", &worker.to_string())], time);
    }
    let mut utilization = families.gauge(
        "corelane_core_utilization_ratio",
        "Part of the last second that the core's worker thread was on a CPU, 0 to 1.",
    );
    for (worker, &used) in load.utilization().iter().enumerate() {
        utilization.add(&[("core", &worker.to_string())], used);
    }
    let imbalance = load.imbalance();
    let mut figure = |name, help, value| families.gauge(name, help).add(&[], value);
    figure(
        "corelane_core_imbalance_ratio",
        "The busiest core's utilization over the mean, less 1, in the last ten seconds: 0 is even, cores - 1 is one \
         core doing all. 0 while the mean is below 2 %.",
        imbalance.ratio,
    );
    figure(
        "corelane_core_stranded_ratio",
        "The busiest core's utilization less the mean, in the last ten seconds, 0 to 1: what idle cores could take.",
        imbalance.stranded,
    );
    figure(
        "corelane_core_fairness_ratio",
        "Jain's index of the cores' utilization in the last ten seconds: 1 is even, 1/cores is one core doing all.",
        imbalance.fairness,
    );
}
