//! `[runtime]`: the scheduler and the cores it runs on.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use toml::de::DeValue;

use crate::cores::{Cores, cores};
use crate::duration::{DURATION_MAX, duration};
use crate::refusal::Refusal;
use crate::section::Section;
use crate::value::{boolean, choice, integer};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlommioOptions {
    /// `ring_depth`: entries of each core's io_uring, a power of two from 64 to 32768. Default
    /// 1024.
    pub ring_depth: NonZeroU32,
    /// `preempt_timer`: how long a task queue runs before the executor looks at the others, from
    /// 100 µs to 100 ms. Default `"1ms"`.
    pub preempt_timer: Duration,
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
    let preempt_timers = GlommioOptions::PREEMPT_TIMER_MIN..=GlommioOptions::PREEMPT_TIMER_MAX;
    GlommioOptions {
        ring_depth: section.or("ring_depth", default.ring_depth, ring_depth),
        preempt_timer: section.or("preempt_timer", default.preempt_timer, |value| {
            duration(value, preempt_timers)
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
