//! What Glommio's ring is said to do, against what the test made it do.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use crate::harness::config::forward;
use crate::harness::metrics::Metrics;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::Scheduler;

const MESSAGES: usize = 500;

/// Until what a load leaves to do is done.
const SETTLE: Duration = Duration::from_secs(3);

/// Longer than any interval of the proxy's.
const WATCH: Duration = Duration::from_secs(5);

const FAMILIES: [&str; 5] = [
    "corelane_glommio_ring_enters_total",
    "corelane_glommio_ring_sleeps_total",
    "corelane_glommio_ring_completions_total",
    "corelane_glommio_ring_overflows_total",
    "corelane_glommio_ring_rearms_total",
];

#[test]
fn counts_grow_with_messages_and_rest_with_them() {
    if !Scheduler::Glommio.usable() {
        return;
    }
    let proxy = Proxy::start(Scheduler::Glommio, &forward(&["builtin:echo"]));
    let info = proxy.metrics();
    let pollers = info.series("corelane_glommio_poller_info", &[]);
    assert_eq!(pollers.map(|(_, value)| value).collect::<Vec<_>>(), [1.0]);
    let mut client = proxy.connect("main");
    let before = counts(&proxy.metrics());
    for _ in 0..MESSAGES {
        client.write_all(&[1; 64]).expect("send");
        client.read_exact(&mut [0; 64]).expect("receive");
    }
    let after = counts(&proxy.metrics());
    let [enters, sleeps, completions, overflows, rearms] =
        [0, 1, 2, 3, 4].map(|family| after[family] - before[family]);
    // Each message comes from the client and, before the next one, back from the server. A readiness that is noticed
    // while something else is looked at needs no completion of its own, which is rare.
    let messages = MESSAGES as f64;
    assert!(completions >= messages, "{completions} completions");
    // At most: readable twice, writable twice, and as much for opening.
    assert!(completions <= 8.0 * messages, "{completions} completions");
    assert!(
        enters > 0.0 && enters <= completions + sleeps + messages,
        "{enters} system calls for {completions} completions"
    );
    assert!(sleeps <= enters, "{sleeps} of {enters} calls sleep");
    assert_eq!((overflows, rearms), (0.0, 0.0));

    // An idle ring isn't entered.
    thread::sleep(SETTLE);
    let before = counts(&proxy.metrics());
    thread::sleep(WATCH);
    assert_eq!(counts(&proxy.metrics()), before);
    let metrics = proxy.metrics();
    for core in 0..metrics.series("corelane_core_info", &[]).count() {
        let sleeps = metrics.get(FAMILIES[1], &[("core", &core.to_string())]);
        assert!(sleeps > 0.0, "core {core} never slept");
    }
    drop(client);
}

/// The sums over the cores.
fn counts(metrics: &Metrics) -> [f64; 5] {
    FAMILIES.map(|family| {
        assert!(
            metrics.series(family, &[]).next().is_some(),
            "no series of {family}"
        );
        metrics.get(family, &[])
    })
}
