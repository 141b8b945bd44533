//! Who is told what becomes of servers without anybody's wish.

use std::fmt;

/// Is told when what is held against a server changes: by a thread of checks, or by a worker, which waits meanwhile.
pub trait Witness: fmt::Debug + Send + Sync {
    /// What `judge` has come to of a server, in words that follow the name of its upstream and its own.
    fn on_verdict(&self, judge: Judge, upstream: &str, server: &str, words: &str);
}

/// Who decides something about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// Its health checks.
    Check,
    /// Its agent.
    Agent,
    /// What became of its connections.
    Ejection,
}

impl Judge {
    /// A word for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Agent => "agent",
            Self::Ejection => "ejection",
        }
    }
}
