//! Where the API is: at a unix socket, or at an address.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use proxy_state::client::{self, Answer, Question};

use crate::authority::Authority;

/// A proxy's API.
#[derive(Clone, Debug)]
pub enum Target {
    /// At the unix socket of a proxy.
    Socket(PathBuf),
    /// At the address of its admin server.
    Address(Authority),
}

impl Target {
    /// At `http://HOST:PORT`; scheme and port may be left out.
    ///
    /// # Errors
    /// When it is another scheme, or no host.
    pub fn url(url: &str) -> anyhow::Result<Self> {
        Ok(Self::Address(Authority::parse(url)?))
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Address(authority) => authority.url(),
        }
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// When nobody answers, with what to do.
    pub(super) fn ask(&self, question: &Question, patience: Duration) -> anyhow::Result<Answer> {
        match self {
            Self::Socket(path) => client::ask_unix(path, question, patience)
                .map_err(|error| self.explain(socket_advice(&error), error)),
            Self::Address(authority) => {
                let asked = client::ask_tcp(authority.as_str(), question, patience);
                asked.map_err(|error| {
                    let advice = "see that a proxy runs there, and what `listen` of its [admin] is";
                    self.explain(advice, error)
                })
            }
        }
    }

    fn explain(&self, advice: &str, error: io::Error) -> anyhow::Error {
        let text = format!("cannot ask the proxy at {}: {advice}", self.shown());
        anyhow::Error::new(error).context(text)
    }
}

/// Why nobody can be asked at a unix socket, and what to do.
pub fn socket_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "no proxy takes commands there; `socket` of [admin] in its configuration says where it does, \
             and --socket takes that path"
        }
        io::ErrorKind::PermissionDenied => {
            "root may, the user that the proxy runs as, and members of `socket_group` of [admin]"
        }
        io::ErrorKind::WouldBlock => "too many wait there already; try again in a few seconds",
        io::ErrorKind::TimedOut => {
            "it took the command and is still busy with it; its log says with what"
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidData => {
            "it broke off, or no corelane listens there; see that a proxy runs there"
        }
        _ => "see that a proxy runs there",
    }
}
