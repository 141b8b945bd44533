//! What is known of servers, and what limits have counted, from one process to another.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::admission::bandwidth::Way;
use crate::admission::rate::Rate;
use crate::admission::source::Source;
use crate::carry::elsewhere::Elsewhere;
use crate::carry::{Adoption, Anchor, Error, Fields, Kind, Moment, VERSION, Writer, record};
use crate::listener::Listener;
use crate::listener::state::ListenerState;
use crate::table::Table;
use crate::table::inventory::Inventory;

/// Bytes of a record of verdicts.
pub const VERDICTS_BYTES_MAX: usize = 12 << 20;

/// Listeners, upstreams and servers (each) that one tells of.
const OBJECTS_MAX: usize = 65_536;

/// Sources that one tells of, over all listeners: those that lack the most, or have connections.
const SOURCES_MAX: usize = 65_536;

/// Connections that one process leaves to another one, at a listener or a server.
const CONNECTIONS_MAX: u64 = 1 << 24;

mod tag {
    pub(super) const LISTENERS: u8 = 0;
    pub(super) const UPSTREAMS: u8 = 1;
    pub(super) const SERVERS: u8 = 2;

    /// Of each.
    pub(super) const NAME: u8 = 0;
    pub(super) const STATE: u8 = 1;
    pub(super) const LABEL: u8 = 2;
    pub(super) const CONNECTIONS: u8 = 3;

    pub(super) mod listener {
        pub(in super::super) const CONNECTIONS: u8 = 1;
        pub(in super::super) const RATE: u8 = 2;
        pub(in super::super) const SOURCE_RATE: u8 = 3;
        pub(in super::super) const BANDWIDTH: u8 = 4;
        pub(in super::super) const ROUTES: u8 = 5;
        pub(in super::super) const SOURCES: u8 = 6;
        pub(in super::super) const STATE: u8 = 7;
    }

    pub(super) mod rate {
        pub(in super::super) const PER_SECOND: u8 = 0;
        pub(in super::super) const CAPACITY: u8 = 1;
        pub(in super::super) const FULL_AT: u8 = 2;
        pub(in super::super) const SOURCES: u8 = 3;
    }

    pub(super) mod bandwidth {
        pub(in super::super) const UP: u8 = 0;
        pub(in super::super) const DOWN: u8 = 1;
    }

    /// Of a source, or a route.
    pub(super) mod one {
        pub(in super::super) const NAME: u8 = 0;
        pub(in super::super) const FULL_AT: u8 = 1;
        pub(in super::super) const COUNT: u8 = 2;
    }
}

/// Adds the record of all that `inventory` knows of servers and that its limits have counted, with the connections that there are.
pub fn encode_verdicts(
    inventory: &Inventory,
    table: &Table,
    anchor: Anchor,
    now: Instant,
    out: &mut Vec<u8>,
) {
    let (listeners, upstreams) = (inventory.listeners(), inventory.upstreams());
    let servers = inventory.servers();
    let budgets = table.pools.iter().map(|pool| {
        let percent = pool.settings().retry_budget.unwrap_or(0);
        (pool.upstream().id, percent)
    });
    let budgets: HashMap<_, _> = budgets.collect();
    let mut room = SOURCES_MAX;
    record(out, Kind::Verdicts, VERSION, anchor, |out| {
        let some = listeners.iter().take(OBJECTS_MAX);
        out.each(tag::LISTENERS, some, |out, listener| {
            out.text(tag::NAME, &listener.name);
            encode_listener(listener, &mut room, now, out);
        });
        let some = upstreams.iter().take(OBJECTS_MAX);
        out.each(tag::UPSTREAMS, some, |out, upstream| {
            out.text(tag::NAME, &upstream.name);
            let percent = budgets.get(&upstream.id).copied().unwrap_or(0);
            out.nested(tag::STATE, |out| upstream.encode(percent, now, out));
        });
        let some = servers.iter().take(OBJECTS_MAX);
        out.each(tag::SERVERS, some, |out, server| {
            out.text(tag::NAME, &server.upstream);
            out.text(tag::LABEL, &server.label);
            out.number(tag::CONNECTIONS, server.connections());
            out.nested(tag::STATE, |out| server.encode(now, out));
        });
    });
}

