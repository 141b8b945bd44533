//! What ends a connection though both of its sides are there: it was silent for too long, or has lasted for too long.

use std::time::{Duration, Instant};

use crate::carry::{Error, Fields, Writer};
use crate::closing::Ending;
use crate::connection::end::{Stage, Termination};
use crate::connection::record::Record;
use crate::listener::times::Times;
use crate::metrics::Cause;
use crate::relay::{Progress, Relay};

/// How long nothing may have come from either side for an end to be an orderly one. Where bytes are under way, both sides
/// are reset: neither is to take a part for the whole.
pub const QUIET_BEFORE_END: Duration = Duration::from_secs(1);

/// How much longer than its lifetime, or than it may stay otherwise, a connection goes on while it isn't quiet.
pub const LIFETIME_GRACE: Duration = Duration::from_secs(5);

/// Since when what the listener's [`Times`] are about, and when it may not stay any longer. Only connections that have such times,
/// or that may not stay, have it.
#[derive(Debug)]
pub(crate) struct Clocks {
    client_spoke_at: Instant,
    server_spoke_at: Instant,
    half_closed_at: Option<Instant>,
    /// The end of its lifetime.
    dies_at: Option<Instant>,
    /// None: it may stay.
    pub(crate) ending: Option<Ending>,
}

/// The end of a connection by a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    pub(crate) at: Instant,
    pub(crate) cause: Cause,
    /// How long it must have been silent then for an orderly end; none: that can't be.
    pub(crate) quiet_after: Option<Duration>,
}

impl Clocks {
    /// Those of a connection that has just found its server; none if there is nothing to measure.
    pub(crate) fn start(times: &Times, record: &Record, now: Instant) -> Option<Box<Self>> {
        times.is_set().then(|| {
            let accepted_at = record.accepted_at();
            Box::new(Self {
                client_spoke_at: now,
                server_spoke_at: now,
                half_closed_at: None,
                dies_at: times
                    .lifetime
                    .map(|lifetime| accepted_at + lifetime.of(record.id())),
                ending: None,
            })
        })
    }

    /// Those of a connection whose listener has no times, and that may not stay.
    pub(crate) fn of_ending(ending: Ending, now: Instant) -> Box<Self> {
        Box::new(Self {
            client_spoke_at: now,
            server_spoke_at: now,
            half_closed_at: None,
            dies_at: None,
            ending: Some(ending),
        })
    }

    /// A turn of the relay is over.
    pub(crate) fn on_turn(&mut self, progress: &Progress, relay: &Relay, now: Instant) {
        if progress.up > 0 {
            self.client_spoke_at = now;
        }
        if progress.down > 0 {
            self.server_spoke_at = now;
        }
        if self.half_closed_at.is_none() && relay.has_ended_side() {
            self.half_closed_at = Some(now);
        }
    }

    /// The next end by one of the times, unless something comes before.
    pub(crate) fn expiry(
        &self,
        times: &Times,
        relay: &Relay,
        silent_since: Instant,
    ) -> Option<Expiry> {
        let after = |since: Option<Instant>, timeout: Option<Duration>, cause| {
            let (since, timeout) = since.zip(timeout)?;
            Some(Expiry {
                at: since + timeout,
                cause,
                quiet_after: Some(timeout.min(QUIET_BEFORE_END)),
            })
        };
        // Who isn't read from says nothing that anybody could hear.
        let client = relay.reads_client().then_some(self.client_spoke_at);
        let server = relay.reads_server().then_some(self.server_spoke_at);
        let lifetime = self
            .dies_at
            .map(|dies_at| Expiry::once_quiet(dies_at, Cause::MaxLifetime, relay, silent_since));
        let ending = self.ending.as_ref();
        let ends = [
            after(client, times.client_idle, Cause::ClientIdleTimeout),
            after(server, times.server_idle, Cause::ServerIdleTimeout),
            after(
                self.half_closed_at,
                times.half_closed,
                Cause::HalfClosedTimeout,
            ),
            lifetime,
            ending.map(|ending| ending.expiry(relay, silent_since)),
        ];
        ends.into_iter().flatten().min_by_key(|expiry| expiry.at)
    }
}

mod tag {
    pub(super) const CLIENT_SPOKE_AT: u8 = 0;
    pub(super) const SERVER_SPOKE_AT: u8 = 1;
    pub(super) const HALF_CLOSED_AT: u8 = 2;
}

impl Clocks {
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        // The rest follows from the listener's times, or from what is set for the connection where it goes.
        out.moment(tag::CLIENT_SPOKE_AT, self.client_spoke_at);
        out.moment(tag::SERVER_SPOKE_AT, self.server_spoke_at);
        out.maybe_moment(tag::HALF_CLOSED_AT, self.half_closed_at);
    }

    /// Those of a connection under the times that its listener has here. What was not measured where it came from counts from its last
    /// byte.
    pub(super) fn decode(
        fields: Option<Fields<'_>>,
        times: &Times,
        record: &Record,
        relay: &Relay,
    ) -> Result<Option<Box<Self>>, Error> {
        let last_byte_at = record.last_byte_at();
        let mut clocks = Self::start(times, record, last_byte_at);
        let half_closed_at = relay.has_ended_side().then_some(last_byte_at);
        if let Some(mut fields) = fields {
            let client = fields.moment(tag::CLIENT_SPOKE_AT, "when the client spoke")?;
            let server = fields.moment(tag::SERVER_SPOKE_AT, "when the server spoke")?;
            let half_closed = fields.maybe_moment(tag::HALF_CLOSED_AT, "when a stream ended")?;
            fields.finish()?;
            if let Some(clocks) = &mut clocks {
                clocks.client_spoke_at = client;
                clocks.server_spoke_at = server;
                clocks.half_closed_at = half_closed;
            }
        } else if let Some(clocks) = &mut clocks {
            clocks.half_closed_at = half_closed_at;
        }
        Ok(clocks)
    }
}

impl Expiry {
    /// From `at` on, as soon as the connection is quiet, and [`LIFETIME_GRACE`] later at the latest.
    pub(crate) fn once_quiet(
        at: Instant,
        cause: Cause,
        relay: &Relay,
        silent_since: Instant,
    ) -> Self {
        let latest = at + LIFETIME_GRACE;
        Self {
            at: match relay.holds_bytes() {
                true => latest,
                false => (silent_since + QUIET_BEFORE_END).clamp(at, latest),
            },
            cause,
            quiet_after: Some(QUIET_BEFORE_END),
        }
    }

    /// At `at`, whatever is under way.
    pub(crate) fn reset(at: Instant, cause: Cause) -> Self {
        Self {
            at,
            cause,
            quiet_after: None,
        }
    }

    /// Whether both sides can be closed without one of them taking a part for the whole.
    pub(crate) fn is_orderly(&self, relay: &Relay, silent_since: Instant, now: Instant) -> bool {
        let quiet_after = self.quiet_after;
        !relay.holds_bytes() && quiet_after.is_some_and(|after| now >= silent_since + after)
    }

    /// Why and when, in two letters: who was waited for.
    pub(crate) fn termination(&self, relay: &Relay) -> Termination {
        let stage = relay.stage();
        let waits_for_server = match self.cause {
            Cause::HalfClosedTimeout => relay.waits_for_server() || stage != Stage::Last,
            Cause::IdleTimeout => relay.waits_for_server(),
            _ => false,
        };
        if waits_for_server {
            Termination::server_stalled(stage)
        } else {
            Termination::of(self.cause, stage, None)
        }
    }
}
