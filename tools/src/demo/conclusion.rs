//! What the demo's figures say, in words.

use super::outcome::Outcome;
use crate::machine::OTHERS_MIN;

/// Stranded capacity from which a scheduler leaves cores idle beside a busy one.
const STRANDED_MIN: f64 = 0.15;

/// How many times as good a figure must be to be called better: one run is no proof.
const BETTER_MIN: f64 = 1.25;

/// More times as good is as much.
const TIMES_MAX: f64 = 1000.0;

/// Sentences: how evenly the cores were busy, who was ahead by what, and how much that is worth.
pub(super) fn of(outcomes: &[Outcome], others: Option<f64>) -> Vec<String> {
    let mut told = match outcomes {
        [] => return vec!["Nothing ran, so there is nothing to compare.".to_owned()],
        [only] => vec![format!(
            "Only {} ran: there is nothing to compare.",
            only.name
        )],
        _ => compare(outcomes),
    };
    if let Some(others) = others.filter(|&others| others >= OTHERS_MIN) {
        told.push(format!(
            "This machine was busy: other processes had {:.0} % of its CPU meanwhile. Don't trust these differences; run it \
             again when they are quiet.",
            others * 100.0
        ));
    }
    told
}

fn compare(outcomes: &[Outcome]) -> Vec<String> {
    let mut told = vec![evenness(outcomes)];
    let p99 = |outcome: &Outcome| outcome.report.p99.as_secs_f64();
    let soonest = ahead(outcomes, |outcome| 1.0 / p99(outcome).max(1e-9));
    let most = ahead(outcomes, |outcome| outcome.report.heavy_bytes_per_second);
    told.push(match soonest {
        Some((best, worst, times)) => format!(
            "Light requests: {} has the shortest p99 ({:.2} ms; {}: {:.2} ms, {times:.1} times as long).",
            best.name,
            p99(best) * 1e3,
            worst.name,
            p99(worst) * 1e3
        ),
        None => "Light requests: p99 is about the same under all.".to_owned(),
    });
    let megabytes = |outcome: &Outcome| outcome.report.heavy_bytes_per_second / 1e6;
    told.push(match most {
        Some((best, worst, times)) => format!(
            "Heavy flows: {} moves the most ({:.0} MB/s, {times:.1} times the {:.0} MB/s of {}).",
            best.name,
            megabytes(best),
            megabytes(worst),
            worst.name
        ),
        None => "Heavy flows: about the same bytes move under all.".to_owned(),
    });
    let best = |ahead: Option<(&Outcome, &Outcome, f64)>| ahead.map(|(best, ..)| best.name);
    told.push(match (best(soonest), best(most)) {
        (None, None) => "Conclusion: a tie; on this machine the choice makes no difference for a load like this.".to_owned(),
        (Some(one), Some(other)) if one != other => format!(
            "Conclusion: for a load like this, {one} where latency counts, {other} where throughput does."
        ),
        (Some(one), _) | (None, Some(one)) => {
            format!("Conclusion: for a load like this, {one}.")
        }
    });
    told.push(
        "This was one run of an artificial load: `corelane compare FILE` repeats yours and says which differences count."
            .to_owned(),
    );
    told
}

/// Who left cores idle beside a busy one.
fn evenness(outcomes: &[Outcome]) -> String {
    let strands = |outcome: &&Outcome| outcome.imbalance.stranded >= STRANDED_MIN;
    let names = |outcomes: Vec<&Outcome>| {
        let names = outcomes.into_iter().map(|outcome| {
            let stranded = outcome.imbalance.stranded * 100.0;
            format!("{} ({stranded:.0} % of a core stranded)", outcome.name)
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let uneven: Vec<_> = outcomes.iter().filter(strands).collect();
    let even: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !strands(outcome))
        .collect();
    match (uneven.is_empty(), even.is_empty()) {
        (true, _) => "Cores: no scheduler left cores idle beside a busy one.".to_owned(),
        (_, true) => format!(
            "Cores: all left some idle beside a busy one: {}.",
            names(uneven)
        ),
        _ => format!(
            "Cores: one was busy while others were idle under {}; not under {}.",
            names(uneven),
            names(even)
        ),
    }
}

/// The best and the worst by a figure that is better when greater, and how many times as great it is; none: no difference that
/// means anything.
fn ahead(
    outcomes: &[Outcome],
    figure: impl Fn(&Outcome) -> f64,
) -> Option<(&Outcome, &Outcome, f64)> {
    let by = |one: &&Outcome, other: &&Outcome| figure(one).total_cmp(&figure(other));
    let (best, worst) = (outcomes.iter().max_by(by)?, outcomes.iter().min_by(by)?);
    let times = (figure(best) / figure(worst).max(f64::MIN_POSITIVE)).min(TIMES_MAX);
    (times >= BETTER_MIN).then_some((best, worst, times))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proxy_load::Report;
    use proxy_state::Imbalance;

    fn outcome(name: &'static str, used: [f64; 2], p99_ms: u64, megabytes: f64) -> Outcome {
        Outcome {
            name,
            report: Report {
                p99: Duration::from_millis(p99_ms),
                heavy_bytes_per_second: megabytes * 1e6,
                ..Report::default()
            },
            imbalance: Imbalance::of(&used),
        }
    }

    #[test]
    fn it_ends_with_a_conclusion_in_words() {
        let outcomes = [
            outcome("glommio", [0.9, 0.8], 2, 900.0),
            outcome("stealing", [0.9, 0.9], 1, 800.0),
            outcome("per-core", [1.0, 0.2], 8, 500.0),
        ];
        let wanted = [
            "Cores: one was busy while others were idle under per-core (40 % of a core stranded); not under glommio (5 % of a \
             core stranded), stealing (0 % of a core stranded).",
            "Light requests: stealing has the shortest p99 (1.00 ms; per-core: 8.00 ms, 8.0 times as long).",
            "Heavy flows: glommio moves the most (900 MB/s, 1.8 times the 500 MB/s of per-core).",
            "Conclusion: for a load like this, stealing where latency counts, glommio where throughput does.",
        ];
        assert_eq!(of(&outcomes, Some(0.02))[..4], wanted);
        assert_eq!(of(&outcomes, None).len(), 5);
        let same = [
            outcome("one", [0.9, 0.9], 2, 900.0),
            outcome("other", [0.9, 0.9], 2, 900.0),
        ];
        assert!(of(&same, None)[3].starts_with("Conclusion: a tie"));
        let told = of(&outcomes[..1], None);
        assert_eq!(told, ["Only glommio ran: there is nothing to compare."]);
    }

    #[test]
    fn a_busy_machine_is_warned_of() {
        let outcomes = [outcome("one", [0.5, 0.5], 2, 9.0)];
        let told = of(&outcomes, Some(0.4));
        assert!(told[1].starts_with("This machine was busy: other processes had 40 %"));
    }
}
