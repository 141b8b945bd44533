//! The schedulers under test, and the macro that makes each test run under every one of them.

use std::sync::OnceLock;

use rustix::io_uring::{io_uring_params, io_uring_setup};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduler {
    Glommio,
    WorkStealing,
    PerCore,
}

impl Scheduler {
    /// The `[runtime]` lines that choose this scheduler.
    pub(crate) fn runtime_toml(self) -> &'static str {
        match self {
            Self::Glommio => "[runtime]\nscheduler = \"glommio\"\n",
            Self::WorkStealing => {
                "[runtime]\nscheduler = \"tokio\"\ntokio.mode = \"work-stealing\"\n"
            }
            Self::PerCore => "[runtime]\nscheduler = \"tokio\"\ntokio.mode = \"per-core\"\n",
        }
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

fn io_uring_refusal() -> Option<rustix::io::Errno> {
    static REFUSAL: OnceLock<Option<rustix::io::Errno>> = OnceLock::new();
    *REFUSAL.get_or_init(|| {
        let mut params = io_uring_params::default();
        // SAFETY: `params` is zeroed, valid and outlives the call; the ring is closed at once, unused.
        unsafe { io_uring_setup(2, &mut params) }.err()
    })
}

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
