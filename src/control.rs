//! What ticks beside the workers, with one owner: health checks, and the addresses of names.

use std::io;
use std::time::Duration;

use proxy_config::Config;
use proxy_core::Table;

use crate::assemble;
use crate::health::Checks;
use crate::resolver::{FIRST_ANSWERS_WAIT, Resolver};
use crate::start_error::{Explain, cannot_start};

/// How often a reload looks whether new names were tried.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The threads that watch servers. They end when this is dropped.
pub(crate) struct Control {
    checks: Checks,
    names: Resolver,
}

impl Control {
    /// Begins with a configuration and its table. Returns when each name was tried, or after a few seconds.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(config: &Config, table: &Table) -> anyhow::Result<Self> {
        let mut control = Self {
            checks: Checks::default(),
            names: Resolver::new(),
        };
        control.begin(config, table)?;
        control.names.wait(FIRST_ANSWERS_WAIT);
        control.commit(config, table);
        Ok(control)
    }

    /// Gets ready for another configuration and its table: all that can fail. Names that are new are tried, within a few
    /// seconds.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) async fn prepare(&mut self, config: &Config, table: &Table) -> anyhow::Result<()> {
        self.begin(config, table)?;
        let tried = async {
            while !self.names.has_tried_all() {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        // Those that are late are tried by connections as they come.
        let _ = tokio::time::timeout(FIRST_ANSWERS_WAIT, tried).await;
        Ok(())
    }

    fn begin(&mut self, config: &Config, table: &Table) -> anyhow::Result<()> {
        let checks: io::Result<()> = self.checks.prepare(config);
        checks.explain(|error| cannot_start("the health checks' thread", error))?;
        let names = self.names.add(assemble::names(config, table));
        names.explain(|error| cannot_start("the resolver's thread", error))
    }

    /// Goes on with what was prepared, and with nothing else. After a prepared configuration that is not to be, with the one
    /// of before.
    pub(crate) fn commit(&mut self, config: &Config, table: &Table) {
        self.checks.commit(config, table);
        let servers = table.pools.iter().flat_map(|pool| pool.servers());
        self.names.keep(&servers.map(|server| server.id).collect());
    }
}
