//! What an operator should know, in words: what, why, and what helps.

use crate::state::{Core, Finding, Level, State};

/// Findings that are told at most; the first ones are the most urgent.
pub(super) const FINDINGS_MAX: usize = 6;

/// Utilization from which on a core is short of time.
const HOT_MIN: f64 = 0.85;

/// How much busier than the mean of the others a core is when it is the cores' balance that's wrong.
const GAP_MIN: f64 = 0.25;

/// λ from which on a load is called uneven.
const UNEVEN_MIN: f64 = 0.25;

/// Mean utilization under which nothing is said about balance.
const QUIET_MAX: f64 = 0.02;

/// Part of the time that a core waits for its CPU from which on that is worth a word.
const WAITS_MIN: f64 = 0.15;

/// Part from which on it is what's wrong.
const STARVED_MIN: f64 = 0.5;

/// Share of one core in what all cores have that explains a hot core.
const SHARE_FACTOR: f64 = 1.5;

/// The findings of a state, whose own are not looked at; never empty.
pub(super) fn of(state: &State) -> Vec<Finding> {
    let mut findings = vec![balance(state)];
    findings.extend(starved(state));
    findings.extend(down(state));
    findings.extend(turned_away(state));
    if state.draining {
        findings.push(finding(
            Level::Warning,
            "it drains: no new connections are taken",
            "",
            "",
        ));
    }
    // Stable: what was found first of a level stays first.
    findings.sort_by_key(|finding| finding.level);
    findings.truncate(FINDINGS_MAX);
    findings
}

/// How the cores share the load.
fn balance(state: &State) -> Finding {
    let cores = &state.cores;
    let used = |core: &Core| core.utilization_10s;
    let Some((hottest, most)) = maximum(cores) else {
        return finding(Level::Good, "there are no cores", "", "");
    };
    let mean = cores.iter().map(used).sum::<f64>() / cores.len() as f64;
    let least = cores.iter().map(used).fold(f64::INFINITY, f64::min);
    if mean < QUIET_MAX {
        return finding(Level::Good, "all cores are idle", "", "");
    }
    let others = (mean * cores.len() as f64 - most) / (cores.len() as f64 - 1.0).max(1.0);
    let apart = if cores.len() > 1 {
        let whom = if cores.len() == 2 {
            "the other"
        } else {
            "the others"
        };
        format!(
            "core {hottest} is at {}, {whom} at {}",
            percent(most),
            percent(others)
        )
    } else {
        format!("the only core is at {}", percent(most))
    };
    if most >= HOT_MIN && cores.len() > 1 && most - others >= GAP_MIN {
        return Finding {
            level: Level::Alarm,
            what: apart,
            why: cause(state, hottest),
            remedy: remedy(state, hottest),
        };
    }
    if least >= HOT_MIN {
        let what = if cores.len() > 1 {
            format!("all cores are busy: {} on average", percent(mean))
        } else {
            apart
        };
        let remedy =
            "give corelane more cores ([runtime] cores), or spread the clients over more machines";
        return finding(
            Level::Alarm,
            &what,
            "the load is even; it is simply much",
            remedy,
        );
    }
    if state.imbalance.ratio >= UNEVEN_MIN && most - others >= GAP_MIN {
        let mut why = cause(state, hottest);
        // Else that is told beside it.
        if cores[hottest].waits < WAITS_MIN {
            why += "; no core is short of time yet";
        }
        return Finding {
            level: Level::Warning,
            what: apart,
            why,
            remedy: remedy(state, hottest),
        };
    }
    let even = if state.imbalance.ratio < UNEVEN_MIN {
        "the load is even"
    } else {
        "the load is uneven, but light"
    };
    let what = if cores.len() > 1 {
        format!(
            "{even}: cores are at {} to {}",
            percent(least),
            percent(most)
        )
    } else {
        apart
    };
    finding(Level::Good, &what, "", "")
}

/// Why a core has more to do than the others.
fn cause(state: &State, hottest: usize) -> String {
    let fair = 1.0 / state.cores.len() as f64;
    let connections = share(&state.cores, hottest, |core| core.connections as f64);
    let bytes = share(&state.cores, hottest, |core| core.bytes);
    let heavy = few_heavy(state, hottest);
    if heavy {
        format!(
            "it moves {} of the bytes with {} of the connections: a few heavy ones",
            percent(bytes),
            percent(connections)
        )
    } else if connections > (fair * SHARE_FACTOR).min(0.9) {
        let count = state.cores[hottest].connections;
        format!("it has {count} of the {} connections", state.connections)
    } else {
        "its connections ask for more than those of the others".to_owned()
    }
}

