//! Why a ClientHello is refused.

use thiserror::Error;

use super::{ALPN_BYTES_MAX, CLIENT_HELLO_BYTES_MAX, SERVER_NAME_BYTES_MAX};

/// What is wrong with a ClientHello.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Bad {
    /// It is longer than this proxy takes, its records' headers included.
    #[error("a ClientHello of more than {CLIENT_HELLO_BYTES_MAX} bytes")]
    TooLong,
    /// A record inside of it is of another kind, of another version, empty, or longer than a record can be.
    #[error("a ClientHello that something else interrupts")]
    Record,
    /// Its fields don't fit into each other.
    #[error("a ClientHello whose lengths don't fit")]
    Form,
    /// Its server name is empty, longer than a name can be, not printable ASCII, or one of several.
    #[error("a server name that isn't one name of at most {SERVER_NAME_BYTES_MAX} bytes")]
    ServerName,
    /// Its ALPN list is empty, has an empty name, is longer than this proxy takes, or one of several.
    #[error("an ALPN list that isn't one list of at most {ALPN_BYTES_MAX} bytes")]
    Alpn,
}

impl Bad {
    /// A short name for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Record => "record",
            Self::Form => "form",
            Self::ServerName => "server_name",
            Self::Alpn => "alpn",
        }
    }
}
