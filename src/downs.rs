//! What happens to the connections of servers whose health checks say that they are down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_config::{Config, ConnectionFate, Upstream};
use proxy_core::{Hold, Server, Table};

use crate::closings;

/// How often verdicts are looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The servers of upstreams that don't keep the connections of servers that are down.
#[derive(Debug, Default)]
pub(crate) struct Downs(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    upstream: Upstream,
    servers: Vec<Arc<Server>>,
}

impl Downs {
    /// Watches those of a configuration, of which a table was made, and no others. Returns whether that spares connections which
    /// were to end, and are to see it.
    pub(crate) fn watch(&mut self, config: &Config, table: &Table) -> bool {
        let mut has_lifted = false;
        self.0.clear();
        for (configured, pool) in config.upstreams.iter().zip(&table.pools) {
            let has_verdicts = configured.health.is_some() || configured.agent.is_some();
            if configured.on_down != ConnectionFate::Keep && has_verdicts {
                self.0.push(Watched {
                    upstream: configured.clone(),
                    servers: pool.servers().cloned().collect(),
                });
            } else {
                for server in pool.servers() {
                    has_lifted |= server.on_down.set(None);
                }
            }
        }
        has_lifted
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets an end to the connections of servers that went down since the last look, and lifts it where one is up again. Returns
    /// whether connections are to see that.
    pub(crate) fn look(&self, now: Instant) -> bool {
        let mut has_changed = false;
        for Watched { upstream, servers } in &self.0 {
            for server in servers {
                let is_down = is_down(server, upstream);
                if is_down == server.on_down.is_set() {
                    continue;
                }
                let closing = closings::on_down(upstream, now).filter(|_| is_down);
                has_changed |= server.on_down.set(closing);
                note(upstream, server, is_down);
            }
        }
        has_changed
    }
}

/// Whether its checks or its agent say so. Without checks, a connect that failed says less.
fn is_down(server: &Server, upstream: &Upstream) -> bool {
    let holds = server.holds();
    let fails_checks = holds.has(Hold::Down) || holds.has(Hold::Unfit);
    holds.has(Hold::AgentDown) || fails_checks && upstream.health.is_some()
}

fn note(configured: &Upstream, server: &Server, is_down: bool) {
    let (upstream, connections) = (&server.upstream, server.connections());
    if connections == 0 {
        return;
    }
    if is_down {
        tracing::info!(
            upstream,
            server = server.label,
            connections,
            on_down = %configured.on_down,
            close_over = ?configured.close_over.unwrap_or_default(),
            "the server is down: its connections end"
        );
    } else {
        tracing::info!(
            upstream,
            server = server.label,
            connections,
            "the server is up again: those of its connections that are left stay"
        );
    }
}
