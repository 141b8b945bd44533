//! `[runtime]`: the scheduler and the cores it runs on.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use toml::de::DeValue;

use crate::cores::{Cores, cores};
use crate::duration::{DURATION_MAX, duration};
use crate::refusal::Refusal;
use crate::section::Section;
use crate::value::{boolean, choice, integer, number};

/// The options of the scheduler and its workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// `scheduler`: who runs the connections. Default `"auto"`.
    pub scheduler: Scheduler,
    /// `cores`: which cores get a worker. Default `"all"`.
    pub cores: Cores,
    /// `pin`: whether each worker stays on one CPU. Default `true`.
    pub pin: bool,
    /// `drain_timeout`: how long connections may go on after a stop was asked for, up to
    /// [`DURATION_MAX`]; those that are left then are cut. Default `"30s"`; `"0s"` cuts all at
    /// once.
    pub drain_timeout: Duration,
    /// `[runtime.glommio]`: what only Glommio heeds.
    pub glommio: GlommioOptions,
    /// `[runtime.tokio]`: what only Tokio heeds.
    pub tokio: TokioOptions,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            scheduler: Scheduler::Auto,
            cores: Cores::All,
            pin: true,
            drain_timeout: Duration::from_secs(30),
            glommio: GlommioOptions::default(),
            tokio: TokioOptions::default(),
        }
    }
}

/// A scheduler; displayed as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// One executor a core, on io_uring.
    Glommio,
    /// Tokio, in the mode of [`TokioOptions`].
    Tokio,
    /// Glommio where io_uring works, else Tokio.
    Auto,
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Glommio => "glommio",
            Self::Tokio => "tokio",
            Self::Auto => "auto",
        })
    }
}

/// What only Glommio heeds.
#[derive(Debug, Clone, PartialEq)]
pub struct GlommioOptions {
    /// `ring_depth`: entries of each core's io_uring, a power of two from 64 to 32768. Default
    /// 1024.
    pub ring_depth: NonZeroU32,
    /// `preempt_timer`: how long a task queue runs before the executor looks at the others, from
    /// 100 µs to 100 ms. Default `"1ms"`.
    pub preempt_timer: Duration,
    /// `placement`: which core gets a new connection. Default `"reuseport"`.
    pub placement: Placement,
    /// `[runtime.glommio.rebalance]`: moving live connections off a hot core.
    pub rebalance: Rebalance,
}

/// Which core gets a new connection; displayed as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The one that the kernel's hash finds.
    ReusePort,
    /// The one on which the least load is to be expected.
    LeastLoaded,
    /// Each in turn.
    RoundRobin,
    /// The one on whose CPU the client's packets come in. Linux 6.2.
    IncomingCpu,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReusePort => "reuseport",
            Self::LeastLoaded => "least-loaded",
            Self::RoundRobin => "round-robin",
            Self::IncomingCpu => "incoming-cpu",
        })
    }
}

/// Moving live connections off a hot core.
#[derive(Debug, Clone, PartialEq)]
pub struct Rebalance {
    /// `enabled`: whether they are moved. Default `true`.
    pub enabled: bool,
    /// `interval`: how often a core looks at the others, from 50 ms to 60 s. Default `"500ms"`.
    pub interval: Duration,
    /// `threshold`: how much busier than the mean a core must be, as a part of the mean (its λ), from 0.05 to 10.
    /// Default 0.25.
    pub threshold: f64,
    /// `max_moves`: connections that a core gives away in an interval, from 1 to 1024. Default 64.
    pub max_moves: NonZeroU32,
}

impl Rebalance {
    const INTERVAL_MIN: Duration = Duration::from_millis(50);
    const INTERVAL_MAX: Duration = Duration::from_secs(60);
    const THRESHOLD_MIN: f64 = 0.05;
    const THRESHOLD_MAX: f64 = 10.0;
    const MAX_MOVES_MAX: u64 = 1024;
}

impl Default for Rebalance {
    fn default() -> Self {
        const MAX_MOVES: NonZeroU32 = NonZeroU32::new(64).unwrap();
        Self {
            enabled: true,
            interval: Duration::from_millis(500),
            threshold: 0.25,
            max_moves: MAX_MOVES,
        }
    }
}

