//! What an operator should know, in words: what, why, and what helps.

mod balance;
mod cpu;
mod rejections;
mod servers;

use crate::state::{Finding, Level, State};

/// Findings that are told at most; the first ones are the most urgent.
pub(super) const FINDINGS_MAX: usize = 6;

/// The findings of a state, whose own are not looked at; never empty.
pub(super) fn of(state: &State) -> Vec<Finding> {
    let mut findings = vec![balance::of(state)];
    findings.extend(cpu::of(state));
    findings.extend(servers::of(state));
    findings.extend(rejections::of(state));
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
    use crate::state::{Core, Figures, Listener, Server};

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
