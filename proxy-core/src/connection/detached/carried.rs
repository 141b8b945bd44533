//! A connection, from one process to another.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::source::Source;
use crate::carry::{
    self, Adoption, Anchor, CONNECTION_BYTES_MAX, Error, Fields, Kept, Kind, VERSION, Writer,
};
use crate::connection::attempts::Attempts;
use crate::connection::detached::{Detached, Parts, Waiting, Whole};
use crate::connection::entry::Entry;
use crate::connection::origin::ClientAddress;
use crate::connection::probation::Probation;
use crate::connection::record::{self, Record};
use crate::connection::times::Clocks;
use crate::connection::trial::Trial;
use crate::listener::permit::Permit;
use crate::listener::times::{Lifetime, Times};
use crate::relay::Relay;
use crate::route::Facts;
use crate::transport::{Descriptor, Transport};
use crate::upstream::address::ServerAddress;
use crate::upstream::taken::Taken;

/// Descriptors of a connection: its client's, its server's, and both ends of a pipe a direction.
pub const DESCRIPTORS_MAX: usize = 6;

/// What goes beside the record of a connection.
#[derive(Debug)]
pub struct Carried<T, P = OwnedFd> {
    /// The client's socket.
    pub client: T,
    /// The server's socket; none: it waits for a place at one.
    pub server: Option<T>,
    /// The pipes that bytes are held in, of each the end that is read and the other one: up, and down.
    pub pipes: Vec<P>,
}

/// Fields of a connection's record.
mod tag {
    pub(super) const ID: u8 = 0;
    pub(super) const LISTENER: u8 = 1;
    pub(super) const UPSTREAM: u8 = 2;
    pub(super) const SERVER: u8 = 3;
    pub(super) const ADDRESS: u8 = 4;
    pub(super) const PEER: u8 = 5;
    pub(super) const FACTS: u8 = 6;
    pub(super) const ACCEPTED_AT: u8 = 7;
    /// As people are shown it.
    pub(super) const RECORDED_AT: u8 = 8;
    pub(super) const BYTES_IN: u8 = 9;
    pub(super) const BYTES_OUT: u8 = 10;
    pub(super) const SOURCE: u8 = 11;
    pub(super) const ATTEMPTS: u8 = 12;
    pub(super) const RELAY: u8 = 13;
    pub(super) const TRIAL: u8 = 14;
    pub(super) const PROBATION: u8 = 15;
    pub(super) const LAST_BYTE_AT: u8 = 16;
    pub(super) const STALL_CHECK_AT: u8 = 17;
    pub(super) const CLOCKS: u8 = 18;
    pub(super) const MOVES: u8 = 19;
    pub(super) const KEPT: u8 = 20;

    /// Of the settings that it keeps where its listener is removed.
    pub(super) mod kept {
        pub(in super::super) const IDLE: u8 = 0;
        pub(in super::super) const CLIENT_IDLE: u8 = 1;
        pub(in super::super) const SERVER_IDLE: u8 = 2;
        pub(in super::super) const HALF_CLOSED: u8 = 3;
        pub(in super::super) const LIFETIME: u8 = 4;
        pub(in super::super) const JITTER: u8 = 5;
        pub(in super::super) const SPLICE: u8 = 6;
    }
}

impl<T: Transport> Detached<T> {
    /// Adds its record. What goes with it is [`Detached::beside`].
    ///
    /// # Panics
    /// Never: it has its parts until it is consumed.
    pub fn encode(&self, anchor: Anchor, out: &mut Vec<u8>) {
        match self.whole() {
            Whole::Relaying(parts) => {
                carry::record(out, Kind::Connection, VERSION, anchor, |out| {
                    parts.encode(out);
                });
            }
            Whole::Waiting(waiting) => {
                carry::record(out, Kind::Waiting, VERSION, anchor, |out| {
                    waiting.encode(out);
                });
            }
        }
    }

