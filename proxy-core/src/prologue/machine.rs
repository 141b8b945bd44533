//! The parsers of a prologue, one after the other.

use std::sync::Arc;

use crate::connection::origin::{ClientAddress, Origin};
use crate::metrics::PrologueResult;
use crate::prologue::proxy_protocol::{self, Addresses, Bad, Header};
use crate::prologue::{AcceptProxy, Expected, Parsed, PrologueSettings, Untrusted};
use crate::route::Facts;

/// What is known so far of a client that is heard.
///
/// It gets everything that was received since the accept each time, and remembers how much of it is dealt with.
#[derive(Debug)]
pub struct Machine {
    settings: Arc<PrologueSettings>,
    origin: Origin,
    awaits: Awaits,
    heard: Heard,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    ProxyHeader,
    /// Everything was heard.
    Nothing,
    /// Nothing is heard of a peer that may not speak.
    Untrusted,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Receive more.
    More,
    /// Send this to the client, and ask again.
    Reply(Box<[u8]>),
    /// All was heard: [`Machine::take_heard`] has it.
    Done,
    /// Refuse the client, or end the connection of a probe, for this reason.
    Refuse(PrologueResult),
}

/// What a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who it is and what it asks for.
    pub facts: Facts,
    /// Bytes of the header of the PROXY protocol, which comes first.
    pub header: usize,
    /// Bytes that are dealt with; what comes after them is the server's.
    pub consumed: usize,
    /// How it is counted.
    pub result: PrologueResult,
}

impl Machine {
    /// For a connection that was accepted just now.
    pub fn new(settings: Arc<PrologueSettings>, origin: Origin) -> Self {
        Self {
            awaits: match &settings.accept_proxy {
                Some(accept) => Awaits::first_of(accept, origin),
                None => Awaits::Nothing,
            },
            settings,
            origin,
            heard: Heard::of(origin),
        }
    }

    /// Bytes that may have been received in all; no more is received than that.
    pub fn bytes_max(&self) -> usize {
        self.settings.bytes_max()
    }

    /// What follows from the bytes that were received so far.
    pub fn on_bytes(&mut self, received: &[u8]) -> Step {
        loop {
            let step = match self.awaits {
                Awaits::ProxyHeader => self.on_proxy(received),
                Awaits::Nothing => return Step::Done,
                Awaits::Untrusted => return Step::Refuse(PrologueResult::Untrusted),
            };
            // Another parser may have enough already.
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The client has ended its stream, or is lost, and these bytes are all that it said.
    pub fn on_end(&mut self, received: &[u8]) -> Step {
        if received.is_empty() {
            return Step::Refuse(PrologueResult::Probe);
        }
        self.on_nothing_more(received, PrologueResult::Closed)
    }

    /// Time is up, and these bytes are all that came.
    pub fn on_timeout(&mut self, received: &[u8]) -> Step {
        self.on_nothing_more(received, PrologueResult::Timeout)
    }

    /// What was said: to be asked once.
    pub fn take_heard(&mut self) -> Heard {
        let empty = Heard::of(self.origin);
        std::mem::replace(&mut self.heard, empty)
    }

    fn on_nothing_more(&mut self, received: &[u8], refusal: PrologueResult) -> Step {
        match self.awaits {
            // Silence is a client of a server that speaks first; what has begun as a header is none of a client's.
            Awaits::ProxyHeader if self.is_optional() && !proxy_protocol::is_begun(received) => {
                self.awaits = Awaits::Nothing;
                Step::Done
            }
            Awaits::ProxyHeader => Step::Refuse(refusal),
            Awaits::Nothing | Awaits::Untrusted => self.on_bytes(received),
        }
    }

    /// None when the header is dealt with.
    fn on_proxy(&mut self, received: &[u8]) -> Option<Step> {
        match proxy_protocol::parse(received) {
            Parsed::More => return Some(Step::More),
            Parsed::Done { value, consumed } => self.on_header(&value, consumed),
            Parsed::Not if self.is_optional() => {}
            Parsed::Not => return Some(Step::Refuse(PrologueResult::NoHeader)),
            Parsed::Bad(reason) => return Some(Step::Refuse(refusal(reason))),
        }
        self.awaits = Awaits::Nothing;
        None
    }

    fn on_header(&mut self, header: &Header<'_>, bytes: usize) {
        let Heard {
            facts,
            header: header_bytes,
            consumed,
            result,
        } = &mut self.heard;
        *header_bytes = bytes;
        *consumed = bytes;
        *result = PrologueResult::Header;
        match header.addresses {
            Addresses::Inet {
                source,
                destination,
            } => {
                facts.client = ClientAddress::Tcp(source);
                facts.announced = Some(destination);
            }
            Addresses::Unix { .. } => facts.client = ClientAddress::Unix,
            Addresses::Local | Addresses::Unknown => *result = PrologueResult::Local,
        }
    }

    fn is_optional(&self) -> bool {
        let accept = self.settings.accept_proxy.as_ref();
        accept.is_some_and(|accept| accept.expected == Expected::Optional)
    }
}

impl Heard {
    /// Nothing yet.
    fn of(origin: Origin) -> Self {
        Self {
            facts: Facts::of(origin),
            header: 0,
            consumed: 0,
            result: PrologueResult::Plain,
        }
    }
}

impl Awaits {
    fn first_of(accept: &AcceptProxy, origin: Origin) -> Self {
        if accept.trusts(origin.peer) {
            Self::ProxyHeader
        } else {
            match accept.untrusted {
                Untrusted::Refuse => Self::Untrusted,
                Untrusted::Plain => Self::Nothing,
            }
        }
    }
}

fn refusal(reason: Bad) -> PrologueResult {
    match reason {
        Bad::LineTooLong | Bad::TooLong => PrologueResult::TooLong,
        Bad::Checksum => PrologueResult::Checksum,
        _ => PrologueResult::BadHeader,
    }
}
