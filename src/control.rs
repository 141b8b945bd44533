//! What ticks beside the workers, with one owner: health checks, the addresses of names, and sources of servers.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use proxy_admin::Discoveries;
use proxy_config::Config;
use proxy_core::Table;

use crate::assemble;
use crate::discovery::{FIRST_ANSWERS_WAIT, Found, Lookup, Names, Sources, Thread};
use crate::health::Checks;
use crate::start_error::{Explain, cannot_start};

/// How often a reload looks whether new names were tried.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a start and a reload wait for the first checks of servers that get no connection before.
const FIRST_CHECKS_WAIT: Duration = Duration::from_secs(3);

/// The threads that watch servers. They end when this is dropped.
pub(crate) struct Control {
    checks: Checks,
    names: Names,
    sources: Sources,
    /// Where names and sources are asked for.
    thread: Thread,
}

impl Control {
    /// Watches nothing yet. What sources say is noted in `shown`.
    pub(crate) fn new(shown: Arc<Discoveries>) -> Self {
        Self {
            checks: Checks::default(),
            names: Names::new(Lookup::of_system()),
            sources: Sources::new(shown),
            thread: Thread::default(),
        }
    }

    /// What its sources named last, by upstream, for the process that takes over.
    pub(crate) fn found(&self) -> HashMap<String, Vec<Found>> {
        self.sources.found()
    }

    /// What the process before found is good until sources are heard.
    pub(crate) fn go_on_with(&mut self, found: &HashMap<String, Vec<Found>>) {
        self.sources.go_on_with(found);
    }

    /// Begins with the sources of a configuration. Returns it with the servers that they name, when each was heard, or after a
    /// few seconds.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn discover(&mut self, config: &Config) -> anyhow::Result<Config> {
        self.ask(config)?;
        self.sources.wait(FIRST_ANSWERS_WAIT);
        Ok(self.sources.complete(config))
    }

    /// The same for another configuration, while others have their turn.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) async fn discover_meanwhile(&mut self, config: &Config) -> anyhow::Result<Config> {
        self.ask(config)?;
        // Those that are late change the servers when they are heard.
        let _ = tokio::time::timeout(FIRST_ANSWERS_WAIT, self.sources.heard()).await;
        Ok(self.sources.complete(config))
    }

    fn ask(&mut self, config: &Config) -> anyhow::Result<()> {
        if self.sources.are_new(config) {
            let thread = self.thread.handle();
            let on = thread.explain(|error| cannot_start("the thread for names", error))?;
            self.sources.prepare(config, &on);
        }
        Ok(())
    }

    /// The configuration with the servers that its sources name now, of which a table is made.
    pub(crate) fn complete(&mut self, config: &Config) -> Config {
        self.sources.see();
        self.sources.complete(config)
    }

    /// Waits until a source says something else than [`Control::complete`] has found, for who makes tables of it.
    pub(crate) async fn changed(&self) {
        self.sources.changed().await;
    }

    /// Begins with a configuration and its table. Returns when each name was tried, and each server that gets no connection
    /// before was checked, or after a few seconds.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(&mut self, config: &Config, table: &Table) -> anyhow::Result<()> {
        self.begin(config, table)?;
        self.names.wait(FIRST_ANSWERS_WAIT);
        self.commit(config, table);
        let begun_at = now();
        while !self.checks.have_first_results() && begun_at.elapsed() < FIRST_CHECKS_WAIT {
            thread::park_timeout(LOOK_INTERVAL);
        }
        Ok(())
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
        self.checks.begin(config, table);
        let checked = async {
            // Once the checker has begun with them, and before.
            while !self.checks.have_first_results() {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let _ = tokio::time::timeout(FIRST_CHECKS_WAIT, checked).await;
        Ok(())
    }

    fn begin(&mut self, config: &Config, table: &Table) -> anyhow::Result<()> {
        let checks: io::Result<()> = self.checks.prepare(config);
        checks.explain(|error| cannot_start("the health checks", error))?;
        let names = assemble::names(config, table);
        if !names.is_empty() {
            let thread = self.thread.handle();
            let on = thread.explain(|error| cannot_start("the thread for names", error))?;
            self.names.add(names, &on);
        }
        Ok(())
    }

    /// Goes on with what was prepared, and with nothing else. After a prepared configuration that is not to be, with the one
    /// of before.
    pub(crate) fn commit(&mut self, config: &Config, table: &Table) {
        self.checks.commit(config, table, now());
        let servers = table.pools.iter().flat_map(|pool| pool.servers());
        self.names.keep(&servers.map(|server| server.id).collect());
        self.sources.commit(config);
    }
}

#[expect(clippy::disallowed_methods, reason = "once a start")]
fn now() -> Instant {
    Instant::now()
}
