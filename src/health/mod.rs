//! Health checks: whether the servers of an upstream take connections, asked from time to time.
//!
//! A check is a connect that is closed as soon as it works. One thread makes those of all upstreams, many at a time
//! and never a worker's, so that a server that doesn't answer holds up neither a worker nor the checks of others;
//! hundreds of these may, each for its timeout. What the checks come to is a flag of the server, which workers read when
//! they choose one, and counters.

mod checker;
mod schedule;
mod target;

use std::io;
use std::sync::Arc;
use std::thread;

use proxy_config::Config;
use proxy_core::Upstream;

use self::checker::Checker;
use self::target::Target;

/// Starts the checks that `config` asks for, of its `upstreams` in the same order. They go on as long as the process;
/// without any, there is no thread.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn start(config: &Config, upstreams: &[Arc<Upstream>]) -> io::Result<()> {
    let checked = config.upstreams.iter().zip(upstreams);
    let checked = checked.filter_map(|(configured, upstream)| {
        let health = configured.health.as_ref()?;
        Some((health, upstream))
    });
    let targets: Vec<_> = checked
        .flat_map(|(health, upstream)| {
            let servers = 0..upstream.servers().len();
            servers.map(|server| Target::new(upstream.clone(), server, health))
        })
        .collect();
    if targets.is_empty() {
        return Ok(());
    }
    thread::Builder::new()
        .name("corelane-health".into())
        .spawn(move || Checker::new(targets).run())?;
    Ok(())
}
