//! Why the beginning of a connection is refused.

use thiserror::Error;

use super::LINE_BYTES_MAX;
use super::{CLIENT_BYTES_MAX, COMMANDS_MAX, SERVER_BYTES_MAX};

/// What is wrong before the change to TLS.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Bad {
    /// It isn't a message of the protocol.
    #[error("not a message of the protocol")]
    Form,
    /// A line that doesn't end with CRLF, or is too long.
    #[error("a line that isn't one of at most {LINE_BYTES_MAX} bytes with CRLF at its end")]
    Line,
    /// The client wants no TLS.
    #[error("a client that wants no TLS after {COMMANDS_MAX} commands or {CLIENT_BYTES_MAX} bytes")]
    NoTls,
    /// The client says goodbye.
    #[error("a client that ends the connection before TLS")]
    Quit,
    /// The server takes no TLS.
    #[error("a server that takes no TLS")]
    Refused,
    /// The server says too much.
    #[error("a server that says more than {SERVER_BYTES_MAX} bytes before TLS")]
    TooLong,
}

impl Bad {
    /// A short name for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Line => "line",
            Self::NoTls => "no_tls",
            Self::Quit => "quit",
            Self::Refused => "refused",
            Self::TooLong => "too_long",
        }
    }
}
