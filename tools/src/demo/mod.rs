//! `corelane demo`: the same skewed load under each scheduler in turn, with nothing else installed.
//!
//! The skew is the one that thread-per-core suffers from: a few heavy flows, all on the first core, and many
//! light ones spread over all. Where each core accepts for itself, connections are opened until the first core
//! has its heavy ones; under work stealing there is no such core, which is the point.

mod conclusion;
mod outcome;
mod screen;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use self::outcome::Outcome;
use crate::candidate::Candidate;
use crate::clocks::{Reading, pause};
use crate::host::{Host, NoStart, Proxy};
use crate::machine::{Machine, OTHERS_MIN};
use proxy_config::Config;
use proxy_console::outln;
use proxy_load::{Flows, Load, Workload};
use proxy_state::Imbalance;

/// How long it looks at what others do, before it begins.
const BUSY_LOOK: Duration = Duration::from_millis(300);

/// How often the screen is drawn.
const TICK: Duration = Duration::from_millis(500);

/// How long workers may take to end their connections.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A few heavy flows, all on the first core where there is such a thing, and many light ones.
const LOAD: Workload = Workload {
    light: Flows {
        count: 32,
        bytes: 64,
        interval: Some(Duration::from_millis(10)),
        messages: None,
    },
    heavy: Flows {
        count: 4,
        bytes: 256 * 1024,
        interval: None,
        messages: None,
    },
    heavy_on_one_core: true,
    threads: 1,
};

/// Runs each scheduler for `each`, with its admin server at `admin`.
///
/// # Errors
/// When there is no port, thread or descriptor left.
pub fn run(each: Duration, admin: SocketAddr, host: &dyn Host) -> anyhow::Result<()> {
    warn_of_others();
    let begin = Machine::sample();
    let mut outcomes = Vec::new();
    let candidates = host.candidates().into_iter();
    for candidate in candidates.filter(|candidate| candidate.is_default) {
        let name = candidate.name;
        if proxy_console::has_failed() {
            break;
        }
        let proxy = match host.start(&configuration(candidate, admin)?, Some(admin)) {
            Ok(proxy) => proxy,
            Err(NoStart::Unavailable(reason)) => {
                outln!("{name}: skipped: {reason:#}\n");
                continue;
            }
            Err(NoStart::Failed(reason)) => return Err(reason),
        };
        outcomes.push(show(name, proxy, each)?);
    }
    screen::summary(&outcomes);
    screen::conclusion(&conclusion::of(
        &outcomes,
        Machine::sample().others_since(&begin),
    ));
    Ok(())
}

/// Says before it begins that the figures will mean little, where that is so.
fn warn_of_others() {
    let before = Machine::sample();
    pause(BUSY_LOOK);
    let others = Machine::sample().others_since(&before);
    if let Some(others) = others.filter(|&others| others >= OTHERS_MIN) {
        screen::busy(others);
    }
}

fn configuration(candidate: Candidate, admin: SocketAddr) -> anyhow::Result<Config> {
    let text = format!(
        "{}\n[admin]\nlisten = \"{admin}\"\n\
         [listeners.demo]\nbind = \"127.0.0.1:0\"\nupstream = \"echo\"\n\
         [upstreams.echo]\nservers = [\"builtin:echo\"]\n",
        candidate.toml
    );
    Ok(proxy_config::parse(&text, "demo")?.config)
}

fn show(name: &'static str, proxy: Proxy, each: Duration) -> anyhow::Result<Outcome> {
    let admin = proxy.admin.expect("it was asked for");
    let &[address] = &proxy.addresses[..] else {
        unreachable!("the demo's configuration has a TCP listener");
    };
    screen::heading(name, address, admin, proxy.threads.len());
    let load = Load::start(&proxy.addresses, &LOAD, proxy.first_core())
        .context("the demo's clients can't connect")?;
    load.begin();
    let imbalance = watch(&proxy.threads, &load, each);
    let report = load.report();
    drop(load);
    (proxy.stop)(STOP_PATIENCE);
    Ok(Outcome {
        name,
        report,
        imbalance,
    })
}

/// Draws the cores until `each` has passed. Returns the imbalance over all of it.
fn watch(threads: &[i32], load: &Load, each: Duration) -> Imbalance {
    let begin = Reading::take(threads);
    let mut last = begin.clone();
    // Nobody sees it any more, when the reader of stdout is gone.
    while last.at - begin.at < each && !proxy_console::has_failed() {
        pause(TICK.min(each - (last.at - begin.at)));
        let reading = Reading::take(threads);
        let utilization = reading.since(&last);
        screen::cores(&utilization, &Imbalance::of(&utilization), &load.report());
        last = reading;
    }
    Imbalance::of(&last.since(&begin))
}
