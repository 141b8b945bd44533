//! Which scheduler runs, decided once at the start: the only place that names both.

use backend_glommio::{Glommio, Options, Placement, Rebalance, StartError};
use backend_tokio::{PerCore, WorkStealing};
use proxy_admin::SchedulersOwn;
use proxy_config::{self as config, GlommioOptions, Runtime, Scheduler, TokioMode};
use proxy_core::plan::{Plan, Running};

use crate::start_error::{Explain, cannot_start, with_advice};

/// A scheduler that can run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Glommio,
    WorkStealing,
    PerCore,
}

/// A scheduler at work.
pub(crate) struct Started {
    pub(crate) choice: Choice,
    pub(crate) running: Box<dyn Running>,
    pub(crate) own: SchedulersOwn,
}

impl Choice {
    /// The label `scheduler`.
    pub(crate) fn scheduler(self) -> &'static str {
        match self {
            Self::Glommio => "glommio",
            Self::WorkStealing | Self::PerCore => "tokio",
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

    /// How many sockets a bind address needs: one a worker, unless workers share.
    pub(crate) fn sockets(self, workers: usize) -> usize {
        match self {
            Self::Glommio | Self::PerCore => workers,
            Self::WorkStealing => 1,
        }
    }

    fn start(self, plan: Plan, runtime: &Runtime) -> anyhow::Result<Started> {
        let (running, own): (Box<dyn Running>, _) = match self {
            Self::Glommio => {
                let glommio = Glommio::start(plan, options(&runtime.glommio))?;
                let own = SchedulersOwn::Glommio(glommio.cells().clone());
                (Box::new(glommio), own)
            }
            Self::WorkStealing => {
                let tokio =
                    WorkStealing::start(plan).explain(|error| cannot_start("Tokio", error))?;
                let own = SchedulersOwn::Tokio(vec![tokio.handle()]);
                (Box::new(tokio), own)
            }
            Self::PerCore => {
                let tokio = PerCore::start(plan).explain(|error| cannot_start("Tokio", error))?;
                let own = SchedulersOwn::Tokio(tokio.handles());
                (Box::new(tokio), own)
            }
        };
        Ok(Started {
            choice: self,
            running,
            own,
        })
    }
}

/// Starts the workers on the scheduler that the configuration asks for. "auto" is Glommio where all of its workers can
/// be started, and else Tokio, which the log explains.
///
/// # Errors
/// When Glommio is asked for and can't run here, with what to change; when a thread, a ring or a reactor can't be had.
pub(crate) fn start(plan: Plan, runtime: &Runtime) -> anyhow::Result<Started> {
    let tokio = match runtime.tokio.mode {
        TokioMode::WorkStealing => Choice::WorkStealing,
        TokioMode::PerCore => Choice::PerCore,
    };
    match runtime.scheduler {
        Scheduler::Tokio => tokio.start(plan, runtime),
        Scheduler::Glommio => Choice::Glommio.start(plan, runtime).map_err(|error| {
            const SENTENCE: &str = "[runtime] scheduler = \"glommio\" can't run here";
            let of_kernel = error
                .downcast_ref::<StartError>()
                .and_then(StartError::of_kernel);
            let text =
                of_kernel.map_or_else(|| SENTENCE.to_owned(), |error| with_advice(SENTENCE, error));
            error.context(text)
        }),
        Scheduler::Auto => match Choice::Glommio.start(plan.clone(), runtime) {
            Ok(started) => Ok(started),
            Err(reason) => {
                let reason = format!("{reason:#}");
                tracing::warn!(%reason, "scheduler = \"auto\" falls back to tokio");
                tokio.start(plan, runtime)
            }
        },
    }
}

fn options(configured: &GlommioOptions) -> Options {
    let rebalance = &configured.rebalance;
    Options {
        ring_depth: configured.ring_depth.get(),
        preempt_timer: configured.preempt_timer,
        placement: match configured.placement {
            config::Placement::ReusePort => Placement::ReusePort,
            config::Placement::LeastLoaded => Placement::LeastLoaded,
            config::Placement::RoundRobin => Placement::RoundRobin,
            config::Placement::IncomingCpu => Placement::IncomingCpu,
        },
        rebalance: Rebalance {
            enabled: rebalance.enabled,
            interval: rebalance.interval,
            threshold: rebalance.threshold,
            max_moves: rebalance.max_moves.get() as usize,
        },
        readiness: None,
    }
}
