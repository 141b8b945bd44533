//! What corelane says of its cores.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::admin::scrape;

/// Between two looks.
pub(super) const EVERY: Duration = Duration::from_millis(250);

/// λ between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Since the load began, at the end of the interval.
    pub(super) at: Duration,
    pub(super) imbalance: f64,
}

/// Connections that each core took, by now.
pub(super) fn accepts(admin: SocketAddr) -> anyhow::Result<Vec<f64>> {
    Ok(of_cores(&scrape(admin)?, "corelane_core_accepts_total"))
}

/// Live connections that came to another core, by now.
pub(super) fn migrations(admin: SocketAddr) -> anyhow::Result<f64> {
    let text = scrape(admin)?;
    let moved = text.lines().filter_map(|line| {
        let labels = line.strip_prefix("corelane_core_migrations_total{")?;
        let (labels, value) = labels.split_once("} ")?;
        if !labels.contains("direction=\"in\"") {
            return None;
        }
        value.parse::<f64>().ok()
    });
    Ok(moved.sum())
}

/// Looks until `stopped`.
pub(super) fn watch(admin: SocketAddr, stopped: &AtomicBool) -> anyhow::Result<Vec<Look>> {
    let cpu =
        || Ok::<_, anyhow::Error>(of_cores(&scrape(admin)?, "corelane_core_cpu_seconds_total"));
    let started = Instant::now();
    let mut before = cpu()?;
    let mut looks = Vec::new();
    for look in 1.. {
        sleep((EVERY * look).saturating_sub(started.elapsed()));
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let now = cpu()?;
        looks.push(Look {
            at: started.elapsed(),
            imbalance: imbalance(&before, &now),
        });
        before = now;
    }
    Ok(looks)
}

/// A family's figures, in the order of the cores.
fn of_cores(text: &str, family: &str) -> Vec<f64> {
    let mut figures: Vec<(usize, f64)> = text
        .lines()
        .filter_map(|line| {
            let labels = line.strip_prefix(family)?.strip_prefix("{core=\"")?;
            let (core, value) = labels.split_once("\"} ")?;
            Some((core.parse().ok()?, value.parse().ok()?))
        })
        .collect();
    figures.sort_by_key(|&(core, _)| core);
    figures.into_iter().map(|(_, value)| value).collect()
}

/// λ of what the cores did between two looks: the most over the mean, less one.
fn imbalance(before: &[f64], now: &[f64]) -> f64 {
    let used = || now.iter().zip(before).map(|(now, before)| now - before);
    let mean = used().sum::<f64>() / now.len().max(1) as f64;
    if mean > 0.0 {
        used().fold(0.0, f64::max) / mean - 1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_the_order_of_the_cores() {
        let text = "# HELP a_total x\na_total{core=\"10\"} 3\na_total{core=\"2\"} 1.5\na_total_b{core=\"0\"} 9\n";
        assert_eq!(of_cores(text, "a_total"), [1.5, 3.0]);
    }

    #[test]
    fn one_of_four_cores_doing_all_is_three() {
        assert_eq!(imbalance(&[1.0; 4], &[2.0, 1.0, 1.0, 1.0]), 3.0);
        assert_eq!(imbalance(&[1.0; 4], &[2.0; 4]), 0.0);
        assert_eq!(imbalance(&[1.0; 4], &[1.0; 4]), 0.0);
    }
}
