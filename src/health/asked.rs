//! Who is asked: a server, by its check, or the agent beside it.

use std::time::{Duration, Instant};

use proxy_checks::Dialogue;
use proxy_core::{Dial, Server, ServerAddress};

use super::agent::Agent;
use super::schedule::Pace;
use super::target::{Begun, Failed, Target};

/// Who is asked.
#[derive(Clone)]
pub(super) enum Asked {
    Check(Box<Target>),
    Agent(Box<Agent>),
}

impl Asked {
    /// Whether it is the same one, asked in the same way.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Check(own), Self::Check(other)) => own.is_as(other),
            (Self::Agent(own), Self::Agent(other)) => own.is_as(other),
            _ => false,
        }
    }

    /// Whether it is the same one, in whatever way it is asked.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_agent = |one: &Self| matches!(one, Self::Agent(_));
        is_agent(self) == is_agent(other) && self.server().id == other.server().id
    }

    /// Whether it is the same one, asked the same, however often. An agent's answers stand by themselves.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Check(own), Self::Check(other)) => own.asks_as(other),
            (Self::Agent(own), Self::Agent(other)) => own.server().id == other.server().id,
            _ => false,
        }
    }

    /// It is asked from now on what it was not asked before.
    pub(super) fn on_begin(&mut self) {
        if let Self::Check(target) = self {
            target.on_begin();
        }
    }

    /// It is asked now.
    pub(super) fn on_ask(&mut self, now: Instant) {
        if let Self::Check(target) = self {
            target.on_ask(now);
        }
    }

    /// Connections go by this configuration from now on.
    pub(super) fn put_in_force(&mut self, now: Instant) {
        if let Self::Check(target) = self {
            target.put_in_force(now);
        }
    }

    /// See [`Target::hold`].
    pub(super) fn hold(&self, now: Instant) {
        if let Self::Check(target) = self {
            target.hold(now);
        }
    }

    pub(super) fn server(&self) -> &Server {
        match self {
            Self::Check(target) => target.server(),
            Self::Agent(agent) => agent.server(),
        }
    }

    /// How often it is asked.
    pub(super) fn pace(&self) -> Pace {
        match self {
            Self::Check(target) => target.pace(),
            Self::Agent(agent) => agent.pace(),
        }
    }

    /// How soon it is asked again, if it is sooner than at its turn.
    pub(super) fn soon(&self) -> Option<Duration> {
        match self {
            Self::Check(target) => target.soon(),
            Self::Agent(_) => None,
        }
    }

    /// How long that may take.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Check(target) => target.timeout(),
            Self::Agent(agent) => agent.timeout(),
        }
    }

    /// Where it is asked, of a server at this address.
    pub(super) fn address(&self, address: ServerAddress) -> ServerAddress {
        match self {
            Self::Check(target) => target.address(address),
            Self::Agent(agent) => agent.address(address),
        }
    }

    /// Whether that tells whether an address works that connections go to.
    pub(super) fn is_checked_where_it_serves(&self) -> bool {
        match self {
            Self::Check(target) => target.is_checked_where_it_serves(),
            Self::Agent(_) => false,
        }
    }

    /// How it is connected to, besides its address.
    pub(super) fn dial(&self) -> Dial<'_> {
        match self {
            Self::Check(target) => target.dial(),
            Self::Agent(agent) => agent.dial(),
        }
    }

    /// What it is told first where a connect is all; may be empty.
    pub(super) fn preface(&self) -> &[u8] {
        match self {
            Self::Check(target) => target.preface(),
            Self::Agent(_) => &[],
        }
    }

    /// What is said to it, once it is connected to; none: a connect is all.
    pub(super) fn begin_dialogue(&self) -> Option<Begun> {
        match self {
            Self::Check(target) => target.begin_dialogue(),
            Self::Agent(agent) => Some(agent.begin()),
        }
    }

    /// What asking came to, with what was said.
    pub(super) fn on_over(
        &mut self,
        result: Result<(), Failed>,
        said: Option<&Dialogue>,
        now: Instant,
    ) {
        match self {
            Self::Check(target) => target.on_check(result, now),
            Self::Agent(agent) => {
                let said = result.map(|()| said.and_then(Dialogue::report));
                agent.on_over(said, now);
            }
        }
    }
}