    /// What goes with its record.
    ///
    /// # Panics
    /// Never: it has its parts until it is consumed.
    pub fn beside(&self) -> Carried<&T, BorrowedFd<'_>> {
        let parts = match self.whole() {
            Whole::Relaying(parts) => parts,
            Whole::Waiting(waiting) => {
                return Carried {
                    client: &waiting.client,
                    server: None,
                    pipes: Vec::new(),
                };
            }
        };
        let pipes = parts.relay.pipes();
        let ends = pipes.flat_map(|pipe| [pipe.read.as_fd(), pipe.write.as_fd()]);
        Carried {
            client: &parts.client,
            server: Some(&parts.server),
            pipes: ends.collect(),
        }
    }

    /// The connection of a record, with what came beside it. Nothing is kept of what is refused; what came is closed then, which
    /// tells neither side anything while the other process has it, too.
    ///
    /// It counts as its listener's and its server's from here on. What isn't attached to a worker must be
    /// [released](Detached::release): dropping it resets both sides.
    ///
    /// # Errors
    /// When the bytes are no such record, or the descriptors are not those that it has.
    pub fn decode(
        bytes: &[u8],
        carried: Carried<T>,
        adoption: &Adoption<'_>,
    ) -> Result<Self, Error> {
        let anchor = adoption.anchor;
        let read = |kind| Fields::of_record(bytes, kind, CONNECTION_BYTES_MAX, anchor);
        if !is_waiting(bytes) {
            return Parts::decode(read(Kind::Connection)?, carried, adoption).map(Self::new);
        }
        let fields = read(Kind::Waiting)?;
        let others = usize::from(carried.server.is_some()) + carried.pipes.len();
        if others > 0 {
            let got = others + 1;
            return Err(Error::Descriptors { got, wanted: 1 });
        }
        Waiting::decode(fields, carried.client, adoption).map(Self::waiting)
    }
}

impl<T: Transport + AsFd> Detached<T> {
    /// The descriptors that go with its record, [`DESCRIPTORS_MAX`] at most: the client's, the server's, and both ends of each pipe.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let Carried {
            client,
            server,
            pipes,
        } = self.beside();
        let sockets = [Some(client), server].into_iter().flatten();
        sockets.map(AsFd::as_fd).chain(pipes).collect()
    }
}

impl Detached<Descriptor> {
    /// The same as [`Detached::decode`], of descriptors in the order of [`Detached::descriptors`].
    ///
    /// # Errors
    /// As there.
    pub fn decode_with(
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
        adoption: &Adoption<'_>,
    ) -> Result<Self, Error> {
        let got = descriptors.len();
        let mut all = descriptors.into_iter();
        let Some(client) = all.next() else {
            let wanted = if is_waiting(bytes) { 1 } else { 2 };
            return Err(Error::Descriptors { got, wanted });
        };
        let carried = Carried {
            client: Descriptor::of_any(client),
            server: all.next().map(Descriptor::of_any),
            pipes: all.collect(),
        };
        Self::decode(bytes, carried, adoption)
    }
}

