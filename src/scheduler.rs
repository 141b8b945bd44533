//! Which scheduler runs, decided once at the start: the only place that names all of them.

mod candidates;

use std::io;

use backend_glommio::{Glommio, Options, Placement, Rebalance, StartError, Unavailable};
use backend_tokio::{PerCore, WorkStealing};
use proxy_config::{self as config, GlommioOptions, Runtime, Scheduler, TokioMode};
use proxy_core::backend::{Backend, Plan, Stealing};
use proxy_tools::Candidate;

pub(crate) use self::candidates::{CANDIDATES, moves_every};
use crate::cpus;
use crate::start_error::{Explain, cannot_start, with_advice};

/// The names of all schedulers.
pub(crate) const NAMES: [&str; 3] = ["glommio", "work-stealing", "per-core"];

/// What to choose for idle workers to take the work of busy ones.
pub(crate) const STEALING: Stealing = Stealing {
    advice: "use-work-stealing",
    keys: "scheduler = \"tokio\" with mode = \"work-stealing\"",
};

/// Starts the workers on the scheduler that the configuration asks for. "auto" is Glommio where all of its workers can
/// be started, and else Tokio, which the log explains.
///
/// # Errors
/// When Glommio is asked for and can't run here, with what to change; when there is no thread, ring or reactor left for it.
pub(crate) fn start(plan: Plan, runtime: &Runtime) -> anyhow::Result<Box<dyn Backend>> {
    match runtime.scheduler {
        Scheduler::Tokio => tokio(plan, runtime),
        Scheduler::Glommio => glommio(plan, runtime).map_err(|error| {
            const SENTENCE: &str = "[runtime] scheduler = \"glommio\" can't run here";
            let of_kernel = error
                .downcast_ref::<StartError>()
                .and_then(StartError::of_kernel);
            let text =
                of_kernel.map_or_else(|| SENTENCE.to_owned(), |error| with_advice(SENTENCE, error));
            error.context(text)
        }),
        Scheduler::Auto => glommio(plan.clone(), runtime).or_else(|reason| {
            let reason = format!("{reason:#}");
            tracing::warn!(%reason, "scheduler = \"auto\" falls back to tokio");
            tokio(plan, runtime)
        }),
    }
}

/// The name of the scheduler that the configuration asks for first.
pub(crate) fn name(runtime: &Runtime) -> &'static str {
    let [glommio, work_stealing, per_core] = NAMES;
    match (runtime.scheduler, runtime.tokio.mode) {
        (Scheduler::Glommio | Scheduler::Auto, _) => glommio,
        (Scheduler::Tokio, TokioMode::WorkStealing) => work_stealing,
        (Scheduler::Tokio, TokioMode::PerCore) => per_core,
    }
}

/// Whether workers of the one configuration are others than those of the other one, by which the scheduler with the name `runs`
/// was started: another scheduler, other cores, or other settings of the scheduler. Other words for the same are no difference.
pub(crate) fn differs(new: &Runtime, old: &Runtime, runs: &str) -> bool {
    // Each key is named here, so that none comes to end connections without being asked about.
    let Runtime {
        scheduler,
        cores,
        pin,
        glommio,
        tokio,
        // What no worker starts with.
        drain_timeout: _,
        close_over: _,
        on_switch: _,
        max_connections: _,
        watch: _,
        user: _,
        group: _,
    } = new;
    // Glommio is what "auto" tries first. Where it had to fall back, it would again, unless Glommio's settings are others.
    let wanted = |scheduler| match scheduler {
        Scheduler::Auto if runs == NAMES[0] => Scheduler::Glommio,
        scheduler => scheduler,
    };
    let scheduler = wanted(*scheduler);
    let has_fallen_back = old.scheduler == Scheduler::Auto && runs != NAMES[0];
    let is_same =
        scheduler == wanted(old.scheduler) || has_fallen_back && scheduler == Scheduler::Tokio;
    // What the scheduler of both doesn't read makes no difference.
    let is_read = match scheduler {
        Scheduler::Tokio => *tokio == old.tokio,
        Scheduler::Glommio => *glommio == old.glommio,
        Scheduler::Auto => *tokio == old.tokio && *glommio == old.glommio,
    };
    let are_cores = (cores, *pin) == (&old.cores, old.pin)
        || match (cpus::assign(new), cpus::assign(old)) {
            (Ok(new), Ok(old)) => new == old,
            _ => false,
        };
    !(is_same && is_read && are_cores)
}

