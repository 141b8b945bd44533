//! Which scheduler to choose, by how much, and why.
//!
//! The terms are those of thread-per-core against work stealing: is the load uniform, so that per-request overhead is
//! what counts, or uneven, so that the use of all cores does?

use super::figures::{Figure, Outcome};
use crate::candidate::{Candidate, Evens};
use proxy_state::limits::UNEVEN_MIN;

/// Stranded capacity, under a scheduler that evens nothing out, from which a load that is uneven costs something.
const UNEVEN_STRANDED_MIN: f64 = 0.1;

/// What to choose.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) choose: Candidate,
    /// Nothing that was measured speaks for another than the configuration's own.
    pub(crate) tie: bool,
    /// Sentences.
    pub(crate) why: Vec<String>,
}

impl Verdict {
    /// What to do, in one line. `own` is what the configuration has, `ran` how many were compared.
    pub(crate) fn headline(&self, own: Candidate, ran: usize) -> String {
        let name = self.choose.name;
        if ran == 1 && self.choose == own {
            format!("nothing to choose from: the configuration stays as it is, {name}")
        } else if self.tie {
            format!("it is a tie: the configuration stays as it is, {name}")
        } else {
            format!("choose: {name}")
        }
    }
}

/// How the load was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// There are heavy flows, and work is counted in bytes.
    pub(crate) heavy: bool,
    /// Light flows send at a rate of their own, the same for every scheduler.
    pub(crate) paced: bool,
}

/// Chooses among `outcomes`, in the order of preference among equals, of which `own` is what the configuration runs under now. None when nothing ran.
///
/// One figure after the other narrows the choice down to those that nobody beats by more than the rounds' own spread;
/// if the own scheduler is among the last, it stays. For an even load that is CPU first, per-request overhead; for an
/// uneven one, or one of a given rate, it is whether the work gets done.
pub(crate) fn choose(outcomes: &[Outcome], own: Candidate, pace: Pace) -> Option<Verdict> {
    let heavy = pace.heavy;
    let uneven = outcomes.iter().any(is_uneven);
    let order = if uneven || pace.paced {
        [Figure::Work, Figure::Cost, Figure::Latency]
    } else {
        [Figure::Cost, Figure::Work, Figure::Latency]
    };
    let mut left: Vec<&Outcome> = outcomes.iter().collect();
    for figure in order {
        let unbeaten = |one: &&Outcome| {
            let beats_it = |other: &&Outcome| other.gain(one, figure, heavy).is_some();
            !left.iter().any(beats_it)
        };
        let kept: Vec<_> = left.iter().copied().filter(unbeaten).collect();
        // With ratios that differ in spread, it could be that each is beaten by another.
        if !kept.is_empty() {
            left = kept;
        }
    }
    let chosen = left.iter().find(|outcome| outcome.candidate == own);
    let chosen = chosen.or(left.first())?;
    let others: Vec<_> = outcomes
        .iter()
        .filter(|other| other.candidate != chosen.candidate)
        .collect();
    let differs = |other: &&&Outcome| {
        Figure::ALL
            .into_iter()
            .any(|figure| chosen.gain(other, figure, heavy).is_some())
    };
    let tie = chosen.candidate == own && !others.iter().any(|other| differs(&other));
    let mut why = vec![reason(chosen, outcomes, tie, heavy)];
    why.extend(others.iter().map(|other| against(chosen, other, heavy)));
    Some(Verdict {
        choose: chosen.candidate,
        tie,
        why,
    })
}

/// Why, in one sentence or two.
fn reason(chosen: &Outcome, outcomes: &[Outcome], tie: bool, heavy: bool) -> String {
    if outcomes.len() == 1 {
        return format!("Nothing but {} ran.", chosen.candidate);
    }
    let uneven = outcomes.iter().find(|outcome| is_uneven(outcome));
    let load = match uneven {
        Some(still) => format!(
            "The load is uneven: under {} one core has work for which the others have room (λ {:.2}, {:.0} % of a core \
             stranded).",
            still.candidate,
            still.median(|round| round.imbalance),
            still.median(|round| round.stranded) * 100.0,
        ),
        None => {
            "The load is I/O-bound and uniform: no scheduler leaves cores idle beside busy ones."
                .to_owned()
        }
    };
    let own = if tie {
        format!(
            "It is a tie: no difference is greater than the rounds differ among themselves, so what the configuration \
             has now stays, {}.",
            chosen.candidate
        )
    } else {
        match (uneven.is_some(), chosen.candidate.evens) {
            (true, Evens::Steals) => {
                "Core utilization is what counts then: work stealing keeps all cores busy.".to_owned()
            }
            (true, Evens::Moves) => {
                "Core utilization is what counts then: rebalancing moves connections off the busy core.".to_owned()
            }
            (true, Evens::Nothing) => {
                "Evening it out brings nothing here: per-request overhead is what counts.".to_owned()
            }
            (false, Evens::Steals) => {
                "Per-request overhead is what counts then, where thread-per-core usually excels; it doesn't here, and \
                 work stealing is ahead."
                    .to_owned()
            }
            (false, _) => {
                "Per-request overhead is what counts then, and thread-per-core is ahead.".to_owned()
            }
        }
    };
    let bytes = if heavy {
        " Work is counted in bytes."
    } else {
        ""
    };
    format!("{load} {own}{bytes}")
}

