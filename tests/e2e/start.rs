//! Starting and stopping, again and again: what goes wrong once in a hundred times.

use std::thread;

use crate::harness::config::forward;
use crate::harness::proxy::{Proxy, command, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(many_times, more_workers_than_cpus_are_told);

/// At once, so that they are in each other's way.
const LANES: usize = 4;
const STARTS: usize = 15;

fn more_workers_than_cpus_are_told(scheduler: Scheduler) {
    let cpus = thread::available_parallelism().expect("CPUs").get();
    let text = configuration(scheduler, "pin = false\n", &forward(&["builtin:echo"]));
    let cores = |workers: usize| {
        let lines = text.lines().map(|line| match line.starts_with("cores = ") {
            true => format!("cores = {workers}\n"),
            false => format!("{line}\n"),
        });
        lines.collect::<String>()
    };
    for (workers, is_told) in [(cpus, false), (cpus + 1, true)] {
        let proxy = Proxy::start_file(&cores(workers));
        let told = format!("cores = {workers}, and this process may use {cpus} CPUs");
        if is_told {
            wait::until("it is told", || proxy.log().contains(&told));
        } else {
            wait::until("it runs", || proxy.log().contains("running"));
            assert!(!proxy.log().contains(&told), "{}", proxy.log());
        }
        let file = proxy.directory().join("corelane.toml");
        let checked = command()
            .arg("check")
            .arg(file)
            .output()
            .expect("corelane runs");
        assert!(checked.status.success(), "{checked:?}");
        let words = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(words.contains(&told), is_told, "{words}");
        proxy.stop();
    }
}

fn many_times(scheduler: Scheduler) {
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                for _ in 0..STARTS {
                    Proxy::start(scheduler, &forward(&["builtin:echo"])).stop();
                }
            });
        }
    });
}
