//! One measured turn of one system.

use std::time::Duration;

use crate::spread::Spread;
use crate::sys::Priority;
use crate::system::System;
use crate::workload::Workload;

/// What the load generator counted between two readings of the clocks.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Wall time between the readings.
    pub(crate) wall: Duration,
    /// CPU time of the proxy's processes.
    pub(crate) cpu: Duration,
    /// Time that the proxy's CPU was used by anything else, to 10 ms.
    pub(crate) foreign: Duration,
    /// Round trips, bytes or connections.
    pub(crate) units: u64,
    /// The window's parts.
    pub(crate) slices: Vec<Slice>,
    /// Where the load has latencies.
    pub(crate) latency: Option<Latency>,
    /// Where the load is idle connections.
    pub(crate) footprint: Option<Footprint>,
    /// Of the messages' thread before the bulk load's, in a mix.
    pub(crate) priority: Option<Priority>,
    /// The same load on the same system where it only relays, right after this.
    pub(crate) plain: Option<Box<Window>>,
}

impl Window {
    /// Part of the wall time that others were on the proxy's CPU, in the worse of the two where it is compared.
    pub(crate) fn foreign_part(&self) -> f64 {
        let plain = self
            .plain
            .as_ref()
            .map_or(0.0, |plain| plain.foreign_part());
        plain.max(self.foreign.as_secs_f64() / self.wall.as_secs_f64())
    }

    /// CPU time a unit, in seconds.
    fn cpu_a_unit(&self) -> f64 {
        self.cpu.as_secs_f64() / self.units as f64
    }
}

/// Bytes of memory that a connection takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    /// In the proxy's processes.
    pub(crate) user: f64,
    /// In the kernel. It is the whole machine's, so that it swings with what others do.
    pub(crate) kernel: f64,
}

/// How long messages took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// p50, p99 and p99.9.
    pub(crate) quantiles: [Duration; 3],
    /// Messages a second of the open loop, whose latencies count from the time at which a message was to be sent.
    /// A closed loop has no rate: it sends nothing while it waits, so its latencies leave out what a user arriving
    /// meanwhile would have waited (coordinated omission).
    pub(crate) rate: Option<f64>,
}

/// A part of a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) cpu: Duration,
    pub(crate) units: u64,
}

/// A window, and where it belongs.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) workload: Workload,
    pub(crate) system: System,
    pub(crate) round: u32,
    pub(crate) window: Window,
}

/// All that is known of one workload.
pub(crate) struct Results {
    pub(crate) workload: Workload,
    /// The same load without a proxy, where that was asked.
    pub(crate) direct: Option<Window>,
    pub(crate) samples: Vec<Sample>,
    /// Turns that gave no sample, and why.
    pub(crate) failures: Vec<String>,
}

impl Sample {
    /// CPU time a unit of work, in the workload's printed unit; of idle connections the user memory. For bulk it is the median of the slices': a
    /// neighbour's burst in the caches, or a window that grows, moves some slices and not the middle one.
    pub(crate) fn cost(&self) -> f64 {
        if let Some(footprint) = self.window.footprint {
            return footprint.user;
        }
        let of_slices = (self.window.slices)
            .iter()
            .filter(|slice| slice.units > 0)
            .map(|slice| slice.cpu.as_secs_f64() / slice.units as f64);
        let seconds = match Spread::of(of_slices) {
            Some(spread) if self.workload.is_bulk() => spread.median,
            _ => self.window.cpu_a_unit(),
        };
        seconds * self.workload.cost_unit().1
    }

    /// The cost as a multiple of what it is where the system only relays; none where that was not measured.
    pub(crate) fn to_plain(&self) -> Option<f64> {
        let plain = self.window.plain.as_ref()?;
        Some(self.window.cpu_a_unit() / plain.cpu_a_unit())
    }

    /// Throughput, in the workload's printed unit; of idle connections the kernel memory.
    pub(crate) fn rate(&self) -> f64 {
        if let Some(footprint) = self.window.footprint {
            return footprint.kernel;
        }
        self.window.units as f64 / self.window.wall.as_secs_f64() * self.workload.rate_unit().1
    }

    /// Part of the wall time that the proxy was on its CPU.
    pub(crate) fn busy(&self) -> f64 {
        self.window.cpu.as_secs_f64() / self.window.wall.as_secs_f64()
    }

    /// Takes the kernel memory of as many connections without a proxy off that of this sample's.
    pub(crate) fn leave_out(&mut self, direct: Option<&Window>) {
        let direct = direct.and_then(|window| window.footprint);
        if let (Some(footprint), Some(direct)) = (&mut self.window.footprint, direct) {
            footprint.kernel -= direct.kernel;
        }
    }

    /// A latency quantile (0: p50, 1: p99, 2: p99.9) in microseconds; 0 where there is none.
    pub(crate) fn latency_us(&self, quantile: usize) -> f64 {
        self.window.latency.map_or(0.0, |latency| {
            latency.quantiles[quantile].as_secs_f64() * 1e6
        })
    }

    /// The names of [`csv`](Self::csv)'s columns.
    pub(crate) const CSV_HEADER: &str = "workload,system,round,wall_seconds,cpu_seconds,foreign_seconds,units,\
                                         cost,cost_unit,rate,rate_unit,p50_us,p99_us,p999_us,\
                                         open_loop_rate,to_plain";

    /// One line of CSV.
    pub(crate) fn csv(&self) -> String {
        let Self {
            workload,
            system,
            round,
            window,
        } = self;
        format!(
            "{workload},{system},{round},{:.6},{:.6},{:.2},{},{:.4},{},{:.4},{},{:.1},{:.1},{:.1},{:.0},{}",
            window.wall.as_secs_f64(),
            window.cpu.as_secs_f64(),
            window.foreign.as_secs_f64(),
            window.units,
            self.cost(),
            workload.cost_unit().0,
            self.rate(),
            workload.rate_unit().0,
            self.latency_us(0),
            self.latency_us(1),
            self.latency_us(2),
            window
                .latency
                .and_then(|latency| latency.rate)
                .unwrap_or(0.0),
            self.to_plain()
                .map_or_else(String::new, |ratio| format!("{ratio:.4}")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_in_one_slice_moves_the_cost_of_bulk_not_at_all() {
        let slice = |ms| Slice {
            cpu: Duration::from_millis(ms),
            units: 1_000_000_000,
        };
        let sample = Sample {
            workload: Workload::Bulk { connections: 1 },
            system: System::Haproxy { splice: false },
            round: 0,
            window: Window {
                wall: Duration::from_secs(1),
                cpu: Duration::from_millis(1_300),
                foreign: Duration::ZERO,
                units: 3_000_000_000,
                slices: vec![slice(200), slice(900), slice(200)],
                latency: None,
                footprint: None,
                priority: None,
                plain: None,
            },
        };
        assert!((sample.cost() - 0.2).abs() < 1e-9);
    }
}
