//! What goes to the server before anything that the client says later.

use std::net::SocketAddr;

use crate::carry::{Error, Fields, HELD_BYTES_MAX, Writer};
use crate::connection::record::Record;
use crate::prologue::proxy_protocol::{self, Header};
use crate::prologue::starttls::Protocol;
use crate::prologue::{Heard, Parsed};
use crate::relay::buffer::Held;
use crate::upstream::send_proxy::{About, SendProxy};

/// What was received of a client in its prologue. It is kept until a server is connected to.
#[derive(Clone, Debug)]
pub(crate) struct First {
    received: Vec<u8>,
    /// Bytes of the header of the PROXY protocol, which comes first.
    header: usize,
    /// Bytes that were not meant for the server.
    consumed: usize,
    /// What is spoken with the server before it gets the rest.
    pub(super) starttls: Option<Protocol>,
}

/// Bytes for the server, of which the first ones are the proxy's own.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) held: Held,
    pub(crate) own: usize,
}

impl First {
    /// None if there is nothing to keep.
    pub(super) fn new(received: Vec<u8>, heard: &Heard) -> Option<Box<Self>> {
        (!received.is_empty()).then(|| {
            Box::new(Self {
                received,
                header: heard.header,
                consumed: heard.consumed,
                starttls: heard.starttls,
            })
        })
    }

    /// What a client has said to a server.
    #[cfg(test)]
    pub(super) fn said(received: Vec<u8>) -> Box<Self> {
        Box::new(Self {
            received,
            header: 0,
            consumed: 0,
            starttls: None,
        })
    }

    /// Whether the client has said something that is for the server.
    pub(super) fn has_bytes(&self) -> bool {
        self.consumed < self.received.len()
    }

    /// The header that was received.
    fn header(&self) -> Option<Header<'_>> {
        match proxy_protocol::parse(&self.received[..self.header]) {
            Parsed::Done { value, .. } => Some(value),
            _ => None,
        }
    }
}

mod tag {
    pub(super) const RECEIVED: u8 = 0;
    pub(super) const HEADER: u8 = 1;
    pub(super) const CONSUMED: u8 = 2;
    pub(super) const STARTTLS: u8 = 3;
}

impl First {
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.bytes(tag::RECEIVED, &self.received);
        out.number(tag::HEADER, self.header as u64);
        out.number(tag::CONSUMED, self.consumed as u64);
        out.text(
            tag::STARTTLS,
            match self.starttls {
                None => "",
                Some(Protocol::Postgres) => "postgres",
                Some(Protocol::Smtp) => "smtp",
                Some(Protocol::Imap) => "imap",
            },
        );
    }

    pub(super) fn decode(mut fields: Fields<'_>) -> Result<Box<Self>, Error> {
        let received = fields.bytes(tag::RECEIVED, HELD_BYTES_MAX)?.to_vec();
        if received.is_empty() {
            return Err(Error::Lacks("what the client said first"));
        }
        let most = received.len() as u64;
        let first = Self {
            header: fields.number(tag::HEADER, most, "a header")? as usize,
            consumed: fields.number(tag::CONSUMED, most, "bytes that were consumed")? as usize,
            starttls: fields.parsed(tag::STARTTLS, "a protocol", |text| match text {
                "postgres" => Some(Protocol::Postgres),
                "smtp" => Some(Protocol::Smtp),
                "imap" => Some(Protocol::Imap),
                _ => None,
            })?,
            received,
        };
        fields.finish()?;
        Ok(Box::new(first))
    }
}

impl Opening {
    /// What a server gets first: a header, where its upstream sends one and it has none yet, and what the client has said. None if
    /// that is nothing. `local` is asked for the address that the client connected to.
    pub(super) fn new(
        first: Option<Box<First>>,
        send_proxy: Option<SendProxy>,
        record: &Record,
        local: impl FnOnce() -> Option<SocketAddr>,
    ) -> Option<Self> {
        let mut own = header(first.as_deref(), send_proxy, record, local);
        let said = first.filter(|first| first.has_bytes());
        let own_bytes = own.len();
        let held = match said {
            None if own.is_empty() => None,
            None => Some(Held::new(own, 0)),
            Some(first) if own.is_empty() => Some(Held::new(first.received, first.consumed)),
            Some(first) => {
                own.extend_from_slice(&first.received[first.consumed..]);
                Some(Held::new(own, 0))
            }
        };
        held.map(|held| Self {
            held,
            own: own_bytes,
        })
    }
}

/// The header that a server gets, where its upstream sends one; else it is empty. `local` is asked for the address that the client
/// connected to.
pub(super) fn header(
    first: Option<&First>,
    send_proxy: Option<SendProxy>,
    record: &Record,
    local: impl FnOnce() -> Option<SocketAddr>,
) -> Vec<u8> {
    let mut header = Vec::new();
    if let Some(send_proxy) = send_proxy {
        let about = About {
            id: record.id(),
            peer: record.peer(),
            local: local(),
            facts: record.facts().map(|facts| &**facts),
            received: first.and_then(First::header),
        };
        send_proxy.write(&about, &mut header);
    }
    header
}