/// Whether a core has a larger part of the bytes than of the connections, and more of them than is fair.
fn few_heavy(state: &State, core: usize) -> bool {
    let fair = 1.0 / state.cores.len() as f64;
    let connections = share(&state.cores, core, |core| core.connections as f64);
    let bytes = share(&state.cores, core, |core| core.bytes);
    bytes > fair && bytes > connections * SHARE_FACTOR
}

fn remedy(state: &State, hottest: usize) -> String {
    let alone = state.cores[hottest].connections <= 1;
    let remedy = if alone {
        "one connection can't use more than one core: let this client open several"
    } else {
        match state.mode.as_str() {
            "thread-per-core" => {
                "see that [runtime.glommio.rebalance] is enabled, which moves connections, or try scheduler = \"tokio\", \
                 which shares them"
            }
            "per-core" => {
                "[runtime.tokio] mode = \"work-stealing\" lets idle cores take connections over"
            }
            _ => {
                "idle cores take over what they can: its connections come in bursts, or one is most of the load"
            }
        }
    };
    remedy.to_owned()
}

/// Cores whose CPU somebody else uses.
fn starved(state: &State) -> Option<Finding> {
    let cores = state.cores.iter().enumerate();
    let (worst, core) = cores.max_by(|one, other| one.1.waits.total_cmp(&other.1.waits))?;
    (core.waits >= WAITS_MIN).then(|| {
        let cpu = core
            .cpu
            .map_or_else(String::new, |cpu| format!(" (CPU {cpu})"));
        Finding {
            level: if core.waits >= STARVED_MIN {
                Level::Alarm
            } else {
                Level::Warning
            },
            what: format!(
                "core {worst}{cpu} waits {} of the time for its CPU",
                percent(core.waits)
            ),
            why: "something else runs there, or the machine's host gives it away".to_owned(),
            remedy: "move other programs away, or choose other CPUs ([runtime] cores)".to_owned(),
        }
    })
}

/// Servers that are down: their health checks fail or, without any, the last connect did.
fn down(state: &State) -> Option<Finding> {
    let mut down = state.servers.iter().filter(|server| !server.up);
    let first = down.next()?;
    let more = down.count();
    let what = match more {
        0 => format!(
            "server {} of upstream {} can't be connected to",
            first.server, first.upstream
        ),
        _ => format!(
            "{} servers can't be connected to, {} of upstream {} is the first",
            more + 1,
            first.server,
            first.upstream
        ),
    };
    let nothing_left = state
        .servers
        .iter()
        .filter(|server| server.upstream == first.upstream)
        .all(|server| !server.up);
    let (level, why) = match (nothing_left, first.checked) {
        (true, true) => (
            Level::Alarm,
            "the health checks of all servers of this upstream fail; they are tried all the same",
        ),
        (true, false) => (
            Level::Alarm,
            "no server of this upstream works: its clients are closed",
        ),
        (false, true) => (
            Level::Warning,
            "its health checks fail; the upstream's other servers get the connections",
        ),
        (false, false) => (
            Level::Warning,
            "the upstream's other servers are tried instead",
        ),
    };
    let remedy = if first.checked {
        "corelane_upstream_health_checks_total tells the reasons"
    } else {
        "corelane_upstream_connect_failures_total tells the reasons"
    };
    Some(finding(level, &what, why, remedy))
}

/// Listeners that turn clients away.
fn turned_away(state: &State) -> Option<Finding> {
    let listeners = state.listeners.iter();
    let worst = listeners.max_by(|one, other| one.rejects.total_cmp(&other.rejects))?;
    (worst.rejects > 0.0).then(|| Finding {
        level: Level::Alarm,
        what: format!(
            "listener {} turns away {:.0} connections a second",
            worst.name,
            worst.rejects.max(1.0)
        ),
        why: "it has max_connections, or the process has no descriptor left".to_owned(),
        remedy:
            "corelane_listener_rejected_total tells which; raise max_connections or `ulimit -n`"
                .to_owned(),
    })
}

fn maximum(cores: &[Core]) -> Option<(usize, f64)> {
    let used = cores.iter().map(|core| core.utilization_10s).enumerate();
    used.max_by(|one, other| one.1.total_cmp(&other.1))
}

