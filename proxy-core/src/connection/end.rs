//! The end of a connection, in two letters and in full.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::origin::ClientAddress;
use crate::listener::Listener;
use crate::metrics::{Cause, ConnectFailure};
use crate::route::Facts;
use crate::upstream::server::Server;

/// All that there is to say of a connection that has ended.
#[derive(Clone, Debug)]
pub struct End {
    /// As among the live connections.
    pub id: u64,
    /// What the client connected to.
    pub listener: Arc<Listener>,
    /// The client: the one that the peer announced, if it did.
    pub client: ClientAddress,
    /// Who has connected.
    pub peer: ClientAddress,
    /// What else is known of it; none where the listener neither hears its clients nor has routes.
    pub facts: Option<Arc<Facts>>,
    /// The server, or the last one that was tried; none if none was.
    pub server: Option<Arc<Server>>,
    /// Bytes from the client that the server took.
    pub bytes_in: u64,
    /// Bytes from the server that the client took.
    pub bytes_out: u64,
    /// From the accept to the first attempt to connect, or to the end if there was none.
    pub wait: Duration,
    /// From the first attempt to connect until one had worked; none if none did.
    pub connect: Option<Duration>,
    /// From the accept to the end.
    pub total: Duration,
    /// Attempts to connect after the first one.
    pub retries: u16,
    /// The worker that ended it.
    pub core: usize,
    /// Why, as the counters have it.
    pub cause: Cause,
    /// Why and when, in two letters.
    pub termination: Termination,
    /// When.
    pub at: Instant,
}

/// What a connection was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waited for the core that was to begin it, or for a place at a server.
    Queue,
    /// Its client was heard, and no server was looked for yet.
    Prologue,
    /// No server had answered yet.
    Connect,
    /// Bytes could go both ways.
    Data,
    /// The server's stream had ended.
    Last,
}

/// Why a connection ended, and what it was at: two letters, which mean what HAProxy's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination([char; 2]);

impl Termination {
    /// That of a connection that ended by `cause`. `failure` is the last failed connect's.
    pub fn of(cause: Cause, stage: Stage, failure: Option<ConnectFailure>) -> Self {
        let who = match cause {
            Cause::Finished => return Self(['-', '-']),
            Cause::ClientReset | Cause::ClientError => 'C',
            Cause::ServerReset | Cause::ServerError => 'S',
            Cause::ConnectFailed => match failure {
                Some(ConnectFailure::Timeout) => 's',
                Some(ConnectFailure::Local) => 'R',
                _ => 'S',
            },
            Cause::IdleTimeout
            | Cause::ClientIdleTimeout
            | Cause::HalfClosedTimeout
            | Cause::PrologueTimeout => 'c',
            Cause::ServerIdleTimeout => 's',
            Cause::MaxLifetime | Cause::Drain | Cause::ServerRemoved | Cause::ByHand => 'K',
            Cause::ServerDown => 'D',
            Cause::Refused => 'P',
        };
        Self([who, stage.letter()])
    }

    /// That of a timeout while the server was waited for: it left bytes untaken, or its stream was the one still open.
    pub(crate) fn server_stalled(stage: Stage) -> Self {
        Self(['s', stage.letter()])
    }

    /// That of a connection that has waited for a place at a server for as long as it may.
    pub(crate) fn late() -> Self {
        Self(['s', Stage::Queue.letter()])
    }

    /// That of a connection for which this machine lacked a resource.
    pub(crate) fn exhausted(stage: Stage) -> Self {
        Self(['R', stage.letter()])
    }
}

impl Stage {
    const fn letter(self) -> char {
        match self {
            Self::Queue => 'Q',
            Self::Prologue => 'R',
            Self::Connect => 'C',
            Self::Data => 'D',
            Self::Last => 'L',
        }
    }
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [cause, stage] = self.0;
        write!(f, "{cause}{stage}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of docs/access-log.md.
    #[test]
    fn every_cause_has_its_letters() {
        use Stage::{Connect, Data, Last, Prologue, Queue};
        for (cause, stage, failure, letters) in [
            (Cause::Finished, Last, None, "--"),
            (Cause::ClientReset, Queue, None, "CQ"),
            (Cause::ClientReset, Connect, None, "CC"),
            (Cause::ClientReset, Data, None, "CD"),
            (Cause::ClientReset, Last, None, "CL"),
            (Cause::ClientError, Data, None, "CD"),
            (Cause::ServerReset, Data, None, "SD"),
            (Cause::ServerError, Data, None, "SD"),
            (Cause::IdleTimeout, Data, None, "cD"),
            (Cause::IdleTimeout, Last, None, "cL"),
            (Cause::Refused, Prologue, None, "PR"),
            (Cause::PrologueTimeout, Prologue, None, "cR"),
            (Cause::ClientReset, Prologue, None, "CR"),
            (Cause::Drain, Prologue, None, "KR"),
            (Cause::ClientIdleTimeout, Data, None, "cD"),
            (Cause::ClientIdleTimeout, Last, None, "cL"),
            (Cause::ServerIdleTimeout, Data, None, "sD"),
            (Cause::HalfClosedTimeout, Last, None, "cL"),
            (Cause::MaxLifetime, Data, None, "KD"),
            (Cause::MaxLifetime, Last, None, "KL"),
            (Cause::Drain, Queue, None, "KQ"),
            (Cause::Drain, Connect, None, "KC"),
            (Cause::Drain, Data, None, "KD"),
            (Cause::Drain, Last, None, "KL"),
            (Cause::ServerRemoved, Data, None, "KD"),
            (Cause::ServerRemoved, Last, None, "KL"),
            (Cause::ByHand, Data, None, "KD"),
            (Cause::ServerDown, Data, None, "DD"),
            (Cause::ServerDown, Last, None, "DL"),
        ] {
            let termination = Termination::of(cause, stage, failure);
            assert_eq!(termination.to_string(), letters, "{cause:?} at {stage:?}");
        }
        for failure in ConnectFailure::ALL {
            let letters = match failure {
                ConnectFailure::Timeout => "sC",
                ConnectFailure::Local => "RC",
                _ => "SC",
            };
            let termination = Termination::of(Cause::ConnectFailed, Connect, Some(failure));
            assert_eq!(termination.to_string(), letters, "{failure:?}");
        }
        assert_eq!(Termination::server_stalled(Data).to_string(), "sD");
        assert_eq!(Termination::late().to_string(), "sQ");
        assert_eq!(Termination::exhausted(Queue).to_string(), "RQ");
    }
}
