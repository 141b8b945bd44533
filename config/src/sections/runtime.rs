//! `[runtime]`: the scheduler and the cores it runs on.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::raw::choice::choices;
use crate::raw::section::Section;
use crate::values::account::Account;
use crate::values::cores::Cores;

/// The options of the scheduler and its workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// `scheduler`: who runs the connections.
    pub scheduler: Scheduler,
    /// `cores`: which cores get a worker.
    pub cores: Cores,
    /// `pin`: whether each worker stays on one CPU.
    pub pin: bool,
    /// `drain_timeout`: how long connections may go on after a stop was asked for; those that are left then are cut.
    pub drain_timeout: Duration,
    /// `close_over`: the last part of that, over which those that are left are closed; absent: they are not.
    pub close_over: Option<Duration>,
    /// `on_switch`: what happens to connections when another scheduler takes over.
    pub on_switch: OnSwitch,
    /// `max_connections`: connections of all listeners at a time. Absent: as many as there are descriptors for.
    pub max_connections: Option<NonZeroU64>,
    /// `watch`: whether a replaced file is read at once.
    pub watch: bool,
    /// `user`: who the process is from its start on. Absent: who started it.
    pub user: Option<Account>,
    /// `group`: its group. Absent: that of `user`, else that of who started it.
    pub group: Option<Account>,
    /// `[runtime.glommio]`: what only Glommio uses.
    pub glommio: GlommioOptions,
    /// `[runtime.tokio]`: what only Tokio uses.
    pub tokio: TokioOptions,
}

choices! {
    /// A scheduler; displayed as it is written.
    pub enum Scheduler {
        /// One executor a core, on io_uring.
        Glommio = "glommio",
        /// Tokio, in the mode of [`TokioOptions`].
        Tokio = "tokio",
        /// Glommio where io_uring works, else Tokio.
        Auto = "auto",
    }
}

choices! {
    /// What happens to established connections when another scheduler takes over; displayed as it is written.
    pub enum OnSwitch {
        /// The new one gets them.
        Move = "move",
        /// They finish on the old one, within `drain_timeout`.
        Drain = "drain",
    }
}

/// What only Glommio uses.
#[derive(Debug, Clone, PartialEq)]
pub struct GlommioOptions {
    /// `ring_depth`: entries of each core's io_uring, a power of two.
    pub ring_depth: NonZeroU32,
    /// `preempt_timer`: how long a task queue runs before the executor looks at the others.
    pub preempt_timer: Duration,
    /// `placement`: which core gets a new connection.
    pub placement: Placement,
    /// `[runtime.glommio.rebalance]`: moving live connections off a hot core.
    pub rebalance: Rebalance,
}

choices! {
    /// Which core gets a new connection; displayed as it is written.
    pub enum Placement {
        /// The one that the kernel's hash finds.
        ReusePort = "reuseport",
        /// The one on which the least load is to be expected.
        LeastLoaded = "least-loaded",
        /// Each in turn.
        RoundRobin = "round-robin",
        /// The one on whose CPU the client's packets come in. Linux 6.2.
        IncomingCpu = "incoming-cpu",
    }
}

/// Moving live connections off a hot core.
#[derive(Debug, Clone, PartialEq)]
pub struct Rebalance {
    /// `enabled`: whether they are moved.
    pub enabled: bool,
    /// `interval`: how often a core compares itself with the others.
    pub interval: Duration,
    /// `threshold`: how much busier than the mean a core must be, as a part of the mean (its λ).
    pub threshold: f64,
    /// `max_moves`: connections that a core gives away in an interval.
    pub max_moves: NonZeroU32,
}

/// What only Tokio uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokioOptions {
    /// `mode`: whether cores share work.
    pub mode: TokioMode,
}

choices! {
    /// Whether Tokio's cores share work; displayed as it is written.
    pub enum TokioMode {
        /// One runtime whose idle workers take tasks from busy ones.
        WorkStealing = "work-stealing",
        /// One current-thread runtime a core, each with listening sockets of its own (`SO_REUSEPORT`).
        PerCore = "per-core",
    }
}

pub(crate) fn read(section: &mut Section<'_>) -> Runtime {
    Runtime {
        scheduler: section.value("scheduler"),
        cores: section.value("cores"),
        pin: section.value("pin"),
        drain_timeout: section.value("drain_timeout"),
        close_over: section.value("close_over"),
        on_switch: section.value("on_switch"),
        max_connections: section.optional("max_connections"),
        watch: section.value("watch"),
        user: section.optional("user"),
        group: section.optional("group"),
        glommio: section.section("glommio", read_glommio),
        tokio: section.section("tokio", read_tokio),
    }
}

fn read_glommio(section: &mut Section<'_>) -> GlommioOptions {
    GlommioOptions {
        ring_depth: section.value("ring_depth"),
        preempt_timer: section.value("preempt_timer"),
        placement: section.value("placement"),
        rebalance: section.section("rebalance", read_rebalance),
    }
}

fn read_rebalance(section: &mut Section<'_>) -> Rebalance {
    Rebalance {
        enabled: section.value("enabled"),
        interval: section.value("interval"),
        threshold: section.value("threshold"),
        max_moves: section.value("max_moves"),
    }
}

fn read_tokio(section: &mut Section<'_>) -> TokioOptions {
    TokioOptions {
        mode: section.value("mode"),
    }
}
