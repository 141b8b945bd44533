//! `[runtime]`, as it is written.

use super::text::{duration, or_off, quoted, table};
use crate::sections::runtime::Runtime;
use crate::values::cores::Cores;

pub(super) fn write(text: &mut String, runtime: &Runtime) {
    let cores = match &runtime.cores {
        Cores::All => quoted("all"),
        Cores::Count(count) => count.to_string(),
        Cores::List(cpus) => {
            let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
            quoted(cpus.join(","))
        }
    };
    let mut values = vec![
        ("scheduler", quoted(runtime.scheduler)),
        ("cores", cores),
        ("pin", runtime.pin.to_string()),
        ("drain_timeout", duration(runtime.drain_timeout)),
        ("close_over", or_off(runtime.close_over)),
        ("on_switch", quoted(runtime.on_switch)),
        ("watch", runtime.watch.to_string()),
    ];
    let max = runtime.max_connections;
    values.extend(max.map(|max| ("max_connections", max.to_string())));
    for (key, account) in [("user", &runtime.user), ("group", &runtime.group)] {
        values.extend(account.as_ref().map(|account| (key, quoted(account))));
    }
    table(text, "[runtime]", &values);
    let glommio = &runtime.glommio;
    table(
        text,
        "[runtime.glommio]",
        &[
            ("ring_depth", glommio.ring_depth.to_string()),
            ("preempt_timer", duration(glommio.preempt_timer)),
            ("placement", quoted(glommio.placement)),
        ],
    );
    let rebalance = &glommio.rebalance;
    table(
        text,
        "[runtime.glommio.rebalance]",
        &[
            ("enabled", rebalance.enabled.to_string()),
            ("interval", duration(rebalance.interval)),
            ("threshold", format!("{:?}", rebalance.threshold)),
            ("max_moves", rebalance.max_moves.to_string()),
        ],
    );
    table(
        text,
        "[runtime.tokio]",
        &[("mode", quoted(runtime.tokio.mode))],
    );
}
