//! The schedulers under test, and the macro that makes each test run under every one of them.

use std::sync::OnceLock;
use std::thread;

use rustix::io::Errno;
use rustix::io_uring::{io_uring_params, io_uring_setup};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduler {
    Glommio,
    WorkStealing,
    PerCore,
}

impl Scheduler {
    pub(crate) const ALL: [Self; 3] = [Self::Glommio, Self::WorkStealing, Self::PerCore];

    /// How the labels of switches call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Glommio => "glommio",
            Self::WorkStealing => "work-stealing",
            Self::PerCore => "per-core",
        }
    }

    /// The label `mode`.
    pub(crate) fn mode(self) -> &'static str {
        match self {
            Self::Glommio => "thread-per-core",
            Self::WorkStealing => "work-stealing",
            Self::PerCore => "per-core",
        }
    }

    /// The lines of `[runtime]` that choose this scheduler.
    pub(crate) fn runtime_toml(self) -> &'static str {
        match self {
            Self::Glommio => "scheduler = \"glommio\"\n",
            Self::WorkStealing => "scheduler = \"tokio\"\ntokio.mode = \"work-stealing\"\n",
            Self::PerCore => "scheduler = \"tokio\"\ntokio.mode = \"per-core\"\n",
        }
    }

    /// `configuration`, whose scheduler is "auto", with this one instead.
    pub(crate) fn choose_in(self, configuration: &str) -> String {
        let without_mode = configuration
            .lines()
            .filter(|line| !line.starts_with("[runtime.tokio]"));
        let without_mode = without_mode.filter(|line| !line.starts_with("mode = "));
        let rest = without_mode.collect::<Vec<_>>().join("\n");
        assert!(rest.contains(AUTO), "no {AUTO} in it");
        rest.replace(AUTO, self.runtime_toml())
    }

    /// False, and says why, where the kernel or a container's seccomp profile refuses io_uring.
    pub(crate) fn usable(self) -> bool {
        let Some(refusal) = (self == Self::Glommio).then(io_uring_refusal).flatten() else {
            return true;
        };
        println!("skipped: glommio needs io_uring, and io_uring_setup says: {refusal}");
        false
    }
}

/// On a thread of its own: the kernel takes a ring down by interrupting the thread that made it, and a read
/// with a timeout doesn't go on after that.
fn io_uring_refusal() -> Option<Errno> {
    static REFUSAL: OnceLock<Option<Errno>> = OnceLock::new();
    *REFUSAL.get_or_init(|| {
        let probe = thread::spawn(|| {
            let mut params = io_uring_params::default();
            // SAFETY: `params` is zeroed, valid and outlives the call; the ring is closed at once, unused.
            unsafe { io_uring_setup(2, &mut params) }.err()
        });
        probe.join().expect("probe")
    })
}

/// How an example leaves the choice to the machine.
pub(crate) const AUTO: &str = "scheduler = \"auto\"";

/// For each function `name(Scheduler)` of the module: the tests `name::glommio`, `name::work_stealing` and
/// `name::per_core`.
macro_rules! each_scheduler {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::harness::scheduler::Scheduler;

            fn under(scheduler: Scheduler) {
                if scheduler.usable() {
                    super::$name(scheduler);
                }
            }

            #[test]
            fn glommio() {
                under(Scheduler::Glommio);
            }

            #[test]
            fn work_stealing() {
                under(Scheduler::WorkStealing);
            }

            #[test]
            fn per_core() {
                under(Scheduler::PerCore);
            }
        }
    )+};
}
pub(crate) use each_scheduler;
