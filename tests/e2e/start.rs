//! Starting and stopping, again and again: what goes wrong once in a hundred times.

use std::thread;

use crate::harness::config::forward;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(many_times);

/// At once, so that they are in each other's way.
const LANES: usize = 4;
const STARTS: usize = 15;

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