/// One scheduler beside the chosen one.
fn against(chosen: &Outcome, other: &Outcome, heavy: bool) -> String {
    let mut parts = Vec::new();
    for figure in Figure::ALL {
        if let Some(gain) = chosen.gain(other, figure, heavy) {
            parts.push(difference(figure, gain, true, heavy));
        } else if let Some(gain) = other.gain(chosen, figure, heavy) {
            parts.push(difference(figure, gain, false, heavy));
        }
    }
    let name = other.candidate;
    if parts.is_empty() {
        format!("Against {name}: no difference beyond the rounds' own.")
    } else {
        format!("Against {name}: {}.", parts.join(", "))
    }
}

/// `gain` is of the one that is better.
fn difference(figure: Figure, gain: f64, better: bool, heavy: bool) -> String {
    // Work is more by the gain; CPU and latency are their inverse.
    let more = gain * 100.0;
    let less = (1.0 - 1.0 / (1.0 + gain)) * 100.0;
    let work = if heavy { "bytes/s" } else { "requests/s" };
    let unit = if heavy { "byte" } else { "request" };
    match (figure, better) {
        (Figure::Work, true) => format!("{more:.0} % more {work}"),
        (Figure::Work, false) => format!("{less:.0} % fewer {work}"),
        (Figure::Cost, true) => format!("{less:.0} % less CPU a {unit}"),
        (Figure::Cost, false) => format!("{more:.0} % more CPU a {unit}"),
        (Figure::Latency, true) => format!("{less:.0} % lower p99"),
        (Figure::Latency, false) => format!("{more:.0} % higher p99"),
    }
}

fn is_uneven(outcome: &Outcome) -> bool {
    outcome.candidate.evens == Evens::Nothing
        && outcome.median(|round| round.imbalance) >= UNEVEN_MIN
        && outcome.median(|round| round.stranded) >= UNEVEN_STRANDED_MIN
}

#[cfg(test)]
mod tests {
    use super::super::figures::Round;
    use super::*;
    use crate::fixture::{ALL, MOVES, NOTHING, STEALS, STILL};

    const BULK: Pace = Pace {
        heavy: true,
        paced: true,
    };

    /// Three rounds that differ by 2 %.
    fn outcome(candidate: Candidate, requests: f64, cpu: f64, p99: f64) -> Outcome {
        let round = |drift: f64| Round {
            requests_per_second: requests * drift,
            bytes_per_second: requests * drift * 1e4,
            cpu,
            p50: p99 / 2.0,
            p99,
            imbalance: 0.05,
            stranded: 0.02,
            lost: 0,
        };
        Outcome {
            candidate,
            rounds: [1.0, 1.01, 0.99].map(round).to_vec(),
        }
    }

    fn stranded(mut outcome: Outcome) -> Outcome {
        for round in &mut outcome.rounds {
            (round.imbalance, round.stranded) = (0.9, 0.45);
        }
        outcome
    }

    #[test]
    fn uniform_load_is_thread_per_core_s() {
        let outcomes = [
            outcome(MOVES, 100.0, 1.0, 0.001),
            outcome(STILL, 100.0, 1.0, 0.001),
            outcome(STEALS, 100.0, 1.3, 0.001),
            outcome(NOTHING, 100.0, 1.15, 0.001),
        ];
        for own in ALL {
            let verdict = choose(&outcomes, own, Pace::default()).expect("some ran");
            // Where the own one is as good as the best, it stays.
            let wanted = if own == STILL { own } else { MOVES };
            assert_eq!((verdict.choose, verdict.tie), (wanted, false));
            assert!(
                verdict.why[0].contains("I/O-bound and uniform"),
                "{verdict:?}"
            );
            assert!(verdict.why[0].contains("thread-per-core is ahead"));
            let stealing = "Against stealing: 23 % less CPU a request.";
            assert!(verdict.why.iter().any(|why| why == stealing), "{verdict:?}");
        }
    }

