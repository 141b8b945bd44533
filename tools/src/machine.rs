//! What else the machine was doing.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// Part of the machine's CPU time that others have, from which they disturb a measurement.
pub(crate) const OTHERS_MIN: f64 = 0.1;

/// The machine's CPU time and this process's, at one moment.
pub(crate) struct Machine {
    times: Option<Times>,
    own: Duration,
}

/// CPU time over all CPUs, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    busy: u64,
    total: u64,
}

impl Machine {
    /// Reads them.
    pub(crate) fn sample() -> Self {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            times: fs::read_to_string("/proc/stat")
                .ok()
                .and_then(|stat| parse(&stat)),
            own: Duration::new(own.tv_sec.unsigned_abs(), own.tv_nsec as u32),
        }
    }

    /// Part of the machine's CPU time that others had since an earlier sample, 0 to 1. None where `/proc` doesn't tell.
    pub(crate) fn others_since(&self, earlier: &Self) -> Option<f64> {
        let (now, then) = (self.times?, earlier.times?);
        let total = now
            .total
            .checked_sub(then.total)
            .filter(|&ticks| ticks > 0)?;
        let busy = now.busy.saturating_sub(then.busy) as f64;
        let own = (self.own - earlier.own).as_secs_f64() * clock_ticks_per_second() as f64;
        Some(((busy - own) / total as f64).clamp(0.0, 1.0))
    }
}

/// The first line is of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal, and guests that are in user.
fn parse(stat: &str) -> Option<Times> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = fields
        .split_ascii_whitespace()
        .take(8)
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let total = ticks.iter().sum();
    Some(Times {
        busy: total - ticks.get(3)? - ticks.get(4)?,
        total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_have_what_is_busy_and_not_ours() {
        let parsed = parse("cpu  10 1 20 100 5 2 3 4 7 7\ncpu0 1 1\n");
        let wanted = Times {
            busy: 40,
            total: 145,
        };
        assert_eq!(parsed, Some(wanted));
        assert_eq!(parse("cpu  1 x"), None);
        assert_eq!(parse("intr 1"), None);
        let at = |busy, total, own| Machine {
            times: Some(Times { busy, total }),
            own: Duration::from_secs(own),
        };
        let second = clock_ticks_per_second();
        let others = at(5 * second, 10 * second, 4).others_since(&at(0, 0, 1));
        assert!((others.expect("a time") - 0.2).abs() < 1e-9);
        // Clocks of different grain.
        assert_eq!(at(1, 10, 9).others_since(&at(0, 0, 1)), Some(0.0));
        assert_eq!(at(0, 0, 0).others_since(&at(0, 0, 0)), None);
    }
}
