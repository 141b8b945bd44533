//! `corelane demo`: the same skewed load under each scheduler in turn, with nothing else installed.
//!
//! The skew is the one that thread-per-core suffers from: a few heavy flows, all on the first core, and many
//! light ones spread over all. Where each core accepts for itself, connections are opened until the first core
//! has its heavy ones; under work stealing there is no such core, which is the point.

mod load;
mod screen;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use proxy_core::listen::BindAddress;

use crate::admin::Imbalance;
use crate::demo::load::{Load, Report};
use crate::observed::Observed;
use crate::{admin, proxy, sys};

/// How often the screen is drawn.
const TICK: Duration = Duration::from_millis(500);

/// How long workers may take to end their connections.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The schedulers, as the configuration names them.
const SCHEDULERS: [(&str, &str); 3] = [
    ("glommio", "scheduler = \"glommio\""),
    ("tokio work-stealing", "scheduler = \"tokio\""),
    (
        "tokio per-core",
        "scheduler = \"tokio\"\n[runtime.tokio]\nmode = \"per-core\"",
    ),
];

/// What came of one scheduler.
struct Outcome {
    name: &'static str,
    report: Report,
    imbalance: Imbalance,
}

/// Runs each scheduler for `each`, with its admin server at `admin`.
///
/// # Errors
/// When a port, a thread or a descriptor can't be had.
pub(crate) fn run(each: Duration, admin: SocketAddr) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    for (name, runtime) in SCHEDULERS {
        if name == "glommio"
            && let Err(reason) = backend_glommio::probe()
        {
            println!("{name}: skipped: {reason}\n");
            continue;
        }
        outcomes.push(show(name, runtime, each, admin)?);
    }
    screen::summary(&outcomes);
    Ok(())
}

fn show(
    name: &'static str,
    runtime: &str,
    each: Duration,
    admin: SocketAddr,
) -> anyhow::Result<Outcome> {
    let text = format!(
        "[runtime]\n{runtime}\n[admin]\nlisten = \"{admin}\"\n\
         [listeners.demo]\nbind = \"127.0.0.1:0\"\nupstream = \"echo\"\n\
         [upstreams.echo]\nservers = [\"builtin:echo\"]\n"
    );
    let config = proxy_config::parse(&text, "demo")?.config;
    let proxy = proxy::start(&config)?;
    let server = admin::start(config.admin.listen, proxy.observed.clone())
        .with_context(|| format!("the admin server can't listen on {admin}; see --listen"))?;
    let Some((_, BindAddress::Tcp(address))) = proxy.addresses.first() else {
        unreachable!("the demo's configuration has a TCP listener");
    };
    screen::heading(name, *address, server.address, proxy.observed.threads.len());
    let load = Load::start(*address, proxy.observed.clone())?;
    let imbalance = watch(&proxy.observed, &load, each);
    let report = load.stop();
    drop(server);
    proxy.running.stop(STOP_PATIENCE);
    Ok(Outcome {
        name,
        report,
        imbalance,
    })
}

/// Draws the cores until `each` has passed. Returns the imbalance over all of it.
fn watch(observed: &Arc<Observed>, load: &Load, each: Duration) -> Imbalance {
    let begin = Reading::take(observed);
    let mut last = begin.clone();
    while last.at - begin.at < each {
        pause(TICK.min(each - (last.at - begin.at)));
        let reading = Reading::take(observed);
        let utilization = reading.since(&last);
        screen::cores(&utilization, &Imbalance::of(&utilization), &load.peek());
        last = reading;
    }
    Imbalance::of(&last.since(&begin))
}

/// The workers' CPU clocks at one moment.
#[derive(Clone)]
struct Reading {
    at: Instant,
    cpu: Vec<Duration>,
}

impl Reading {
    fn take(observed: &Observed) -> Self {
        let threads = observed.threads.iter();
        Self {
            at: now(),
            cpu: threads
                .map(|thread| sys::thread_cpu_time(thread.tid).unwrap_or_default())
                .collect(),
        }
    }

    /// Utilization of each worker since an earlier reading, 0 to 1.
    fn since(&self, earlier: &Self) -> Vec<f64> {
        let wall = (self.at - earlier.at).as_secs_f64().max(1e-9);
        let cpus = self.cpu.iter().zip(&earlier.cpu);
        cpus.map(|(now, then)| (now.saturating_sub(*then).as_secs_f64() / wall).min(1.0))
            .collect()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main thread, which is no worker"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main thread, which is no worker"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