impl GlommioOptions {
    const RING_DEPTH_MIN: u64 = 64;
    const RING_DEPTH_MAX: u64 = 32_768;
    const PREEMPT_TIMER_MIN: Duration = Duration::from_micros(100);
    const PREEMPT_TIMER_MAX: Duration = Duration::from_millis(100);
}

impl Default for GlommioOptions {
    fn default() -> Self {
        const RING_DEPTH: NonZeroU32 = NonZeroU32::new(1024).unwrap();
        Self {
            ring_depth: RING_DEPTH,
            preempt_timer: Duration::from_millis(1),
            placement: Placement::ReusePort,
            rebalance: Rebalance::default(),
        }
    }
}

/// What only Tokio heeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokioOptions {
    /// `mode`: whether cores share work. Default `"work-stealing"`.
    pub mode: TokioMode,
}

impl Default for TokioOptions {
    fn default() -> Self {
        Self {
            mode: TokioMode::WorkStealing,
        }
    }
}

/// Whether Tokio's cores share work; displayed as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokioMode {
    /// One runtime whose idle workers take tasks from busy ones.
    WorkStealing,
    /// One current-thread runtime a core, each with listening sockets of its own (`SO_REUSEPORT`).
    PerCore,
}

impl fmt::Display for TokioMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WorkStealing => "work-stealing",
            Self::PerCore => "per-core",
        })
    }
}

pub(crate) fn read(section: &mut Section<'_>) -> Runtime {
    let default = Runtime::default();
    let schedulers = [Scheduler::Glommio, Scheduler::Tokio, Scheduler::Auto];
    Runtime {
        scheduler: section.or("scheduler", default.scheduler, |value| {
            choice(value, &schedulers)
        }),
        cores: section.or("cores", default.cores, cores),
        pin: section.or("pin", default.pin, boolean),
        drain_timeout: section.or("drain_timeout", default.drain_timeout, |value| {
            duration(value, Duration::ZERO..=DURATION_MAX)
        }),
        glommio: section.section("glommio", read_glommio),
        tokio: section.section("tokio", read_tokio),
    }
}

fn read_glommio(section: &mut Section<'_>) -> GlommioOptions {
    let default = GlommioOptions::default();
    let placements = [
        Placement::ReusePort,
        Placement::LeastLoaded,
        Placement::RoundRobin,
        Placement::IncomingCpu,
    ];
    let preempt_timers = GlommioOptions::PREEMPT_TIMER_MIN..=GlommioOptions::PREEMPT_TIMER_MAX;
    GlommioOptions {
        ring_depth: section.or("ring_depth", default.ring_depth, ring_depth),
        preempt_timer: section.or("preempt_timer", default.preempt_timer, |value| {
            duration(value, preempt_timers)
        }),
        placement: section.or("placement", default.placement, |value| {
            choice(value, &placements)
        }),
        rebalance: section.section("rebalance", read_rebalance),
    }
}

fn read_rebalance(section: &mut Section<'_>) -> Rebalance {
    let default = Rebalance::default();
    Rebalance {
        enabled: section.or("enabled", default.enabled, boolean),
        interval: section.or("interval", default.interval, |value| {
            duration(value, Rebalance::INTERVAL_MIN..=Rebalance::INTERVAL_MAX)
        }),
        threshold: section.or("threshold", default.threshold, |value| {
            number(value, Rebalance::THRESHOLD_MIN..=Rebalance::THRESHOLD_MAX)
        }),
        max_moves: section.or("max_moves", default.max_moves, |value| {
            integer(value, 1..=Rebalance::MAX_MOVES_MAX)
        }),
    }
}

fn ring_depth(value: &DeValue<'_>) -> Result<NonZeroU32, Refusal> {
    let (min, max) = (
        GlommioOptions::RING_DEPTH_MIN,
        GlommioOptions::RING_DEPTH_MAX,
    );
    let depth = integer::<NonZeroU32>(value, min..=max)
        .ok()
        .filter(|depth| depth.is_power_of_two());
    depth.ok_or_else(|| Refusal::new(format!("a power of two from {min} to {max}"), value))
}

fn read_tokio(section: &mut Section<'_>) -> TokioOptions {
    let default = TokioOptions::default();
    let modes = [TokioMode::WorkStealing, TokioMode::PerCore];
    TokioOptions {
        mode: section.or("mode", default.mode, |value| choice(value, &modes)),
    }
}
