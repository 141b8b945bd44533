//! What is configured of the prologues of a listener's connections.

use std::time::Duration;

use ipnet::IpNet;

use crate::connection::origin::ClientAddress;
use crate::prologue::proxy_protocol::V2_BYTES_MAX;
use crate::prologue::starttls::{CLIENT_BYTES_MAX, Protocol};
use crate::prologue::tls::CLIENT_HELLO_BYTES_MAX;

/// How long a prologue may take unless it is configured.
pub const PROLOGUE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a listener hears of its clients before it looks for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrologueSettings {
    /// How long it may take, from the accept.
    pub timeout: Duration,
    /// Whether peers announce clients by the PROXY protocol.
    pub accept_proxy: Option<AcceptProxy>,
    /// Whether a ClientHello is heard, which says the name and the protocols that a client asks for.
    pub hello: Option<HelloSettings>,
}

/// How a ClientHello is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloSettings {
    /// What is spoken before it, with the client and with the server.
    pub starttls: Option<Protocol>,
    /// What happens to clients that speak no TLS.
    pub not_tls: NotTls,
}

/// What happens to clients that speak no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTls {
    /// They have no name and no protocol, and go where routes send them.
    Route,
    /// They are refused.
    Refuse,
}

/// Who announces clients by the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Whether those who may have to.
    pub expected: Expected,
    /// Who may; none: everyone. Who comes by a unix socket may, as its file says who can open it.
    pub trusted: Option<Box<[IpNet]>>,
    /// What happens to the others.
    pub untrusted: Untrusted,
}

/// Whether there must be a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Who sends none is refused.
    Required,
    /// Who sends none, or nothing until the timeout, is a client itself.
    Optional,
}

/// What happens to peers that may not announce clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// They are refused.
    Refuse,
    /// They are clients themselves, and what they send is not looked at.
    Plain,
}

impl PrologueSettings {
    /// Bytes that a prologue can have, and so what a connection in it holds at most.
    pub fn bytes_max(&self) -> usize {
        let header = self.accept_proxy.as_ref().map_or(0, |_| V2_BYTES_MAX);
        let hello = self.hello.map_or(0, |hello| {
            CLIENT_HELLO_BYTES_MAX + hello.starttls.map_or(0, |_| CLIENT_BYTES_MAX)
        });
        header + hello
    }

    /// Whether a client may go on without a hello, if it doesn't matter where it goes: nobody has to ask for TLS.
    pub(crate) fn may_be_unheard(&self) -> bool {
        self.hello.is_some_and(|hello| {
            let mail = matches!(hello.starttls, Some(Protocol::Smtp | Protocol::Imap));
            hello.not_tls == NotTls::Route && !mail
        })
    }
}

impl AcceptProxy {
    /// Whether this peer may announce clients.
    pub fn trusts(&self, peer: ClientAddress) -> bool {
        self.trusted.is_none() || self.names(peer)
    }

    /// Whether this peer is among those that are named, or came by a unix socket: not everyone can be it.
    pub(crate) fn names(&self, peer: ClientAddress) -> bool {
        match (&self.trusted, peer) {
            (_, ClientAddress::Unix) => true,
            (None, _) => false,
            (Some(trusted), ClientAddress::Tcp(address)) => {
                let ip = address.ip();
                trusted.iter().any(|network| network.contains(&ip))
            }
        }
    }

    /// Whether this peer is a client itself, and announces none.
    pub(crate) fn takes_as_client(&self, peer: ClientAddress) -> bool {
        self.untrusted == Untrusted::Plain && !self.trusts(peer)
    }
}
