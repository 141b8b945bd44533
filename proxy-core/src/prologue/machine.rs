//! The parsers of a prologue, one after the other.

use std::sync::Arc;

use crate::connection::origin::{ClientAddress, Origin};
use crate::metrics::PrologueResult;
use crate::prologue::proxy_protocol::{self, Addresses, Bad, Header};
use crate::prologue::starttls::{self, ClientSide, Next, Protocol};
use crate::prologue::tls::{self, HelloParser};
use crate::prologue::{AcceptProxy, Expected, NotTls, Parsed, PrologueSettings, Untrusted};
use crate::route::{Facts, Routes};

/// What is known so far of a client that is heard.
///
/// It gets everything that was received since the accept each time, and remembers how much of it is dealt with.
#[derive(Debug)]
pub struct Machine {
    settings: Arc<PrologueSettings>,
    origin: Origin,
    /// Those that may take the client without a hello.
    routes: Option<Arc<Routes>>,
    awaits: Awaits,
    heard: Heard,
}

/// What comes next.
#[derive(Debug)]
enum Awaits {
    ProxyHeader,
    /// What a protocol says before TLS.
    Beginning(ClientSide),
    Hello(HelloParser),
    /// It is refused, once it has heard why.
    Refusal(PrologueResult),
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
    /// What was spoken with the client before TLS, and must be with the server.
    pub starttls: Option<Protocol>,
    /// How it is counted.
    pub result: PrologueResult,
}

impl Machine {
    /// For a connection that was accepted just now. No hello is heard of a client that one of `routes` takes whatever it says,
    /// by who it is or by `port`, the one that it has connected to.
    pub fn new(
        settings: Arc<PrologueSettings>,
        origin: Origin,
        routes: Option<Arc<Routes>>,
        port: Option<u16>,
    ) -> Self {
        let first = match &settings.accept_proxy {
            Some(accept) => Awaits::first_of(accept, origin),
            None => None,
        };
        let mut machine = Self {
            awaits: Awaits::Nothing,
            routes: routes.filter(|_| settings.may_be_unheard()),
            settings,
            origin,
            heard: Heard::of(origin),
        };
        machine.heard.facts.port = port;
        machine.awaits = first.unwrap_or_else(|| machine.after_header());
        machine
    }

