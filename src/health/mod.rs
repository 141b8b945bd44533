//! Health checks: whether the servers of an upstream take connections, asked from time to time.
//!
//! A check is a connect that is closed as soon as it works. One thread beside the workers makes those of all upstreams,
//! many at a time: a server that doesn't answer holds up neither a worker nor the checks of others, even if hundreds
//! don't. The result is a flag of the server, which workers read when they choose one, and counters.

mod checker;
mod inbox;
mod schedule;
mod target;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use proxy_config::Config;
use proxy_core::Table;

use self::checker::Checker;
use self::inbox::{Inbox, Order};
use self::target::Target;

/// The checks that are made. They end when this is dropped. As long as there were never any, there is no thread.
#[derive(Default)]
pub(crate) struct Checks(Option<Running>);

struct Running {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl Checks {
    /// Gets ready for the checks that `config` asks for.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn prepare(&mut self, config: &Config) -> io::Result<()> {
        let wanted = config.upstreams.iter().any(|one| one.health.is_some());
        if !wanted || self.0.is_some() {
            return Ok(());
        }
        let inbox = Arc::new(Inbox::new()?);
        let its = inbox.clone();
        let thread = thread::Builder::new()
            .name("corelane-health".into())
            .spawn(move || Checker::new(its).run())?;
        self.0 = Some(Running {
            inbox,
            thread: Some(thread),
        });
        Ok(())
    }

    /// Makes the checks that `config` asks for, of the servers in the table that was made of it. It was prepared.
    pub(crate) fn commit(&self, config: &Config, table: &Table) {
        let Some(running) = &self.0 else {
            return;
        };
        let checked = config.upstreams.iter().zip(&table.pools);
        let targets = checked.flat_map(|(configured, pool)| {
            let health = configured.health.as_ref();
            let send_proxy = pool.settings().send_proxy;
            let target = |health| {
                let servers = pool.servers().cloned();
                let options = pool.connect_options();
                servers.map(move |server| Target::new(server, health, send_proxy, options.cloned()))
            };
            health.map(target).into_iter().flatten()
        });
        running.inbox.put(Order::Check(targets.collect()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.inbox.put(Order::Stop);
        // A thread that panicked has said so on its own.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
