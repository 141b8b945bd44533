//! `[runtime]`.

use std::time::Duration;

use super::super::key::{Key, Kind, Table};
use super::super::syntax::{GROUP, USER};
use crate::raw::read::INTEGER_MAX;
use crate::sections::runtime::{OnSwitch, Placement, Scheduler, TokioMode};
use crate::values::duration::DURATION_MAX;

pub(crate) static RUNTIME: Table = Table {
    path: "runtime",
    about: "The scheduler and its workers.",
    keys: &[
        Key::new(
            "scheduler",
            Kind::Choice(Scheduler::NAMES),
            "\"auto\"",
            "who runs the connections: `\"glommio\"` (one pinned executor a core, io_uring), `\"tokio\"`, or `\"auto\"`: \
             glommio where io_uring works, else tokio, and the log says why",
        ),
        Key::new(
            "cores",
            Kind::Cores,
            "\"all\"",
            "workers, one a core: `\"all\"` the CPUs that the process may use, a number, or a list of CPUs such as \
             `\"0-3,8\"`",
        ),
        Key::new("pin", Kind::Boolean, "true", "each worker stays on its CPU"),
        Key::new(
            "drain_timeout",
            Kind::Duration {
                min: Duration::ZERO,
                max: DURATION_MAX,
            },
            "\"30s\"",
            "how long connections may go on after SIGTERM, those in the backlogs included. Those that are left then are \
             reset, and the log says how many; `\"0s\"` resets all at once",
        ),
        Key::new(
            "close_over",
            Kind::DurationOrOff {
                min: Duration::from_millis(1),
                max: DURATION_MAX,
            },
            "\"off\"",
            "the last part of `drain_timeout`, over which the connections that are left are closed, spread evenly, so that their \
             clients don't come back at the same moment. So it is after SIGTERM, after a listener's removal, and with \
             `on_switch = \"drain\"`. They are closed as with `on_removed = \"close\"`. `\"off\"`: those that are left are reset \
             when the time is over",
        ),
        Key::new(
            "on_switch",
            Kind::Choice(OnSwitch::NAMES),
            "\"move\"",
            "what happens to the established connections when a reload changes `scheduler`, `mode`, `cores` or `pin`: \
             `\"move\"` hands them to the new workers, `\"drain\"` lets them finish on the old ones, for `drain_timeout` \
             at most. Under `\"move\"`, clients that have no server yet find one where they are and follow; they have \
             `drain_timeout` for that, and 10 s at least",
        ),
        Key::optional(
            "max_connections",
            Kind::Integer {
                min: 1,
                max: INTEGER_MAX,
            },
            "what the descriptors allow",
            "connections of all listeners at a time; what happens to more is what their listener's `over_limit` says",
        ),
        Key::new(
            "watch",
            Kind::Boolean,
            "false",
            "reload, as SIGHUP does, when a file of the configuration is replaced, written, or found by a pattern of `include`. \
             Renames and Kubernetes' swapped links are noticed; what another machine changes on a network file system is \
             not. Rename a file into place: one that is written slowly may be read in halves",
        ),
        Key::optional(
            "user",
            Kind::Text(USER),
            "who started it",
            "who the process is, by name or number, before it opens anything. Only root can become somebody else, and keeps \
             CAP_NET_BIND_SERVICE then, and CAP_NET_ADMIN where `mark`, `transparent` or `source_address = \"client\"` is configured. \
             What it writes (logs, unix sockets) must be this user's to write. A change needs a restart",
        ),
        Key::optional(
            "group",
            Kind::Text(GROUP),
            "that of `user`",
            "its group, by name or number; with it the process is in no other",
        ),
        Key::table("glommio", &GLOMMIO),
        Key::table("tokio", &TOKIO),
    ],
};

static GLOMMIO: Table = Table {
    path: "runtime.glommio",
    about: "What only Glommio uses.",
    keys: &[
        Key::new(
            "ring_depth",
            Kind::PowerOfTwo {
                min: 64,
                max: 32_768,
            },
            "1024",
            "requests that a core's ring takes before it must submit them",
        ),
        Key::new(
            "preempt_timer",
            Kind::Duration {
                min: Duration::from_micros(100),
                max: Duration::from_millis(100),
            },
            "\"1ms\"",
            "how long one listener runs while others of the core wait",
        ),
        Key::new(
            "placement",
            Kind::Choice(Placement::NAMES),
            "\"reuseport\"",
            "which core gets a new connection: `\"reuseport\"` (the kernel's hash), `\"least-loaded\"`, `\"round-robin\"`, \
             or `\"incoming-cpu\"` (the CPU on which the client's packets come in; Linux 6.2)",
        ),
        Key::table("rebalance", &REBALANCE),
    ],
};

static REBALANCE: Table = Table {
    path: "runtime.glommio.rebalance",
    about: "Live connections that move off a hot core.",
    keys: &[
        Key::new("enabled", Kind::Boolean, "true", "connections move"),
        Key::new(
            "interval",
            Kind::Duration {
                min: Duration::from_millis(50),
                max: Duration::from_secs(60),
            },
            "\"500ms\"",
            "how often a core compares itself with the others",
        ),
        Key::new(
            "threshold",
            Kind::Number {
                min: 0.05,
                max: 10.0,
            },
            "0.25",
            "how much busier than the mean a core must be, as a part of the mean (its λ)",
        ),
        Key::new(
            "max_moves",
            Kind::Integer { min: 1, max: 1024 },
            "64",
            "connections that a core gives away in an interval, at most",
        ),
    ],
};

static TOKIO: Table = Table {
    path: "runtime.tokio",
    about: "What only Tokio uses.",
    keys: &[Key::new(
        "mode",
        Kind::Choice(TokioMode::NAMES),
        "\"work-stealing\"",
        "`\"work-stealing\"`: one runtime whose idle workers take tasks from busy ones; `\"per-core\"`: one runtime a core, \
         each with listening sockets of its own",
    )],
};