fn share(cores: &[Core], core: usize, read: impl Fn(&Core) -> f64) -> f64 {
    let sum: f64 = cores.iter().map(&read).sum();
    if sum > 0.0 {
        read(&cores[core]) / sum
    } else {
        0.0
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

fn finding(level: Level, what: &str, why: &str, remedy: &str) -> Finding {
    Finding {
        level,
        what: what.to_owned(),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Figures, Listener, Server};

    /// Utilization, connections and bytes of each core.
    fn state(mode: &str, cores: &[(f64, u64, f64)]) -> State {
        let cores: Vec<_> = cores
            .iter()
            .map(|&(utilization_10s, connections, bytes)| Core {
                utilization_10s,
                connections,
                bytes,
                ..Core::default()
            })
            .collect();
        let used: Vec<_> = cores.iter().map(|core| core.utilization_10s).collect();
        State {
            mode: mode.to_owned(),
            connections: cores.iter().map(|core| core.connections).sum(),
            imbalance: Figures::from(crate::admin::Imbalance::of(&used)),
            cores,
            ..State::default()
        }
    }

    fn only(state: &State) -> Finding {
        let findings = of(state);
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings[0].clone()
    }

    #[test]
    fn a_hot_core_is_told_with_its_cause() {
        let crowded = [
            (0.2, 10, 1e6),
            (0.2, 10, 1e6),
            (0.2, 10, 1e6),
            (0.97, 90, 8e6),
        ];
        let found = only(&state("per-core", &crowded));
        assert_eq!(found.level, Level::Alarm);
        assert_eq!(found.what, "core 3 is at 97 %, the others at 20 %");
        assert_eq!(found.why, "it has 90 of the 120 connections");
        assert!(found.remedy.contains("work-stealing"), "{}", found.remedy);

        let heavy = [(0.97, 4, 9e8), (0.1, 40, 1e6)];
        let found = only(&state("thread-per-core", &heavy));
        assert_eq!(found.what, "core 0 is at 97 %, the other at 10 %");
        assert_eq!(
            found.why,
            "it moves 100 % of the bytes with 9 % of the connections: a few heavy ones"
        );
        assert!(found.remedy.contains("rebalance"), "{}", found.remedy);

        let elephant = [(0.97, 1, 9e8), (0.0, 0, 0.0)];
        let found = only(&state("thread-per-core", &elephant));
        assert!(
            found.remedy.starts_with("one connection can't"),
            "{}",
            found.remedy
        );
    }

    #[test]
    fn what_is_not_hot_is_no_alarm() {
        // Utilization, the level, and how it begins.
        let table: &[(&[f64], Level, &str)] = &[
            (&[0.0, 0.01], Level::Good, "all cores are idle"),
            (
                &[0.5, 0.45],
                Level::Good,
                "the load is even: cores are at 45 % to 50 %",
            ),
            (
                &[0.3, 0.1],
                Level::Good,
                "the load is uneven, but light: cores are at 10 % to 30 %",
            ),
            (
                &[0.6, 0.1],
                Level::Warning,
                "core 0 is at 60 %, the other at 10 %",
            ),
            (
                &[0.95, 0.9],
                Level::Alarm,
                "all cores are busy: 92 % on average",
            ),
            (&[0.5], Level::Good, "the only core is at 50 %"),
            (&[0.97], Level::Alarm, "the only core is at 97 %"),
        ];
        for &(used, level, what) in table {
            let cores: Vec<_> = used.iter().map(|&used| (used, 5, 1e3)).collect();
            let found = only(&state("work-stealing", &cores));
            assert_eq!((found.level, &found.what[..]), (level, what));
        }
    }

    #[test]
    fn trouble_elsewhere_is_told_by_urgency() {
        let mut state = state("per-core", &[(0.5, 5, 1e3), (0.5, 5, 1e3)]);
        state.cores[1].waits = 0.4;
        state.cores[1].cpu = Some(7);
        let server = |server: &str, up| Server {
            upstream: "pool".to_owned(),
            server: server.to_owned(),
            up,
            ..Server::default()
        };
        state.servers = vec![server("a:1", true), server("b:1", false)];
        state.listeners = vec![Listener {
            name: "web".to_owned(),
            rejects: 12.0,
            ..Listener::default()
        }];
        let what: Vec<_> = of(&state).into_iter().map(|finding| finding.what).collect();
        assert_eq!(
            what,
            [
                "listener web turns away 12 connections a second",
                "core 1 (CPU 7) waits 40 % of the time for its CPU",
                "server b:1 of upstream pool can't be connected to",
                "the load is even: cores are at 50 % to 50 %",
            ]
        );
        let without_checks = of(&state)[2].clone();
        assert!(without_checks.remedy.contains("connect_failures"));
        state.servers[1].checked = true;
        let with_checks = of(&state)[2].clone();
        assert!(with_checks.remedy.contains("health_checks"));
        assert!(with_checks.why.starts_with("its health checks fail"));
        state.servers[0].up = false;
        let found = &of(&state)[0];
        assert_eq!(
            found.what,
            "2 servers can't be connected to, a:1 of upstream pool is the first"
        );
        assert_eq!(found.level, Level::Alarm);
    }
}