/// Has what a record says of servers and limits hold here. At the start that includes what was set by hand: tables are to be made
/// again for weights, and sockets are to be as the listeners' states want them. What this process doesn't know by name is left out. Returns the places that
/// connections of the other process have.
///
/// # Errors
/// When the bytes are no such record. What stands before the part that is wrong holds.
pub fn apply_verdicts(
    bytes: &[u8],
    moment: Moment,
    adoption: &Adoption<'_>,
) -> Result<Elsewhere, Error> {
    let (kind, anchor) = (Kind::Verdicts, adoption.anchor);
    let mut fields = Fields::of_record(bytes, kind, VERDICTS_BYTES_MAX, anchor)?;
    let (inventory, now) = (adoption.inventory, adoption.now);
    let elsewhere = Elsewhere::default();
    let most = OBJECTS_MAX;
    fields.each(tag::LISTENERS, most, "listeners", |one| {
        let name = one.name(tag::NAME, "a listener")?;
        let state = Listed::decode(one)?;
        if let Some(listener) = inventory.known_listener(name) {
            if moment == Moment::Start {
                listener.set_state(state.state);
            }
            state.apply(&listener, adoption, &elsewhere);
        }
        Ok(())
    })?;
    fields.each(tag::UPSTREAMS, most, "upstreams", |one| {
        let upstream = one.name(tag::NAME, "an upstream")?;
        let state = one.nested(tag::STATE)?.ok_or(Error::Lacks("an upstream"))?;
        let upstream = inventory.known_upstream(upstream);
        upstream.map_or(Ok(()), |upstream| upstream.decode(state))
    })?;
    fields.each(tag::SERVERS, most, "servers", |one| {
        let upstream = one.name(tag::NAME, "an upstream")?;
        let label = one.name(tag::LABEL, "a server")?;
        let connections = one.number(tag::CONNECTIONS, CONNECTIONS_MAX, "connections")?;
        let state = one.nested(tag::STATE)?.ok_or(Error::Lacks("a server"))?;
        let Some(server) = inventory.known_server(upstream, label) else {
            return Ok(());
        };
        server.decode(state, moment, now)?;
        elsewhere.at_server(&server, connections);
        Ok(())
    })?;
    fields.finish()?;
    Ok(elsewhere)
}

fn encode_listener(listener: &Listener, room: &mut usize, now: Instant, out: &mut Writer<'_>) {
    let counted = &listener.counted;
    out.number(tag::listener::CONNECTIONS, listener.connections());
    let state = Some(listener.state()).filter(|&state| state != ListenerState::Open);
    out.text(tag::listener::STATE, state.map_or("", ListenerState::label));
    if let Some(meter) = counted.kept_meter() {
        out.nested(tag::listener::RATE, |out| {
            encode_rate(meter.rate(), out);
            out.maybe_moment(tag::rate::FULL_AT, meter.full_at());
        });
    }
    if let Some(rates) = counted.kept_source_rates() {
        let lacking = rates.lacking(*room, now);
        *room -= lacking.len();
        out.nested(tag::listener::SOURCE_RATE, |out| {
            encode_rate(rates.rate(), out);
            out.each(tag::rate::SOURCES, lacking, |out, (source, full_at)| {
                out.text(tag::one::NAME, &source.to_string());
                out.moment(tag::one::FULL_AT, full_at);
            });
        });
    }
    if let (_, Some(shared)) = listener.bandwidth.current() {
        let [up, down] = shared.full_at();
        out.nested(tag::listener::BANDWIDTH, |out| {
            out.maybe_moment(tag::bandwidth::UP, up);
            out.maybe_moment(tag::bandwidth::DOWN, down);
        });
    }
    let routes = listener.routes.all();
    let turned = routes.iter().filter(|route| route.turns() > 0);
    out.each(
        tag::listener::ROUTES,
        turned.take(OBJECTS_MAX),
        |out, route| {
            out.text(tag::one::NAME, &route.name);
            out.number(tag::one::COUNT, route.turns());
        },
    );
    let mut sources = counted.sources.all();
    sources.truncate(*room);
    *room -= sources.len();
    out.each(tag::listener::SOURCES, sources, |out, (source, count)| {
        out.text(tag::one::NAME, &source.to_string());
        out.number(tag::one::COUNT, count);
    });
}

fn encode_rate(rate: Rate, out: &mut Writer<'_>) {
    out.number(tag::rate::PER_SECOND, rate.per_second());
    out.number(tag::rate::CAPACITY, rate.capacity());
}

/// What a record says of a listener.
struct Listed {
    connections: u64,
    rate: Option<(Filled, Option<Instant>)>,
    source_rate: Option<(Filled, Vec<(Source, Instant)>)>,
    bandwidth: [Option<Instant>; 2],
    routes: Vec<(String, u64)>,
    sources: Vec<(Source, u64)>,
    state: ListenerState,
}

/// A rate, as far as it tells whether another one is the same.
#[derive(PartialEq, Eq)]
struct Filled {
    per_second: u64,
    capacity: u64,
}