/// Why the scheduler that is asked for can't run so many workers here; none: it can, or another one would in its place.
pub(crate) fn cannot_run(workers: usize, runtime: &Runtime) -> Option<String> {
    if runtime.scheduler != Scheduler::Glommio {
        return None;
    }
    probe(workers, runtime).err().map(|error| error.to_string())
}

/// The candidate of `compare` and `demo` that so many workers of a configuration run under here.
pub(crate) fn candidate(workers: usize, runtime: &Runtime) -> Candidate {
    let works = runtime.scheduler != Scheduler::Tokio && probe(workers, runtime).is_ok();
    candidates::of(runtime, works)
}

/// Whether a start failed since this machine lacks what the scheduler needs.
pub(crate) fn is_unavailable(error: &anyhow::Error) -> bool {
    error.is::<StartError>()
}

/// To be called by the process's panic hook, with what the panic says. Returns whether it is a worker's death that its
/// scheduler would keep to itself; it is reported then.
pub(crate) fn on_panic(message: &str) -> bool {
    backend_tokio::on_panic(message)
}

/// For the process's panic hook, with what the panic says: whether it becomes the error of a start, so that the hook doesn't
/// report it.
pub(crate) fn becomes_error(message: &str) -> bool {
    backend_glommio::becomes_error(message)
}

fn probe(workers: usize, runtime: &Runtime) -> Result<(), Unavailable> {
    backend_glommio::probe(workers, runtime.glommio.ring_depth.get())
}

fn glommio(plan: Plan, runtime: &Runtime) -> anyhow::Result<Box<dyn Backend>> {
    Ok(Box::new(Glommio::start(plan, options(&runtime.glommio))?))
}

fn tokio(plan: Plan, runtime: &Runtime) -> anyhow::Result<Box<dyn Backend>> {
    let started: io::Result<Box<dyn Backend>> = match runtime.tokio.mode {
        TokioMode::WorkStealing => WorkStealing::start(plan).map(|started| Box::new(started) as _),
        TokioMode::PerCore => PerCore::start(plan).map(|started| Box::new(started) as _),
    };
    started.explain(|error| cannot_start("Tokio", error))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(text: &str) -> Runtime {
        let text = format!(
            "[runtime]\n{text}\n[listeners.l]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"\n\
             [upstreams.u]\nservers = [\"10.0.0.1:80\"]\n"
        );
        let parsed = proxy_config::parse(&text, "test");
        parsed
            .unwrap_or_else(|error| panic!("{error}"))
            .config
            .runtime
    }

    fn is_switch(from: &str, runs: &str, to: &str) -> bool {
        differs(&runtime(to), &runtime(from), runs)
    }

    const AUTO: &str = "scheduler = \"auto\"";
    const GLOMMIO: &str = "scheduler = \"glommio\"";
    const TOKIO: &str = "scheduler = \"tokio\"";

    #[test]
    fn other_words_for_the_scheduler_that_runs_are_no_switch() {
        let [glommio, stealing, _] = NAMES;
        assert!(!is_switch(AUTO, glommio, GLOMMIO));
        assert!(!is_switch(GLOMMIO, glommio, AUTO));
        assert!(!is_switch(AUTO, stealing, TOKIO));
        assert!(!is_switch(AUTO, stealing, AUTO));
        assert!(is_switch(AUTO, stealing, GLOMMIO));
        assert!(is_switch(AUTO, glommio, TOKIO));
        // It may be Glommio that comes of it.
        assert!(is_switch(TOKIO, stealing, AUTO));
        let per_core = format!("{TOKIO}\ntokio.mode = \"per-core\"");
        assert!(is_switch(AUTO, stealing, &per_core));
        assert!(!is_switch(
            AUTO,
            glommio,
            &format!("{AUTO}\ntokio.mode = \"per-core\"")
        ));
    }

    #[test]
    fn other_words_for_the_cores_that_run_are_no_switch() {
        let [_, stealing, _] = NAMES;
        let with = |cores: &str| format!("{TOKIO}\ncores = {cores}");
        let all = cpus::assign(&runtime(&with("\"all\"")))
            .expect("there are CPUs")
            .len();
        assert!(!is_switch(
            &with("\"all\""),
            stealing,
            &with(&all.to_string())
        ));
        assert!(is_switch(
            &with("\"all\""),
            stealing,
            &with(&(all + 1).to_string())
        ));
    }
}
