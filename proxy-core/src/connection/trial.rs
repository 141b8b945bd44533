//! Whether a server that took a connection does anything with it: one that ends it at once and sends nothing is as good as
//! refused. Only where the upstream ejects such servers.

use std::time::Instant;

use crate::carry::{Error, Fields, Writer};
use crate::listener::settings::ListenerSettings;
use crate::relay::{Failure, Relay, Side, State};
use crate::route::Destination;

/// A server that has not sent a byte yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    destination: Destination,
    /// How often another upstream stood in.
    fallbacks: u16,
    /// Its place in the pool.
    place: u32,
    /// When it took the connection.
    since: Instant,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It sends something, or it kept the connection for long enough.
    Serves,
    /// It ended the connection early, and first.
    EndsEarly,
    /// The client was first: that says nothing of the server.
    Nothing,
}

impl Trial {
    /// That of a server that took a connection just now.
    pub(crate) fn begin(
        (destination, fallbacks): (Destination, u16),
        place: usize,
        now: Instant,
    ) -> Self {
        Self {
            destination,
            fallbacks,
            place: place as u32,
            since: now,
        }
    }

    /// A turn of the relay is over. Tells the pool what it shows, and returns whether the trial is over.
    pub(crate) fn on_turn(
        self,
        relay: &Relay,
        state: &State,
        settings: &ListenerSettings,
        now: Instant,
    ) -> bool {
        let pool = settings.pool_after(self.destination, self.fallbacks);
        let Some(early) = pool.early() else {
            return true;
        };
        let place = self.place as usize;
        let lasted = now.saturating_duration_since(self.since);
        let lost = match state {
            State::Failed(Failure { side, .. }) => Some(*side),
            _ => None,
        };
        let finding = Finding::of(
            relay.server_has_spoken(),
            relay.has_ended(Side::Client) || lost == Some(Side::Client),
            relay.has_ended(Side::Server) || lost == Some(Side::Server),
            lasted >= early,
        );
        match finding {
            None => return false,
            Some(Finding::Serves) => pool.judge_first_word(place, true, now),
            Some(Finding::EndsEarly) => pool.judge_first_word(place, false, now),
            Some(Finding::Nothing) => {}
        }
        true
    }
}

mod tag {
    pub(super) const UPSTREAM: u8 = 0;
    pub(super) const SERVER: u8 = 1;
    pub(super) const SINCE: u8 = 2;
}

impl Trial {
    pub(super) fn encode(self, settings: &ListenerSettings, out: &mut Writer<'_>) {
        let pool = settings.pool_after(self.destination, self.fallbacks);
        out.text(tag::UPSTREAM, &pool.upstream().name);
        if let Some(member) = pool.members().get(self.place as usize) {
            out.text(tag::SERVER, &member.server.label);
        }
        out.moment(tag::SINCE, self.since);
    }

    /// None where nobody is interested here: the upstream ejects no servers, or has not that one.
    pub(super) fn decode(
        mut fields: Fields<'_>,
        settings: &ListenerSettings,
    ) -> Result<Option<Self>, Error> {
        let upstream = fields.name(tag::UPSTREAM, "the upstream of a trial")?;
        let server = fields.text(tag::SERVER, "the server of a trial")?;
        let since = fields.moment(tag::SINCE, "when a trial began")?;
        fields.finish()?;
        let Some((destination, fallbacks)) = settings.way_to(upstream) else {
            return Ok(None);
        };
        let pool = settings.pool_after(destination, fallbacks);
        let place = pool.place_of(server).filter(|_| pool.early().is_some());
        Ok(place.map(|place| Self::begin((destination, fallbacks), place, since)))
    }
}

impl Finding {
    pub(super) fn of(
        has_spoken: bool,
        client_ended: bool,
        server_ended: bool,
        was_kept: bool,
    ) -> Option<Self> {
        if has_spoken {
            return Some(Self::Serves);
        }
        match (client_ended, server_ended) {
            // It may still answer a client that has ended its stream.
            (_, false) => None,
            _ if was_kept => Some(Self::Serves),
            (true, true) => Some(Self::Nothing),
            (false, true) => Some(Self::EndsEarly),
        }
    }
}