impl Filled {
    fn of(rate: Rate) -> Self {
        Self {
            per_second: rate.per_second(),
            capacity: rate.capacity(),
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Error> {
        Ok(Self {
            per_second: fields.number(tag::rate::PER_SECOND, u64::MAX, "a rate")?,
            capacity: fields.number(tag::rate::CAPACITY, u64::MAX, "a rate")?,
        })
    }
}

impl Listed {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, Error> {
        let what = "connections";
        let connections = fields.number(tag::listener::CONNECTIONS, CONNECTIONS_MAX, what)?;
        let rate = fields.nested(tag::listener::RATE)?;
        let rate = rate.map(|mut fields| {
            let rate = Filled::decode(&mut fields)?;
            let full_at = fields.maybe_moment(tag::rate::FULL_AT, "a rate")?;
            fields.finish()?;
            Ok((rate, full_at))
        });
        let source_rate = fields.nested(tag::listener::SOURCE_RATE)?;
        let source_rate = source_rate.map(|mut fields| {
            let rate = Filled::decode(&mut fields)?;
            let mut all = Vec::new();
            fields.each(tag::rate::SOURCES, SOURCES_MAX, "sources", |one| {
                let full_at = one.moment(tag::one::FULL_AT, "a rate")?;
                all.push((source(one)?, full_at));
                Ok(())
            })?;
            fields.finish()?;
            Ok((rate, all))
        });
        let bandwidth = fields.nested(tag::listener::BANDWIDTH)?;
        let bandwidth = bandwidth.map(|mut fields| {
            let up = fields.maybe_moment(tag::bandwidth::UP, "a bandwidth")?;
            let down = fields.maybe_moment(tag::bandwidth::DOWN, "a bandwidth")?;
            fields.finish()?;
            Ok([up, down])
        });
        let state = fields.parsed(tag::listener::STATE, "a state", |label| {
            let mut states = ListenerState::ALL.into_iter();
            states.find(|state| state.label() == label)
        })?;
        let mut routes = Vec::new();
        fields.each(tag::listener::ROUTES, OBJECTS_MAX, "routes", |one| {
            let name = one.name(tag::one::NAME, "a route")?.to_owned();
            routes.push((name, one.number(tag::one::COUNT, u64::MAX, "turns")?));
            Ok(())
        })?;
        let mut sources = Vec::new();
        let mut left = CONNECTIONS_MAX;
        fields.each(tag::listener::SOURCES, SOURCES_MAX, "sources", |one| {
            let count = one.number(tag::one::COUNT, left, "connections of a source")?;
            left -= count;
            sources.push((source(one)?, count));
            Ok(())
        })?;
        Ok(Self {
            connections,
            rate: rate.transpose()?,
            source_rate: source_rate.transpose()?,
            bandwidth: bandwidth.transpose()?.unwrap_or_default(),
            routes,
            sources,
            state: state.unwrap_or_default(),
        })
    }

    fn apply(self, listener: &Arc<Listener>, adoption: &Adoption<'_>, elsewhere: &Elsewhere) {
        let (counted, now) = (&listener.counted, adoption.now);
        if let (Some(meter), Some((rate, Some(full_at)))) = (counted.kept_meter(), self.rate)
            && Filled::of(meter.rate()) == rate
        {
            meter.go_on(full_at, now);
        }
        if let (Some(rates), Some((rate, sources))) =
            (counted.kept_source_rates(), self.source_rate)
            && Filled::of(rates.rate()) == rate
        {
            for (source, full_at) in sources {
                rates.go_on(source, full_at, now);
            }
        }
        if let (_, Some(shared)) = listener.bandwidth.current() {
            for (way, full_at) in [Way::Up, Way::Down].into_iter().zip(self.bandwidth) {
                full_at
                    .into_iter()
                    .for_each(|full_at| shared.go_on(way, full_at, now));
            }
        }
        let known = listener.routes.all();
        for (name, turns) in self.routes {
            if let Some(route) = known.iter().find(|route| route.name == name) {
                route.go_on(turns);
            }
        }
        if let Some(settings) = adoption.table.settings_of(listener) {
            let mut rest = self.connections;
            for (source, count) in self.sources {
                elsewhere.at_listener(settings, Some(source), count);
                rest = rest.saturating_sub(count);
            }
            elsewhere.at_listener(settings, None, rest);
        }
    }
}

fn source(fields: &mut Fields<'_>) -> Result<Source, Error> {
    let text = fields.name(tag::one::NAME, "a source")?;
    text.parse().map_err(|_| Error::Bad("a source"))
}
