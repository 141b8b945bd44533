//! What is known of a server, as bytes for another process and back.

use std::time::{Duration, Instant};

use super::{Location, Server};
use crate::carry::{Error, Fields, Moment, TEXT_BYTES_MAX, Writer};
use crate::upstream::addresses::ADDRESSES_MAX;
use crate::upstream::agent::CONFIGURED;
use crate::upstream::state::Hold;

mod tag {
    pub(super) const HOLDS: u8 = 0;
    pub(super) const OUTAGE: u8 = 1;
    pub(super) const RESTS_UNTIL: u8 = 2;
    pub(super) const CONDUCT: u8 = 3;
    pub(super) const WARMS_SINCE: u8 = 4;
    pub(super) const CONNECT_TOOK: u8 = 5;
    pub(super) const CONNECTED_AT: u8 = 6;
    pub(super) const PERCENT: u8 = 7;
    pub(super) const MAX_CONNECTIONS: u8 = 8;
    pub(super) const AGENT_LINE: u8 = 9;
    pub(super) const WAS_CHECKED: u8 = 10;
    pub(super) const WEIGHT_BY_HAND: u8 = 11;
    /// A process that doesn't know it can do without.
    pub(super) const CLEAR_SINCE: u8 = crate::carry::SKIPPED_FROM;
    /// The same: it resolves the name itself.
    pub(super) const ADDRESSES: u8 = crate::carry::SKIPPED_FROM + 1;
    pub(super) const ADDRESS: u8 = 0;
}

/// The highest weight that there can be: see [`WEIGHT_MAX`](crate::WEIGHT_MAX), which pools say.
const WEIGHT_BY_HAND_MAX: u64 = 256;

/// What traffic and people hold against a server. Whoever checks it or asks its agent has a verdict of this process once that has
/// begun.
const OTHERS: [Hold; 3] = [Hold::Ejected, Hold::Draining, Hold::Maintenance];

impl Server {
    /// All that is known of it, for another process.
    pub(crate) fn encode(&self, now: Instant, out: &mut Writer<'_>) {
        self.standing.encode(tag::HOLDS, out);
        out.nested(tag::OUTAGE, |out| self.outage.encode(out));
        out.maybe_moment(tag::RESTS_UNTIL, self.rest.ends_at(now));
        out.nested(tag::CONDUCT, |out| self.conduct.encode(out));
        out.maybe_moment(tag::WARMS_SINCE, self.warmth.since(now));
        if let Some((took, at)) = self.connect_time.noted() {
            out.number(tag::CONNECT_TOOK, took);
            out.moment(tag::CONNECTED_AT, at);
        }
        let percent = Some(self.agent.percent()).filter(|&percent| percent != CONFIGURED);
        out.maybe_number(tag::PERCENT, percent.map(Into::into));
        out.maybe_number(tag::MAX_CONNECTIONS, self.agent.said_max_connections());
        // It is for people: the first part does.
        let line = self.agent_line();
        out.text(
            tag::AGENT_LINE,
            &line[..line.floor_char_boundary(TEXT_BYTES_MAX)],
        );
        out.flag(tag::WAS_CHECKED, self.checks.say_anything());
        let weight = self.weight_by_hand.get();
        out.maybe_number(tag::WEIGHT_BY_HAND, weight.map(Into::into));
        out.maybe_moment(tag::CLEAR_SINCE, self.clear_since());
        if let Location::Named(named) = &self.location {
            out.each(tag::ADDRESSES, named.all(), |out, address| {
                out.address(tag::ADDRESS, Some(address));
            });
        }
    }

    /// The same back.
    pub(crate) fn decode(
        &self,
        mut fields: Fields<'_>,
        moment: Moment,
        now: Instant,
    ) -> Result<(), Error> {
        let is_start = moment == Moment::Start;
        let which: &[Hold] = if is_start { &Hold::ALL } else { &OTHERS };
        self.standing.decode(tag::HOLDS, which, &mut fields, now)?;
        let outage = fields.nested(tag::OUTAGE)?;
        if let Some(outage) = outage.filter(|_| is_start) {
            self.outage.decode(outage)?;
        }
        if let Some(until) = fields.maybe_moment(tag::RESTS_UNTIL, "a rest")? {
            self.rest.begin(until, now);
        }
        if let Some(conduct) = fields.nested(tag::CONDUCT)? {
            self.conduct.decode(conduct, now)?;
        }
        match fields.maybe_moment(tag::WARMS_SINCE, "a slow start")? {
            Some(since) => self.warmth.begin(since),
            None => self.warmth.skip(),
        }
        let took = fields.count(tag::CONNECT_TOOK, "the time of connects")?;
        let at = fields.maybe_moment(tag::CONNECTED_AT, "the time of connects")?;
        if let Some(at) = at.filter(|_| took > 0) {
            self.connect_time.note(Duration::from_nanos(took), at);
        }
        let percent = fields.maybe_number(tag::PERCENT, "a share")?;
        let percent =
            percent.map(|percent| u16::try_from(percent).map_err(|_| Error::Bad("a share")));
        let percent = percent.transpose()?;
        let max = fields.maybe_number(tag::MAX_CONNECTIONS, "a limit")?;
        let line = fields.text(tag::AGENT_LINE, "what an agent says")?;
        let was_checked = fields.flag(tag::WAS_CHECKED)?;
        let weight = fields.maybe_number(tag::WEIGHT_BY_HAND, "a weight")?;
        if weight.is_some_and(|weight| weight > WEIGHT_BY_HAND_MAX) {
            return Err(Error::Bad("a weight"));
        }
        let clear_since = fields.maybe_moment(tag::CLEAR_SINCE, "since when a server is up")?;
        let (mut addresses, what) = (Vec::new(), "the addresses of a name");
        fields.each(tag::ADDRESSES, ADDRESSES_MAX, what, |one| {
            addresses.extend(one.address(tag::ADDRESS, what)?);
            Ok(())
        })?;
        fields.finish()?;
        // They are good until the name is resolved here.
        if is_start && !addresses.is_empty() {
            self.set_addresses(&addresses);
        }
        if let Some(since) = clear_since.filter(|_| is_start) {
            self.standing.begin_clear(since);
        }
        if is_start {
            self.set_percent(percent.map_or(CONFIGURED, Into::into));
            self.agent.set_max_connections(max);
            self.agent.set_line(line);
            self.weight_by_hand.set(weight.map(|weight| weight as u16));
            if was_checked {
                self.checks.note_said();
            }
        }
        self.on_change();
        Ok(())
    }
}
