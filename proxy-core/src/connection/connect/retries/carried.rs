//! The search for a server, from one process to another.

use crate::carry::{Error, Fields, Writer};
use crate::connection::connect::SERVERS_TRIED_MAX;
use crate::connection::connect::retries::{Retries, Search};
use crate::connection::first::First;
use crate::connection::record::Record;
use crate::listener::settings::ListenerSettings;
use crate::upstream::addresses::ADDRESSES_MAX;

mod tag {
    pub(super) const UPSTREAM: u8 = 0;
    pub(super) const SERVER: u8 = 1;
    pub(super) const ADDRESSES: u8 = 2;
    pub(super) const TRIED: u8 = 3;
    pub(super) const FAILED: u8 = 4;
    pub(super) const FIRST: u8 = 5;
    pub(super) const RETRIES: u8 = 6;

    /// Of one of several.
    pub(super) const NAME: u8 = 0;

    pub(super) mod retries {
        pub(in super::super) const IS_PAID: u8 = 0;
        pub(in super::super) const IS_REFUSED: u8 = 1;
        pub(in super::super) const ROUNDS: u8 = 2;
    }
}

impl Search {
    pub(crate) fn encode(&self, settings: &ListenerSettings, out: &mut Writer<'_>) {
        let pool = settings.pool_after(self.destination, self.fallbacks);
        let label = |place: usize| {
            let member = pool.members().get(place);
            member.map_or("", |member| &member.server.label)
        };
        out.text(tag::UPSTREAM, &pool.upstream().name);
        out.text(tag::SERVER, label(self.place));
        out.each(tag::ADDRESSES, self.walk.tried(), |out, address| {
            out.address(tag::NAME, Some(address));
        });
        out.each(tag::TRIED, &self.tried, |out, &place| {
            out.text(tag::NAME, label(place));
        });
        out.number(tag::FAILED, self.failed as u64);
        if let Some(first) = &self.first {
            out.nested(tag::FIRST, |out| first.encode(out));
        }
        if let Some(retries) = &self.retries {
            out.nested(tag::RETRIES, |out| retries.encode(out));
        }
        // Its turn among those who wait is one of this process: where it has to wait again, it comes last there.
    }

    /// None where no other server can be looked for here.
    pub(crate) fn decode(
        mut fields: Fields<'_>,
        settings: &ListenerSettings,
        record: &Record,
    ) -> Result<Option<Self>, Error> {
        let upstream = fields.name(tag::UPSTREAM, "the upstream of a search")?;
        let server = fields.text(tag::SERVER, "the server of a search")?;
        let mut addresses = Vec::new();
        let what = "addresses that were tried";
        fields.each(tag::ADDRESSES, ADDRESSES_MAX, what, |one| {
            addresses.extend(one.address(tag::NAME, what)?);
            Ok(())
        })?;
        let mut labels = Vec::new();
        let what = "servers that were tried";
        fields.each(tag::TRIED, SERVERS_TRIED_MAX, what, |one| {
            labels.push(one.text(tag::NAME, what)?.to_owned());
            Ok(())
        })?;
        let failed = fields.number(tag::FAILED, SERVERS_TRIED_MAX as u64, "failures")?;
        let first = fields.nested(tag::FIRST)?.map(First::decode).transpose()?;
        let retries = fields.nested(tag::RETRIES)?;
        let retries = retries.map(Retries::decode).transpose()?;
        fields.finish()?;
        let Some((destination, fallbacks)) = settings.way_to(upstream) else {
            return Ok(None);
        };
        let pool = settings.pool_after(destination, fallbacks);
        let Some(place) = pool.place_of(server) else {
            return Ok(None);
        };
        if pool.settings().retry_budget.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            accepted_at: record.accepted_at(),
            client: record.client(),
            destination,
            fallbacks,
            first,
            tried: labels
                .iter()
                .filter_map(|label| pool.place_of(label))
                .collect(),
            failed: failed as usize,
            retries: retries.map(Box::new),
            turn: None,
            place,
            walk: pool.server(place).walk_aside().after(&addresses),
        }))
    }
}

impl Retries {
    /// While a server is on probation there is neither a pause nor another server.
    fn encode(&self, out: &mut Writer<'_>) {
        out.flag(tag::retries::IS_PAID, self.is_paid);
        out.flag(tag::retries::IS_REFUSED, self.is_refused);
        out.number(tag::retries::ROUNDS, self.rounds.into());
    }

    fn decode(mut fields: Fields<'_>) -> Result<Self, Error> {
        // One for each server that was tried, at most.
        let most = SERVERS_TRIED_MAX as u64;
        let retries = Self {
            is_paid: fields.flag(tag::retries::IS_PAID)?,
            is_refused: fields.flag(tag::retries::IS_REFUSED)?,
            rounds: fields.number(tag::retries::ROUNDS, most, "rounds")? as u32,
            ..Self::default()
        };
        fields.finish()?;
        Ok(retries)
    }
}