impl<T: Transport> Parts<T> {
    fn encode(&self, out: &mut Writer<'_>) {
        let record = &self.entry.record;
        let settings = self.entry.settings();
        let server = self.taken.server();
        out.number(tag::ID, record.id());
        out.text(tag::LISTENER, &settings.listener.name);
        out.text(tag::UPSTREAM, &server.upstream);
        out.text(tag::SERVER, &server.label);
        if let Some(address) = server.fixed_address() {
            out.text(tag::ADDRESS, &address.to_string());
        }
        match record.facts() {
            Some(facts) => out.nested(tag::FACTS, |out| facts.encode(out)),
            None => out.address(tag::PEER, record.peer().tcp()),
        }
        let (bytes_in, bytes_out) = record.bytes();
        out.moment(tag::ACCEPTED_AT, record.accepted_at());
        out.moment(tag::RECORDED_AT, record.last_byte_at());
        out.number(tag::BYTES_IN, bytes_in);
        out.number(tag::BYTES_OUT, bytes_out);
        if let Some(source) = self.entry.permit.source() {
            out.text(tag::SOURCE, &source.to_string());
        }
        out.nested(tag::ATTEMPTS, |out| self.attempts.encode(out));
        out.nested(tag::RELAY, |out| self.relay.encode(out));
        if let Some(trial) = self.trial {
            out.nested(tag::TRIAL, |out| trial.encode(settings, out));
        }
        if let Some(probation) = &self.probation {
            out.nested(tag::PROBATION, |out| probation.encode(settings, out));
        }
        out.moment(tag::LAST_BYTE_AT, self.last_byte_at);
        out.maybe_moment(tag::STALL_CHECK_AT, self.stall_check_at);
        // Without times there are clocks only for an end that is set where it comes from.
        if let Some(clocks) = self.clocks.as_ref().filter(|_| settings.times.is_set()) {
            out.nested(tag::CLOCKS, |out| clocks.encode(out));
        }
        out.number(tag::MOVES, self.moves.into());
        out.nested(tag::KEPT, |out| Kept::of(settings).encode(out));
    }

    fn decode(
        mut fields: Fields<'_>,
        carried: Carried<T>,
        adoption: &Adoption<'_>,
    ) -> Result<Self, Error> {
        let id = fields.number(tag::ID, u64::MAX, "an id")?;
        let listener = fields.name(tag::LISTENER, "a listener")?;
        let upstream = fields.name(tag::UPSTREAM, "an upstream")?;
        let label = fields.name(tag::SERVER, "a server")?;
        let address = fields.parsed(tag::ADDRESS, "an address", parse_address)?;
        let peer = fields.address(tag::PEER, "a peer")?;
        let facts = fields.nested(tag::FACTS)?;
        let accepted_at = fields.moment(tag::ACCEPTED_AT, "when it was accepted")?;
        let recorded_at = fields.moment(tag::RECORDED_AT, "when its last byte came")?;
        let bytes_in = fields.count(tag::BYTES_IN, "bytes in")?;
        let bytes_out = fields.count(tag::BYTES_OUT, "bytes out")?;
        let source = |text: &str| text.parse::<Source>().ok();
        let source = fields.parsed(tag::SOURCE, "a source", source)?;
        let attempts = fields.nested(tag::ATTEMPTS)?;
        let attempts = Attempts::decode(attempts.ok_or(Error::Lacks("attempts"))?)?;
        let relay = fields.nested(tag::RELAY)?;
        let relay = relay.ok_or(Error::Lacks("a relay"))?;
        let trial = fields.nested(tag::TRIAL)?;
        let probation = fields.nested(tag::PROBATION)?;
        let last_byte_at = fields.moment(tag::LAST_BYTE_AT, "when its last byte came")?;
        let stall_check_at = fields.maybe_moment(tag::STALL_CHECK_AT, "when it is looked at")?;
        let clocks = fields.nested(tag::CLOCKS)?;
        let moves = fields.number(tag::MOVES, u32::MAX.into(), "moves")?;
        let kept = fields.nested(tag::KEPT)?.ok_or(Error::Lacks("settings"))?;
        let kept = Kept::decode(kept)?;
        fields.finish()?;
        let (got, wanted) = (1, 2);
        let near = carried.server.ok_or(Error::Descriptors { got, wanted })?;
        // Nothing is made known before what stands alone is found to be right.
        let server = adoption.server(upstream, label, address);
        let settings = adoption.settings(listener, &server, kept);
        let facts = facts.map(|facts| Facts::decode(facts, &settings.listener.routes));
        let record = record::Carried {
            accepted_at,
            last_byte_at: recorded_at,
            server: server.clone(),
            bytes: (bytes_in, bytes_out),
        };
        let facts = facts.transpose()?.ok_or(ClientAddress::of(peer));
        let record = Arc::new(Record::carried(id, facts, record));
        let got = carried.pipes.len();
        let mut ends = carried.pipes.into_iter();
        let bandwidth = &settings.listener.bandwidth;
        let now = adoption.now;
        let mut relay = Relay::decode(relay, &mut ends, settings.splice, bandwidth, now)?;
        let surplus = ends.len();
        if surplus > 0 {
            let (got, wanted) = (got + 2, got + 2 - surplus);
            return Err(Error::Descriptors { got, wanted });
        }
        let trial = trial.map(|trial| Trial::decode(trial, &settings));
        let trial = trial.transpose()?.flatten();
        let probation = probation.map(|one| Probation::decode(one, &settings, &record));
        let probation = probation.transpose()?.flatten();
        if probation.is_none() {
            // The next turn passes it on, if there is one.
            relay.release_end();
        }
        let clocks = Clocks::decode(clocks, &settings.times, &record, &relay)?;
        let taken = Taken::beside(&server);
        settings.listener.on_come();
        let permit = Permit::carried(settings, source);
        if let Some(elsewhere) = adoption.elsewhere {
            elsewhere.on_come(Some(&server), permit.settings(), source);
        }
        Ok(Self {
            entry: Entry::carried(permit, record),
            taken,
            client: carried.client,
            server: near,
            attempts,
            relay,
            trial,
            probation,
            last_byte_at,
            stall_check_at,
            clocks,
            ran_by: None,
            moves: moves as u32,
        })
    }
}

