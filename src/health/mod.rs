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
use std::thread;

use proxy_config::Config;
use proxy_core::Table;

use self::checker::Checker;
use self::target::Target;

/// Starts the checks that `config` asks for, of the servers in the table that was made of it. They go on as long as the process;
/// without any, there is no thread.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn start(config: &Config, table: &Table) -> io::Result<()> {
    let checked = config.upstreams.iter().zip(&table.pools);
    let targets = checked.flat_map(|(configured, pool)| {
        let health = configured.health.as_ref();
        let target = |health| {
            let servers = pool.servers().cloned();
            servers.map(move |server| Target::new(server, health))
        };
        health.map(target).into_iter().flatten()
    });
    let targets: Vec<_> = targets.collect();
    if targets.is_empty() {
        return Ok(());
    }
    thread::Builder::new()
        .name("corelane-health".into())
        .spawn(move || Checker::new(targets).run())?;
    Ok(())
}
