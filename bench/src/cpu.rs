//! CPUs: how busy one is, whoever uses it.

use std::fs;
use std::time::Duration;

/// Length of the ticks of /proc/stat.
const TICK: Duration = Duration::from_millis(10);

/// Time that `cpu` has spent on anything but idling, since boot, in ticks of 10 ms. Only good for telling
/// how much of a CPU others used while it was being measured on.
pub(crate) fn busy(cpu: usize) -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{cpu}");
    let ticks: u32 = stat
        .lines()
        .find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '))
        .map_or(0, |fields| {
            // user nice system idle iowait irq softirq steal; guest time is inside user.
            let fields: Vec<u32> = fields
                .split_whitespace()
                .map_while(|field| field.parse().ok())
                .collect();
            let total: u32 = fields.iter().take(8).sum();
            total - fields.get(3).copied().unwrap_or(0) - fields.get(4).copied().unwrap_or(0)
        });
    TICK * ticks
}
