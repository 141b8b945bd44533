//! What a proxy takes from the process and gives back. Each of these counts what the whole process holds, so it
//! runs [`alone`], in a test binary where nothing else does.

mod allocation;
mod endurance;
mod exhaustion;
mod soak;

pub use allocation::messages_allocate_nothing;
pub use endurance::many_short_connections;
pub use exhaustion::descriptor_exhaustion;
pub use soak::connections_survive_moves;

use std::thread;
use std::time::{Duration, Instant};

use crate::flow::{Flow, push_until_stuck};
use crate::process::{alone, descriptors};
use crate::real::{Real, Scheduler};
use crate::stage::{ServerKind, Setup, Stage};
use crate::wait::wait;

/// A proxy that is dropped at whatever its connections are at leaves no descriptor.
pub fn cancellation<B: Scheduler>() {
    const TIMES: usize = 5;
    let _alone = alone();
    // What a backend makes once for the process is there from the first time on.
    cancel::<B>();
    let before = descriptors();
    for _ in 0..TIMES {
        cancel::<B>();
    }
    // A thread or a ring may be taken apart after its owner was.
    let until = Instant::now() + Real::<B>::PATIENCE;
    while descriptors() > before && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(
        descriptors() <= before,
        "{} descriptors, and {before} before",
        descriptors()
    );
}

fn cancel<B: Scheduler>() {
    let stage = Real::<B>::start(Setup::default());
    let idle = stage.pair();
    let stalled = stage.pair();
    push_until_stuck(&stage, &mut Flow::new(&stalled.0, &stalled.1, 1, 1 << 40));
    let half = stage.pair();
    crate::pump(
        &stage,
        &mut [Flow::new(&half.0, &half.1, 1, 100).with_end()],
    );
    let unanswered = Real::<B>::start(Setup {
        servers: vec![ServerKind::Silent],
        ..Setup::default()
    });
    let waiting = unanswered.connect();
    wait(&unanswered, "the proxy tries to connect", || {
        (unanswered.listener().connections() == 1).then_some(())
    });
    // The proxies go first, with everything that they have.
    drop((stage, unanswered));
    drop((idle, stalled, half, waiting));
}
