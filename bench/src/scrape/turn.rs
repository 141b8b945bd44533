//! One corelane, scraped.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::servers::Servers;
use crate::admin::{await_start, scrape};
use crate::cli::ScrapeArgs;
use crate::load::{Gauges as _, Timing, run_beside};
use crate::proxy::{Proxy, Start, free_port};
use crate::sys::Priority;
use crate::system::{System, Tuning};
use crate::turn::{Dials, upstreams};
use crate::visit::Duty;

/// Connections of the messages.
pub(super) const MESSAGES: usize = 50;
/// Scrapes one after the other.
pub(super) const SCRAPES: usize = 100;
/// Between two scrapes of those that messages are measured beside.
pub(super) const EVERY: Duration = Duration::from_millis(100);

/// What a turn has shown.
pub(super) struct Turn {
    pub(super) system: System,
    pub(super) are_checked: bool,
    /// Series of a scrape.
    pub(super) series: usize,
    /// How long the scrapes took, the quickest first.
    pub(super) scrapes: Vec<Duration>,
    /// Latencies of the messages: p50, p99 and p99.9.
    pub(super) alone: [Duration; 3],
    pub(super) scraped: [Duration; 3],
    /// Part of the time that others had of the proxy's CPU.
    pub(super) foreign: f64,
    pub(super) priority: Priority,
}

impl Turn {
    /// Starts `system` and measures it.
    pub(super) fn of(
        system: System,
        are_checked: bool,
        corelane: Option<&Path>,
        args: &ScrapeArgs,
    ) -> anyhow::Result<Self> {
        let servers = Servers::start(args.servers)?;
        let cpus = [args.common.machine.proxy_cpu];
        let admin = free_port()?.local_addr()?;
        let (upstreams, addresses) = upstreams(1)?;
        let start = Start {
            cpus: &cpus,
            corelane,
            prefix: &[],
            tuning: Tuning {
                tables: &servers.tables(are_checked),
                admin: Some(admin),
                ..Tuning::default()
            },
            duty: Duty::Relay,
        };
        let proxy = Proxy::start(system, &addresses, &start)?;
        await_start(admin)?;
        let dials = Dials {
            proxy: Some(&proxy),
            cpus: &cpus,
        };
        let Timing { warmup, measured } = args.turns.timing();
        let (target, upstream) = (proxy.listens[0], &upstreams[0]);
        let (started, before) = (Instant::now(), dials.clocks()?);
        let alone = run_beside(MESSAGES, target, upstream, warmup, |begin| {
            sleep_until(begin + measured);
            Ok(())
        })?;
        let scraped = run_beside(MESSAGES, target, upstream, warmup, |begin| {
            scrape_until(begin + measured, begin, admin)
        })?;
        let scrapes = run_beside(MESSAGES, target, upstream, warmup, |begin| {
            sleep_until(begin);
            let mut took = (0..SCRAPES)
                .map(|_| timed(admin))
                .collect::<anyhow::Result<Vec<_>>>()?;
            took.sort_unstable();
            Ok(took)
        })?;
        let (wall, after) = (started.elapsed(), dials.clocks()?);
        let foreign = (after.busy - before.busy).saturating_sub(after.proxy - before.proxy);
        let text = scrape(admin)?;
        let down = lines(&text).filter(|line| is_down(line)).count();
        ensure!(down == 0, "{down} servers are down");
        Ok(Self {
            system,
            are_checked,
            series: lines(&text).count(),
            scrapes: scrapes.work,
            alone: alone.latency.quantiles,
            scraped: scraped.latency.quantiles,
            foreign: foreign.as_secs_f64() / wall.as_secs_f64(),
            priority: alone.priority,
        })
    }

    /// The time within which a part of the scrapes was answered, in milliseconds.
    pub(super) fn scrape_ms(&self, part: f64) -> f64 {
        let rank = (part * self.scrapes.len() as f64).ceil() as usize;
        let took = self.scrapes[rank.saturating_sub(1)];
        took.as_secs_f64() * 1e3
    }
}

/// Scrapes each [`EVERY`] from `begin` on.
fn scrape_until(end: Instant, begin: Instant, admin: SocketAddr) -> anyhow::Result<()> {
    let times = (0..).map(|index| begin + EVERY * index);
    for time in times.take_while(|&time| time < end) {
        sleep_until(time);
        timed(admin)?;
    }
    sleep_until(end);
    Ok(())
}

fn timed(admin: SocketAddr) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    scrape(admin)?;
    Ok(begin.elapsed())
}

fn sleep_until(time: Instant) {
    sleep(time.saturating_duration_since(Instant::now()));
}

/// The lines of the metrics that are series.
fn lines(metrics: &str) -> impl Iterator<Item = &str> {
    let series = |line: &&str| !line.is_empty() && !line.starts_with('#');
    metrics.lines().filter(series)
}

fn is_down(line: &str) -> bool {
    line.starts_with("corelane_upstream_up{") && line.ends_with(" 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Scheduler;

    #[test]
    fn a_part_of_the_scrapes_is_within_the_time_of_its_last() {
        let turn = Turn {
            system: System::Corelane(Scheduler::Glommio),
            are_checked: false,
            series: 0,
            scrapes: (1..=100).map(Duration::from_millis).collect(),
            alone: [Duration::ZERO; 3],
            scraped: [Duration::ZERO; 3],
            foreign: 0.0,
            priority: Priority::Equal,
        };
        assert_eq!(
            [0.5, 0.95, 1.0].map(|part| turn.scrape_ms(part)),
            [50.0, 95.0, 100.0]
        );
    }

    #[test]
    fn series_are_told_from_comments() {
        let answer = "# TYPE corelane_upstream_up gauge\n\
                      corelane_upstream_up{server=\"a\"} 1\ncorelane_upstream_up{server=\"b\"} 0\n";
        assert_eq!(lines(answer).count(), 2);
        assert_eq!(lines(answer).filter(|line| is_down(line)).count(), 1);
    }
}
