//! The agent of a server, and what its answers change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_checks::agent::Report;
use proxy_checks::{Dialogue, Script, agent};
use proxy_core::metrics::CheckResult;
use proxy_core::{Admission, AgentReport, ConnectOptions, Dial, Judge, Server, ServerAddress};

use super::schedule::Pace;
use super::target::{Begun, Failed};

/// The part of the interval by which an agent is asked late at most.
const JITTER_PART: u32 = 10;

/// An agent that is asked.
#[derive(Clone)]
pub(super) struct Agent {
    server: Arc<Server>,
    configured: Configured,
    script: Script,
    /// It was not asked yet, as far as is known here.
    is_new: bool,
    /// The last time it could not be asked, which is told once.
    has_failed: bool,
}

#[derive(Clone, PartialEq)]
struct Configured {
    agent: proxy_config::Agent,
    connect_options: Option<ConnectOptions>,
}

impl Agent {
    /// That of a server.
    pub(super) fn new(
        server: Arc<Server>,
        agent: &proxy_config::Agent,
        connect_options: Option<&ConnectOptions>,
    ) -> Self {
        Self {
            server,
            script: Script::Agent(agent.send.as_slice().into()),
            configured: Configured {
                agent: agent.clone(),
                connect_options: connect_options.cloned(),
            },
            is_new: true,
            has_failed: false,
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Whether it is that of the same server, asked in the same way.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.server.id == other.server.id && self.configured == other.configured
    }

    pub(super) fn pace(&self) -> Pace {
        let interval = self.configured.agent.interval;
        Pace {
            interval,
            jitter: interval / JITTER_PART,
            is_urgent: self.is_new,
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.configured.agent.timeout
    }

    /// Where it listens: beside an address of the server's connections.
    pub(super) fn address(&self, address: ServerAddress) -> ServerAddress {
        match address {
            ServerAddress::Tcp(mut address) => {
                address.set_port(self.configured.agent.port.into());
                ServerAddress::Tcp(address)
            }
            address => address,
        }
    }

    pub(super) fn dial(&self) -> Dial<'_> {
        Dial {
            options: self.configured.connect_options.as_ref(),
            client: None,
        }
    }

    pub(super) fn begin(&self) -> Begun {
        Ok(Dialogue::begin(&self.script, b""))
    }

    /// Counts what asking came to, and does what the agent says. One that can't be asked changes nothing.
    pub(super) fn on_over(&mut self, said: Result<Option<&Report>, Failed>, now: Instant) {
        self.is_new = false;
        let (result, said) = match said {
            Ok(said) => (CheckResult::Passed, said),
            Err(failed) => {
                let result = CheckResult::Failed(failed.fault.reason);
                self.on_failure(failed);
                (result, None)
            }
        };
        self.server.agent_checks().of(result).increment();
        let Some(said) = said else { return };
        let (upstream, server) = (&self.server.upstream, &self.server.label);
        if std::mem::take(&mut self.has_failed) {
            tracing::info!(upstream, server, "the server's agent answers again");
        }
        let before = self.server.holds();
        if !self.server.on_agent(&report(said), now) {
            return;
        }
        let says = &said.line;
        if self.server.holds() == before {
            tracing::debug!(
                upstream,
                server,
                says,
                "the server's agent changes its weight"
            );
        } else {
            tracing::info!(
                upstream,
                server,
                says,
                "the server's agent changes its state"
            );
            let words = format!("gets another state by its agent: {says}");
            self.server.tell(Judge::Agent, &words);
        }
    }

    fn on_failure(&mut self, Failed { fault, detail }: Failed) {
        if std::mem::replace(&mut self.has_failed, true) {
            return;
        }
        let (upstream, server) = (&self.server.upstream, &self.server.label);
        let reason = fault.reason.label();
        let error = fault.errno.map(std::io::Error::from);
        let error = error.map(tracing::field::display);
        tracing::warn!(
            upstream,
            server,
            reason,
            error,
            detail,
            "the server's agent can't be asked: what it said last stays"
        );
    }
}

/// What the core makes of an agent's line.
fn report(said: &Report) -> AgentReport {
    AgentReport {
        percent: said.weight_percent,
        max_connections: said.max_connections,
        is_up: said.is_up,
        admission: said.admission.map(|admission| match admission {
            agent::Admission::Ready => Admission::Ready,
            agent::Admission::Drain => Admission::Drain,
            agent::Admission::Maintenance => Admission::Maintenance,
        }),
        line: said.line.clone(),
    }
}
