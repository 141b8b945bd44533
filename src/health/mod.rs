//! Health checks: whether the servers of an upstream work, asked from time to time.
//!
//! A check is a connect, and what is said then (`proxy-checks`); agents beside servers are asked in the same way. One thread beside the workers makes those of all upstreams,
//! many at a time: a server that doesn't answer holds up neither a worker nor the checks of others, even if hundreds
//! don't. The result is a flag of the server, which workers read when they choose one, and counters.

mod agent;
mod asked;
mod checker;
mod inbox;
mod schedule;
mod script;
mod target;
mod under_way;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use proxy_config::{Check, Config, ServerAddress, WhenAllDown};
use proxy_core::{Hold, Table};

use self::agent::Agent;
use self::asked::Asked;
use self::checker::Checker;
use self::inbox::{Inbox, Order};
use self::script::Saying;
use self::target::Target;

/// The checks that are made. They end when this is dropped. As long as there were never any, there is no thread.
#[derive(Default)]
pub(crate) struct Checks {
    running: Option<Running>,
    /// Held by each server of which the first check is to tell what it is.
    first: Arc<()>,
    /// What the checks of this and of the prepared configuration say, the newest last.
    sayings: Vec<(Check, Arc<Saying>)>,
}

/// Whether what a check says can be made: its files are there, and are what they should be.
///
/// # Errors
/// Why it can't.
pub(crate) fn try_out(check: &Check) -> io::Result<()> {
    Saying::new(check).map(drop)
}

struct Running {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl Checks {
    /// Gets ready for the checks that `config` asks for.
    ///
    /// # Errors
    /// When no thread can be started, or what checks say can't be made.
    pub(crate) fn prepare(&mut self, config: &Config) -> io::Result<()> {
        for health in config
            .upstreams
            .iter()
            .filter_map(|one| one.health.as_ref())
        {
            let new = Saying::new(&health.check)?;
            if self
                .saying(&health.check)
                .is_none_or(|old| !old.is_as(&new))
            {
                self.sayings.push((health.check.clone(), Arc::new(new)));
            }
        }
        let mut upstreams = config.upstreams.iter();
        let wanted = upstreams.any(|one| one.health.is_some() || one.agent.is_some());
        if !wanted || self.running.is_some() {
            return Ok(());
        }
        let inbox = Arc::new(Inbox::new()?);
        let its = inbox.clone();
        let thread = thread::Builder::new()
            .name("corelane-health".into())
            .spawn(move || Checker::new(its).run())?;
        self.running = Some(Running {
            inbox,
            thread: Some(thread),
        });
        Ok(())
    }

    /// Checks servers that were not checked before, before they are in force. It was prepared.
    pub(crate) fn begin(&self, config: &Config, table: &Table) {
        if let Some(running) = &self.running {
            running.inbox.put(Order::Add(self.targets(config, table)));
        }
    }

    /// Whether each server whose checks tell what it is was checked once.
    pub(crate) fn have_first_results(&self) -> bool {
        Arc::strong_count(&self.first) == 1
    }

    /// Makes the checks that `config` asks for, of the servers in the table that was made of it. It was prepared.
    pub(crate) fn commit(&mut self, config: &Config, table: &Table, now: Instant) {
        forget_roles(config, table, now);
        if let Some(running) = &self.running {
            let upstreams = config.upstreams.iter().zip(&table.pools);
            let agentless = upstreams.filter(|(configured, _)| configured.agent.is_none());
            let agentless = agentless.flat_map(|(_, pool)| pool.servers());
            let heeding = agentless.filter(|server| server.heeds_agent());
            let order = Order::Check(self.targets(config, table), heeding.cloned().collect());
            running.inbox.put(order);
        }
        let mut left = Vec::new();
        for health in config
            .upstreams
            .iter()
            .filter_map(|one| one.health.as_ref())
        {
            let newest = self.saying(&health.check).cloned();
            left.extend(newest.map(|newest| (health.check.clone(), newest)));
        }
        self.sayings = left;
    }

    /// What was prepared last for such a check.
    fn saying(&self, check: &Check) -> Option<&Arc<Saying>> {
        let mut newest = self.sayings.iter().rev();
        newest.find(|(of, _)| of == check).map(|(_, saying)| saying)
    }

    fn targets(&self, config: &Config, table: &Table) -> Vec<Asked> {
        let checked = config.upstreams.iter().zip(&table.pools);
        let targets = checked.flat_map(|(configured, pool)| {
            let target = |health: &proxy_config::Health| {
                let saying = self.saying(&health.check)?;
                let upstream = target::Upstream {
                    health,
                    saying,
                    holds: holds(configured),
                    send_proxy: pool.settings().send_proxy,
                    connect_options: pool.connect_options(),
                    first: &self.first,
                };
                let targets = pool.servers().enumerate().map(|(place, server)| {
                    // Those that a source names come after those that are configured.
                    let written = configured.servers.get(place);
                    let check_port = written.and_then(|written| written.check_port);
                    let check_port = check_port.map(Into::into);
                    let port = check_port.or(health.port.map(Into::into));
                    let said = match written {
                        Some(written) => saying.to(&written.address, port),
                        None => saying.to(&found(&server.label), port),
                    };
                    Asked::Check(Target::new(server.clone(), check_port, said, &upstream).into())
                });
                Some(targets.collect::<Vec<_>>())
            };
            let health = configured.health.as_ref();
            health.and_then(target).into_iter().flatten()
        });
        targets.chain(agents(config, table)).collect()
    }
}

/// The agents beside the servers.
fn agents(config: &Config, table: &Table) -> impl Iterator<Item = Asked> {
    let upstreams = config.upstreams.iter().zip(&table.pools);
    upstreams.flat_map(|(configured, pool)| {
        let agents = configured.agent.iter();
        agents.flat_map(|agent| {
            let options = pool.connect_options();
            pool.servers()
                .map(move |server| Asked::Agent(Agent::new(server.clone(), agent, options).into()))
        })
    })
}

/// The address of a server that a source names.
fn found(label: &str) -> ServerAddress {
    let address = label.parse().map(ServerAddress::Socket);
    address.unwrap_or(ServerAddress::BuiltinEcho)
}

/// Forgets what another process has heard of servers that nobody asks here: before anything is asked.
pub(crate) fn forget_unasked(config: &Config, table: &Table, now: Instant) {
    forget_roles(config, table, now);
    for (configured, pool) in config.upstreams.iter().zip(&table.pools) {
        if configured.agent.is_none() {
            pool.servers().for_each(|server| server.forget_agent(now));
        }
    }
}

/// Forgets what checks held against servers that are not asked any more what they are.
fn forget_roles(config: &Config, table: &Table, now: Instant) {
    for (configured, pool) in config.upstreams.iter().zip(&table.pools) {
        if !holds(configured) {
            pool.servers()
                .for_each(|server| _ = server.set_hold(Hold::Unfit, false, now));
        }
    }
}

/// Whether servers of an upstream that fail its checks get no connection, even where no other is up.
fn holds(upstream: &proxy_config::Upstream) -> bool {
    let mut health = upstream.health.iter();
    upstream.balancing.when_all_down == WhenAllDown::Refuse
        && health.any(|health| health.check.knows_role())
}

impl Drop for Running {
    fn drop(&mut self) {
        self.inbox.put(Order::Stop);
        // A thread that panicked has said so on its own.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
