//! What a message of the client comes to.

/// What comes after the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A ClientHello. The server has to be asked for TLS, too ([`super::ServerSide`]).
    Hello,
    /// A ClientHello that has begun already, without having been asked for (PostgreSQL 17's direct TLS).
    Direct,
    /// No TLS: a message that the server has to get as it is.
    Plain,
}

/// What a line or a message of the client is.
pub(super) enum Step {
    /// It was answered; another one follows.
    Answered,
    /// What follows is something else.
    Next(Next),
}
