//! Medians, and ratios of neighbours in time.

use crate::sample::Sample;
use crate::spread::Spread;
use crate::system::System;

/// A system's samples under one workload, against the baseline's of the same rounds.
pub(crate) struct Summary {
    pub(crate) system: System,
    pub(crate) cost: Spread,
    /// Its cost over the baseline's in the same round.
    pub(crate) ratio: Option<Spread>,
    /// Its cost over its own where it only relays.
    pub(crate) to_plain: Option<Spread>,
    pub(crate) rate: Spread,
    pub(crate) latency_us: [Spread; 3],
    pub(crate) busy: Spread,
    pub(crate) foreign: Spread,
}

/// Everything about one workload's samples, cheapest first, and the system that the ratios are to.
pub(crate) fn summarise(samples: &[Sample]) -> (Option<System>, Vec<Summary>) {
    let mut systems: Vec<System> = Vec::new();
    for sample in samples {
        if !systems.contains(&sample.system) {
            systems.push(sample.system);
        }
    }
    let of = |system: System| samples.iter().filter(move |sample| sample.system == system);
    let baseline = best(samples, System::is_anchor, Sample::cost);

    let mut summaries: Vec<Summary> = systems
        .iter()
        .filter_map(|&system| {
            let latency =
                |quantile| Spread::of(of(system).map(move |sample| sample.latency_us(quantile)));
            Some(Summary {
                system,
                cost: Spread::of(of(system).map(Sample::cost))?,
                ratio: baseline
                    .and_then(|baseline| ratios(samples, system, baseline, Sample::cost)),
                to_plain: Spread::of(of(system).filter_map(Sample::to_plain)),
                rate: Spread::of(of(system).map(Sample::rate))?,
                latency_us: [latency(0)?, latency(1)?, latency(2)?],
                busy: Spread::of(of(system).map(Sample::busy))?,
                foreign: Spread::of(of(system).map(|sample| sample.window.foreign_part()))?,
            })
        })
        .collect();
    summaries.sort_by(|a, b| a.cost.median.total_cmp(&b.cost.median));
    (baseline, summaries)
}

/// The system among `candidates` whose median of `figure` is the least.
pub(crate) fn best(
    samples: &[Sample],
    candidates: impl Fn(System) -> bool,
    figure: fn(&Sample) -> f64,
) -> Option<System> {
    let median = |system: System| {
        let own = samples.iter().filter(|sample| sample.system == system);
        Spread::of(own.map(figure)).map_or(f64::MAX, |spread| spread.median)
    };
    let systems = samples.iter().map(|sample| sample.system);
    systems
        .filter(|&system| candidates(system))
        .min_by(|&a, &b| median(a).total_cmp(&median(b)))
}

/// The `figure` of `system` over that of `baseline` in the same round.
pub(crate) fn ratios(
    samples: &[Sample],
    system: System,
    baseline: System,
    figure: fn(&Sample) -> f64,
) -> Option<Spread> {
    let of = |system: System| samples.iter().filter(move |sample| sample.system == system);
    Spread::of(of(system).filter_map(|sample| {
        let other = of(baseline).find(|other| other.round == sample.round)?;
        Some(figure(sample) / figure(other))
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sample::Window;
    use crate::workload::Workload;

    fn sample(system: System, round: u32, cpu_ms: u64) -> Sample {
        let second = Duration::from_secs(1);
        let cpu = Duration::from_millis(cpu_ms);
        let window = Window {
            wall: second,
            cpu,
            foreign: Duration::ZERO,
            units: 1000,
            slices: Vec::new(),
            latency: None,
            footprint: None,
            priority: None,
            plain: None,
        };
        Sample {
            workload: Workload::Bulk { connections: 1 },
            system,
            round,
            window,
        }
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let spread = Spread::of([5.0, 1.0, 2.0, 4.0, 3.0]).unwrap();
        assert_eq!(
            spread,
            Spread {
                median: 3.0,
                low: 2.0,
                high: 4.0
            }
        );
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert!(Spread::of([]).is_none());
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_to_the_cheaper_anchor() {
        let (haproxy, nginx) = (
            System::Haproxy { splice: true },
            System::Nginx { buffer: "64k" },
        );
        let peer = System::Peer(peers::Relay::Tokio);
        // The machine is half as fast in round 1; the ratios must not notice.
        let samples = [
            [
                sample(haproxy, 0, 100),
                sample(nginx, 0, 200),
                sample(peer, 0, 50),
            ],
            [
                sample(haproxy, 1, 200),
                sample(nginx, 1, 400),
                sample(peer, 1, 100),
            ],
        ]
        .concat();
        let (baseline, summaries) = summarise(&samples);
        assert_eq!(baseline, Some(haproxy));
        assert_eq!(summaries[0].system, peer);
        assert_eq!(
            summaries[0].ratio,
            Some(Spread {
                median: 0.5,
                low: 0.5,
                high: 0.5
            })
        );
    }
}
