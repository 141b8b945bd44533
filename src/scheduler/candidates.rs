//! The schedulers as `compare` and `demo` choose between them.

use std::time::Duration;

use proxy_config::{Runtime, Scheduler, TokioMode};
use proxy_tools::{Candidate, Evens};

/// In the order of preference among equals.
pub(crate) const CANDIDATES: [Candidate; 4] = [GLOMMIO, WORK_STEALING, PER_CORE, GLOMMIO_STILL];

const GLOMMIO: Candidate = Candidate {
    name: "glommio",
    toml: "[runtime]\nscheduler = \"glommio\"\n[runtime.glommio.rebalance]\nenabled = true",
    choose: |runtime| {
        runtime.scheduler = Scheduler::Glommio;
        runtime.glommio.rebalance.enabled = true;
    },
    evens: Evens::Moves,
    is_default: true,
};

const WORK_STEALING: Candidate = Candidate {
    name: "tokio work-stealing",
    toml: "[runtime]\nscheduler = \"tokio\"\n[runtime.tokio]\nmode = \"work-stealing\"",
    choose: |runtime| {
        runtime.scheduler = Scheduler::Tokio;
        runtime.tokio.mode = TokioMode::WorkStealing;
    },
    evens: Evens::Steals,
    is_default: true,
};

const PER_CORE: Candidate = Candidate {
    name: "tokio per-core",
    toml: "[runtime]\nscheduler = \"tokio\"\n[runtime.tokio]\nmode = \"per-core\"",
    choose: |runtime| {
        runtime.scheduler = Scheduler::Tokio;
        runtime.tokio.mode = TokioMode::PerCore;
    },
    evens: Evens::Nothing,
    is_default: true,
};

const GLOMMIO_STILL: Candidate = Candidate {
    name: "glommio without rebalancing",
    toml: "[runtime]\nscheduler = \"glommio\"\n[runtime.glommio.rebalance]\nenabled = false",
    choose: |runtime| {
        runtime.scheduler = Scheduler::Glommio;
        runtime.glommio.rebalance.enabled = false;
    },
    evens: Evens::Nothing,
    is_default: false,
};

/// The candidate that a configuration runs under where Glommio works, or where it doesn't.
pub(super) fn of(runtime: &Runtime, glommio_works: bool) -> Candidate {
    match (runtime.scheduler, runtime.tokio.mode) {
        (Scheduler::Glommio | Scheduler::Auto, _) if glommio_works => {
            if runtime.glommio.rebalance.enabled {
                GLOMMIO
            } else {
                GLOMMIO_STILL
            }
        }
        (_, TokioMode::WorkStealing) => WORK_STEALING,
        (_, TokioMode::PerCore) => PER_CORE,
    }
}

/// How often a candidate moves live connections, at the longest.
pub(crate) fn moves_every(runtime: &Runtime) -> Duration {
    runtime.glommio.rebalance.interval
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(text: &str) -> Runtime {
        const REST: &str = "[listeners.a]\nbind = \"127.0.0.1:80\"\nupstream = \"u\"\n[upstreams.u]\nservers = [\"builtin:echo\"]\n";
        let loaded = proxy_config::parse(&format!("{text}\n{REST}"), "test").expect("valid");
        loaded.config.runtime
    }

    #[test]
    fn what_a_candidate_s_lines_say_is_what_it_is() {
        for candidate in CANDIDATES {
            assert_eq!(of(&runtime(candidate.toml), true), candidate);
            let mut chosen = runtime("");
            (candidate.choose)(&mut chosen);
            assert_eq!(of(&chosen, true), candidate);
        }
        assert_eq!(of(&runtime(""), true), GLOMMIO);
        assert_eq!(of(&runtime(""), false), WORK_STEALING);
    }
}