    #[test]
    fn an_uneven_load_wants_rebalancing_or_work_stealing() {
        let still = stranded(outcome(STILL, 60.0, 1.0, 0.01));
        let per_core = stranded(outcome(NOTHING, 58.0, 1.1, 0.01));
        let stealing = outcome(STEALS, 100.0, 1.9, 0.001);
        let outcomes = [
            outcome(MOVES, 100.0, 1.6, 0.001),
            still.clone(),
            stealing.clone(),
            per_core.clone(),
        ];
        let verdict = choose(&outcomes, STILL, Pace::default()).expect("some ran");
        assert_eq!((verdict.choose, verdict.tie), (MOVES, false));
        assert!(verdict.why[0].contains("uneven: under moving, switched off"));
        assert!(verdict.why[0].contains("rebalancing moves connections"));
        let against = "Against moving, switched off: 67 % more requests/s, 90 % lower p99.";
        assert!(verdict.why.iter().any(|why| why == against), "{verdict:?}");
        // Where rebalancing can't keep up, stealing does.
        let outcomes = [outcome(MOVES, 75.0, 1.2, 0.01), still, stealing, per_core];
        let verdict = choose(&outcomes, MOVES, BULK).expect("some ran");
        assert_eq!(verdict.choose, STEALS);
        assert!(verdict.why[0].contains("work stealing keeps all cores busy"));
        let against = "Against moving: 33 % more bytes/s, 19 % more CPU a byte, 90 % lower p99.";
        assert!(verdict.why.iter().any(|why| why == against), "{verdict:?}");
    }

    #[test]
    fn a_tie_leaves_what_there_is() {
        let outcomes = ALL.map(|candidate| outcome(candidate, 100.0, 1.0, 0.001));
        for own in ALL {
            let verdict = choose(&outcomes, own, Pace::default()).expect("some ran");
            assert_eq!((verdict.choose, verdict.tie), (own, true));
            assert!(verdict.why[0].contains("It is a tie"), "{verdict:?}");
            let told = format!(
                "it is a tie: the configuration stays as it is, {}",
                own.name
            );
            assert_eq!(verdict.headline(own, outcomes.len()), told);
        }
        // A difference of the medians under the spread is one, too.
        let mut noisy = outcomes.clone();
        for (round, requests) in noisy[1].rounds.iter_mut().zip([90.0, 115.0, 130.0]) {
            round.requests_per_second = requests;
        }
        let verdict = choose(&noisy, MOVES, Pace::default()).expect("some ran");
        assert_eq!((verdict.choose, verdict.tie), (MOVES, true));
    }

    #[test]
    fn what_could_not_run_is_not_chosen() {
        let outcomes = [
            outcome(STEALS, 100.0, 1.3, 0.001),
            outcome(NOTHING, 100.0, 1.0, 0.001),
        ];
        let verdict = choose(&outcomes, MOVES, Pace::default()).expect("some ran");
        assert_eq!((verdict.choose, verdict.tie), (NOTHING, false));
        assert_eq!(verdict.headline(MOVES, 2), "choose: nothing");
        let alone = choose(&outcomes[..1], MOVES, Pace::default()).expect("one ran");
        assert_eq!(alone.why, ["Nothing but stealing ran."]);
        assert_eq!(alone.headline(MOVES, 1), "choose: stealing");
        let told = "nothing to choose from: the configuration stays as it is, stealing";
        assert_eq!(alone.headline(STEALS, 1), told);
        assert_eq!(choose(&[], MOVES, Pace::default()), None);
    }

    #[test]
    fn an_even_load_is_judged_by_cpu_unless_it_is_not_kept_up_with() {
        let outcomes = [
            outcome(MOVES, 90.0, 0.6, 0.001),
            outcome(STEALS, 100.0, 1.0, 0.001),
        ];
        let chosen = |pace| choose(&outcomes, NOTHING, pace).expect("some ran");
        assert_eq!(chosen(Pace::default()).choose, MOVES);
        let paced = Pace {
            paced: true,
            heavy: false,
        };
        assert_eq!(chosen(paced).choose, STEALS);
    }

    #[test]
    fn latency_decides_among_equals() {
        let outcomes = [
            outcome(MOVES, 100.0, 1.0, 0.004),
            outcome(STEALS, 100.0, 1.0, 0.001),
        ];
        let verdict = choose(&outcomes, MOVES, Pace::default()).expect("some ran");
        assert_eq!(verdict.choose, STEALS);
    }
}
