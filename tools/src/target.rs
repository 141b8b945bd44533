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
    Address {
        /// Where that is.
        authority: Authority,
        /// What shows that the caller may change the proxy.
        token: Option<String>,
        /// Who has signed the server's certificate, in PEM; none: plain HTTP.
        ca: Option<Vec<u8>>,
    },
}

impl Target {
    /// At `http://HOST:PORT` or `https://HOST:PORT`; scheme and port may be left out.
    ///
    /// # Errors
    /// When it is another scheme, or no host; when nobody is trusted under https://, or a token would go in plain text.
    pub fn url(url: &str, token: Option<String>, ca: Option<Vec<u8>>) -> anyhow::Result<Self> {
        let (url, is_encrypted) = match url.strip_prefix("https://") {
            Some(rest) => (rest, true),
            None => (url, false),
        };
        let authority = Authority::parse(url)?;
        anyhow::ensure!(
            is_encrypted == ca.is_some(),
            "an https:// URL takes --ca FILE: the server's certificate, or its authority's, in PEM; others don't"
        );
        anyhow::ensure!(
            is_encrypted || token.is_none() || authority.is_loopback(),
            "a token goes over plain http:// to loopback only; ask by https://"
        );
        Ok(Self::Address {
            authority,
            token,
            ca,
        })
    }

    pub(crate) fn token(&self) -> Option<String> {
        match self {
            Self::Socket(_) => None,
            Self::Address { token, .. } => token.clone(),
        }
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Address { authority, ca, .. } => match ca {
                Some(_) => format!("https://{}", authority.as_str()),
                None => authority.url(),
            },
        }
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// When nobody answers, with what to do.
    pub(crate) fn ask(&self, question: &Question, patience: Duration) -> anyhow::Result<Answer> {
        let asked = self.try_ask(question, patience);
        asked.map_err(|error| {
            let advice = match self {
                Self::Socket(_) => socket_advice(&error),
                Self::Address { .. } => {
                    "see that a proxy runs there, and what `listen` of its [admin] is"
                }
            };
            self.explain(advice, error)
        })
    }

    /// What a path shows.
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) fn get(&self, path: &str, patience: Duration) -> io::Result<Answer> {
        let question = Question {
            method: "GET".to_owned(),
            path: path.to_owned(),
            token: self.token(),
            ..Question::default()
        };
        self.try_ask(&question, patience)
    }

    fn try_ask(&self, question: &Question, patience: Duration) -> io::Result<Answer> {
        match self {
            Self::Socket(path) => client::ask_unix(path, question, patience),
            Self::Address { authority, ca, .. } => {
                client::ask_tcp(authority.as_str(), ca.as_deref(), question, patience)
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
