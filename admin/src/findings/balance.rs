//! How the cores share the load.

use proxy_core::backend::Evening;

use super::found::{finding, percent};
use super::scene::Scene;
use super::tense::{Tense, Told};
use proxy_state::limits::WAITS_MIN;
use proxy_state::{Balance, Core, Finding, Judgement, Level, State};

/// Share of one core in what all cores have that explains a hot core.
const SHARE_FACTOR: f64 = 1.5;

/// How the cores share the load, by their utilization over ten seconds.
pub(super) fn of(scene: &Scene<'_>) -> Told {
    Told::of(|tense| describe(scene, tense))
}

fn describe(scene: &Scene<'_>, tense: Tense) -> Finding {
    let is = tense.is();
    let state = scene.state;
    let cores = &state.cores;
    let utilization: Vec<_> = cores.iter().map(|core| core.utilization_10s).collect();
    let Some(judged) = Judgement::of(&utilization) else {
        return finding(Level::Good, "there are no cores", "", "");
    };
    let Judgement {
        hottest,
        most,
        least,
        mean,
        others,
        ..
    } = judged;
    let apart = if cores.len() > 1 {
        let rest = if cores.len() == 2 {
            "the other"
        } else {
            "the others"
        };
        format!(
            "core {hottest} {is} at {} over ten seconds, {rest} at {}",
            percent(most),
            percent(others)
        )
    } else {
        format!("the only core {is} at {} over ten seconds", percent(most))
    };
    let even = match judged.balance {
        Balance::Idle => return finding(Level::Good, "all cores are idle", "", ""),
        Balance::Hot | Balance::Uneven => {
            let is_hot = judged.balance == Balance::Hot;
            let mut why = cause(state, hottest, tense);
            // Otherwise a finding of its own says that.
            if !is_hot && cores[hottest].waits < WAITS_MIN {
                why += tense.choose(
                    "; no core is short of time yet",
                    "; no core was short of time",
                );
            }
            return Finding {
                level: if is_hot { Level::Alarm } else { Level::Warning },
                what: apart,
                why,
                remedy: remedy(scene, hottest),
                ..Finding::default()
            };
        }
        Balance::Full => {
            let what = if cores.len() > 1 {
                format!(
                    "all cores {} busy: {} on average over ten seconds",
                    tense.are(),
                    percent(mean)
                )
            } else {
                apart
            };
            let remedy = if scene.has_spare_cpus {
                "give corelane more cores ([runtime] cores), or spread the clients over more machines"
            } else {
                "corelane has all CPUs that it may use: spread the clients over more machines, or take a larger one"
            };
            let why = tense.choose(
                "the load is even; it is simply much",
                "the load was even; it was simply much",
            );
            return finding(Level::Alarm, &what, why, remedy);
        }
        Balance::Even => "the load is even",
        Balance::Light => "the load is uneven, but light",
    };
    let what = if cores.len() > 1 {
        format!(
            "{even}: cores are at {} to {} over ten seconds",
            percent(least),
            percent(most)
        )
    } else {
        apart
    };
    finding(Level::Good, &what, "", "")
}

/// Why a core has more to do than the others.
fn cause(state: &State, hottest: usize, tense: Tense) -> String {
    let fair = 1.0 / state.cores.len() as f64;
    let connections = share(&state.cores, hottest, |core| core.connections as f64);
    let bytes = share(&state.cores, hottest, |core| core.bytes);
    let heavy = few_heavy(state, hottest);
    if heavy {
        format!(
            "it moved {} of {} bytes with {} of the connections: a few heavy ones",
            percent(bytes),
            tense.choose("the last second's", "a second's"),
            percent(connections)
        )
    } else if connections > (fair * SHARE_FACTOR).min(0.9) {
        let count = state.cores[hottest].connections;
        format!(
            "it {} {count} of the {} connections",
            tense.has(),
            state.connections
        )
    } else {
        let ask = tense.choose("ask", "asked");
        format!("its connections {ask} for more than those of the others")
    }
}

/// Whether a core has a larger part of the bytes than of the connections, and more of them than is fair.
fn few_heavy(state: &State, core: usize) -> bool {
    let fair = 1.0 / state.cores.len() as f64;
    let connections = share(&state.cores, core, |core| core.connections as f64);
    let bytes = share(&state.cores, core, |core| core.bytes);
    bytes > fair && bytes > connections * SHARE_FACTOR
}

/// What helps, under the configuration that runs.
fn remedy(scene: &Scene<'_>, hottest: usize) -> String {
    let state = scene.state;
    let alone = state.cores[hottest].connections == 1;
    let remedy = if alone {
        "one connection can't use more than one core: let this client open several"
    } else {
        let stealing = scene.observed.stealing.keys;
        match scene.observed.running().profile.evening {
            Evening::Moves => {
                return format!(
                    "rebalancing is on: if this lasts, the load of connections changes too fast for it, or one is most \
                     of the load; {stealing} lets idle cores take work over"
                );
            }
            Evening::CouldMove(how) => {
                return format!(
                    "{how}, which moves connections, or try {stealing}, which lets idle cores take work over"
                );
            }
            Evening::Nothing => {
                return format!("{stealing} lets idle cores take connections over");
            }
            Evening::Steals => {
                "idle cores take over what they can: its connections come in bursts, or one is most of the load"
            }
        }
    };
    remedy.to_owned()
}

fn share(cores: &[Core], core: usize, read: impl Fn(&Core) -> f64) -> f64 {
    let sum: f64 = cores.iter().map(&read).sum();
    if sum > 0.0 {
        read(&cores[core]) / sum
    } else {
        0.0
    }
}