    /// What the client has to hear before it says anything; empty if it speaks first, or has to say who it is.
    pub fn greeting(&self) -> &'static [u8] {
        match &self.awaits {
            Awaits::Beginning(side) => side.banner(),
            _ => b"",
        }
    }

    /// Bytes that may have been received in all; no more is received than that.
    pub fn bytes_max(&self) -> usize {
        self.settings.bytes_max()
    }

    /// What follows from the bytes that were received so far.
    pub fn on_bytes(&mut self, received: &[u8]) -> Step {
        loop {
            let step = match &mut self.awaits {
                Awaits::ProxyHeader => self.on_proxy(received),
                Awaits::Beginning(_) => self.on_beginning(received),
                Awaits::Hello(_) => self.on_hello(received),
                Awaits::Nothing => return Step::Done,
                Awaits::Untrusted => return Step::Refuse(PrologueResult::Untrusted),
                Awaits::Refusal(result) => return Step::Refuse(*result),
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
                self.awaits = match self.after_header() {
                    // It was silent for as long as it may be.
                    Awaits::Hello(_) if received.is_empty() && !self.wants_tls() => Awaits::Nothing,
                    awaits => awaits,
                };
                match self.on_bytes(received) {
                    Step::More | Step::Reply(_) => Step::Refuse(refusal),
                    step => step,
                }
            }
            Awaits::Hello(_) if self.is_silent(received) => {
                self.awaits = Awaits::Nothing;
                Step::Done
            }
            Awaits::ProxyHeader | Awaits::Beginning(_) | Awaits::Hello(_) => Step::Refuse(refusal),
            Awaits::Nothing | Awaits::Untrusted | Awaits::Refusal(_) => self.on_bytes(received),
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
        self.awaits = self.after_header();
        match self.greeting() {
            b"" => None,
            greeting => Some(Step::Reply(greeting.into())),
        }
    }

    /// None when the change to TLS comes next, or nothing.
    fn on_beginning(&mut self, received: &[u8]) -> Option<Step> {
        let Awaits::Beginning(side) = &mut self.awaits else {
            return None;
        };
        let mut reply = Vec::new();
        let before = self.heard.consumed;
        match side.parse(&received[before..], &mut reply) {
            Parsed::More if reply.is_empty() => return Some(Step::More),
            Parsed::More => {}
            Parsed::Done { value, consumed } => {
                self.heard.consumed += consumed;
                let protocol = side.protocol();
                self.awaits = match value {
                    Next::Plain => self.without_tls(),
                    Next::Direct => Awaits::Hello(HelloParser::default()),
                    Next::Hello => {
                        self.heard.starttls = Some(protocol);
                        Awaits::Hello(HelloParser::default())
                    }
                };
            }
            Parsed::Not => self.awaits = self.without_tls(),
            Parsed::Bad(reason) => self.awaits = Awaits::Refusal(beginning_refusal(reason)),
        }
        (!reply.is_empty()).then(|| Step::Reply(reply.into()))
    }

    /// None when the hello is dealt with.
    fn on_hello(&mut self, received: &[u8]) -> Option<Step> {
        let Awaits::Hello(parser) = &mut self.awaits else {
            return None;
        };
        self.awaits = match parser.parse(&received[self.heard.consumed..]) {
            Parsed::More => return Some(Step::More),
            // All of it is for the server, too.
            Parsed::Done { value, .. } => {
                let Heard { facts, result, .. } = &mut self.heard;
                facts.sni = value.server_name;
                facts.alpn = value.alpn;
                if self.settings.accept_proxy.is_none() {
                    *result = PrologueResult::Hello;
                }
                Awaits::Nothing
            }
            // Who has asked for TLS must not go on without.
            Parsed::Not if self.heard.starttls.is_some() => {
                Awaits::Refusal(PrologueResult::BadHello)
            }
            Parsed::Not => self.without_tls(),
            Parsed::Bad(tls::Bad::TooLong) => Awaits::Refusal(PrologueResult::TooLong),
            Parsed::Bad(_) => Awaits::Refusal(PrologueResult::BadHello),
        };
        None
    }

    fn after_header(&self) -> Awaits {
        let facts = &self.heard.facts;
        let takes = |routes: &Arc<Routes>| routes.takes_unheard(facts);
        match self.settings.hello {
            Some(_) if self.routes.as_ref().is_some_and(takes) => Awaits::Nothing,
            None => Awaits::Nothing,
            Some(hello) => match hello.starttls {
                Some(protocol) => Awaits::Beginning(ClientSide::new(protocol)),
                None => Awaits::Hello(HelloParser::default()),
            },
        }
    }

    /// What comes next of a client that speaks no TLS.
    fn without_tls(&self) -> Awaits {
        if self.wants_tls() {
            Awaits::Refusal(PrologueResult::NoHello)
        } else {
            Awaits::Nothing
        }
    }

    fn wants_tls(&self) -> bool {
        let hello = self.settings.hello;
        hello.is_some_and(|hello| hello.not_tls == NotTls::Refuse)
    }

    /// Whether a client that need not speak TLS has said nothing: its server may speak first.
    fn is_silent(&self, received: &[u8]) -> bool {
        !self.wants_tls() && self.heard.starttls.is_none() && received.len() == self.heard.consumed
    }

    fn on_header(&mut self, header: &Header<'_>, bytes: usize) {
        let Heard {
            facts,
            header: header_bytes,
            consumed,
            result,
            ..
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
            starttls: None,
            result: PrologueResult::Plain,
        }
    }
}

impl Awaits {
    /// None: no header comes.
    fn first_of(accept: &AcceptProxy, origin: Origin) -> Option<Self> {
        if accept.trusts(origin.peer) {
            Some(Self::ProxyHeader)
        } else {
            match accept.untrusted {
                Untrusted::Refuse => Some(Self::Untrusted),
                Untrusted::Plain => None,
            }
        }
    }
}

fn beginning_refusal(reason: starttls::Bad) -> PrologueResult {
    match reason {
        starttls::Bad::NoTls => PrologueResult::NoHello,
        starttls::Bad::Quit => PrologueResult::Closed,
        _ => PrologueResult::BadHello,
    }
}

fn refusal(reason: Bad) -> PrologueResult {
    match reason {
        Bad::LineTooLong | Bad::TooLong => PrologueResult::TooLong,
        Bad::Checksum => PrologueResult::Checksum,
        _ => PrologueResult::BadHeader,
    }
}
