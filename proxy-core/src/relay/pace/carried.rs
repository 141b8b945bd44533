//! What a connection has of its bandwidth, from one process to another.

use std::time::{Duration, Instant};

use crate::admission::bandwidth::{Bandwidth, QUANTUM_MAX};
use crate::carry::{Error, Fields, HELD_BYTES_MAX, Writer};
use crate::relay::pace::{Opening, Pace};

mod tag {
    pub(super) const UP: u8 = 0;
    pub(super) const DOWN: u8 = 1;
    pub(super) const OPENING: u8 = 2;
    pub(super) const OPENING_DUE: u8 = 3;
    pub(super) const OWN_FULL_AT: u8 = 0;
    pub(super) const GRANTED: u8 = 1;
    pub(super) const DUE: u8 = 2;
}

impl Pace {
    pub(in crate::relay) fn encode(&self, out: &mut Writer<'_>) {
        for (tag, purse) in [tag::UP, tag::DOWN].into_iter().zip(&self.purses) {
            out.nested(tag, |out| {
                let own = self.own.as_ref();
                let full_at = own.map(|own| own.since + Duration::from_nanos(purse.full_at));
                out.maybe_moment(tag::OWN_FULL_AT, full_at);
                out.number(tag::GRANTED, purse.granted);
                out.maybe_moment(tag::DUE, purse.due);
            });
        }
        if let Some(Opening { bytes, due }) = self.opening {
            out.number(tag::OPENING, bytes);
            out.maybe_moment(tag::OPENING_DUE, Some(due));
        }
    }

    /// Under the limits that are in force here: what these have not is forgotten. None where nothing is or was limited.
    pub(in crate::relay) fn decode(
        mut fields: Fields<'_>,
        bandwidth: &Bandwidth,
        now: Instant,
    ) -> Result<Option<Box<Self>>, Error> {
        let mut pace = Self::new(bandwidth, now);
        let mut purse = |tag| {
            let purse = fields.nested(tag)?.ok_or(Error::Lacks("a bandwidth"))?;
            Carried::decode(purse)
        };
        let purses = [purse(tag::UP)?, purse(tag::DOWN)?];
        let bytes = fields.number(
            tag::OPENING,
            HELD_BYTES_MAX as u64,
            "what was heard of a client",
        )?;
        let due = fields.maybe_moment(tag::OPENING_DUE, "what was heard of a client")?;
        fields.finish()?;
        // It waits on the way of the bucket that it was taken from, if it is limited here.
        if pace.shared.is_some() || pace.own.is_some() {
            pace.opening = due.map(|due| Opening { bytes, due });
        }
        if let Some(own) = &mut pace.own {
            // Moments are counted from there, and a bucket may have been full since long.
            let moments = purses.iter().filter_map(|purse| purse.own_full_at);
            own.since = moments.chain([own.since]).min().unwrap_or(now);
        }
        for (purse, carried) in pace.purses.iter_mut().zip(purses) {
            let own = pace.own.as_ref().zip(carried.own_full_at);
            purse.full_at = own.map_or(0, |(own, full_at)| own.at(full_at));
            if pace.shared.is_some() && carried.granted > 0 {
                (purse.granted, purse.due) = (carried.granted, carried.due);
            }
        }
        Ok((bandwidth.generation() > 0).then(|| Box::new(pace)))
    }
}

/// What a direction had.
struct Carried {
    own_full_at: Option<Instant>,
    granted: u64,
    due: Option<Instant>,
}

impl Carried {
    fn decode(mut fields: Fields<'_>) -> Result<Self, Error> {
        let what = "a bandwidth";
        let carried = Self {
            own_full_at: fields.maybe_moment(tag::OWN_FULL_AT, what)?,
            granted: fields.number(tag::GRANTED, QUANTUM_MAX, what)?,
            due: fields.maybe_moment(tag::DUE, what)?,
        };
        fields.finish()?;
        Ok(carried)
    }
}