impl Kept {
    fn encode(&self, out: &mut Writer<'_>) {
        let Self {
            idle_timeout,
            times,
            splice,
        } = *self;
        let Times {
            client_idle,
            server_idle,
            half_closed,
            lifetime,
        } = times;
        for (tag, time) in [
            (tag::kept::IDLE, idle_timeout),
            (tag::kept::CLIENT_IDLE, client_idle),
            (tag::kept::SERVER_IDLE, server_idle),
            (tag::kept::HALF_CLOSED, half_closed),
            (tag::kept::LIFETIME, lifetime.map(|lifetime| lifetime.max)),
        ] {
            out.maybe_number(tag, time.map(|time| time.as_nanos() as u64));
        }
        let jitter = lifetime.map_or(0, |lifetime| lifetime.jitter);
        out.number(tag::kept::JITTER, jitter.into());
        out.flag(tag::kept::SPLICE, splice);
    }

    fn decode(mut fields: Fields<'_>) -> Result<Self, Error> {
        let mut time = |tag| {
            let nanos = fields.maybe_number(tag, "a time")?;
            let nanos = nanos.map(|nanos| {
                let is_one = nanos <= carry::COUNT_MAX;
                is_one.then_some(nanos).ok_or(Error::Bad("a time"))
            });
            Ok(nanos.transpose()?.map(Duration::from_nanos))
        };
        let idle_timeout = time(tag::kept::IDLE)?;
        let client_idle = time(tag::kept::CLIENT_IDLE)?;
        let server_idle = time(tag::kept::SERVER_IDLE)?;
        let half_closed = time(tag::kept::HALF_CLOSED)?;
        let lifetime = time(tag::kept::LIFETIME)?;
        let jitter = fields.number(tag::kept::JITTER, 100, "a part of a lifetime")? as u8;
        let splice = fields.flag(tag::kept::SPLICE)?;
        fields.finish()?;
        Ok(Self {
            idle_timeout,
            times: Times {
                client_idle,
                server_idle,
                half_closed,
                lifetime: lifetime.map(|max| Lifetime { max, jitter }),
            },
            splice,
        })
    }
}

/// Whether a record is that of a client that waits for a place.
fn is_waiting(bytes: &[u8]) -> bool {
    bytes.first() == Some(&(Kind::Waiting as u8))
}

/// An address as it is written: see [`ServerAddress`].
fn parse_address(text: &str) -> Option<ServerAddress> {
    match text.strip_prefix("unix:") {
        Some(path) => Some(ServerAddress::Unix(PathBuf::from(path))),
        None => text.parse::<SocketAddr>().ok().map(ServerAddress::Tcp),
    }
}
