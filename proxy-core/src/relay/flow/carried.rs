//! A direction, from one process to another.

use std::os::fd::OwnedFd;

use crate::carry::{Error, Fields, HELD_BYTES_MAX, Writer};
use crate::relay::buffer::Held;
use crate::relay::bulk::Bulk;
use crate::relay::direction::Direction;
use crate::relay::flow::{Flow, Store};
use crate::relay::pipe::{PIPE_BYTES, Pipe};

mod tag {
    pub(super) const PHASE: u8 = 0;
    pub(super) const FORWARDED: u8 = 1;
    /// Bytes that are held in a buffer.
    pub(super) const HELD: u8 = 2;
    /// How many are in the pipe that comes with it.
    pub(super) const IN_PIPE: u8 = 3;
    pub(super) const SPLICES_NEVER: u8 = 4;
    pub(super) const SPLICING: u8 = 5;
    pub(super) const STREAK: u8 = 6;
    pub(super) const FLOWED: u8 = 7;
    pub(super) const COPIES_NEXT: u8 = 8;
    pub(super) const OWN: u8 = 9;
    pub(super) const OPENS: u8 = 10;
    pub(super) const HOLDS_END: u8 = 11;
    pub(super) const HAS_LOST: u8 = 12;
    pub(super) const SPLICED: u8 = 13;
}

impl Flow {
    pub(in crate::relay) fn encode(&self, out: &mut Writer<'_>) {
        let (phase, held, forwarded) = self.state.to_carry();
        out.number(tag::PHASE, phase);
        out.number(tag::FORWARDED, forwarded);
        match &self.store {
            Store::Nowhere => {}
            Store::Buffer(held) => out.bytes(tag::HELD, held.bytes()),
            Store::Pipe(_) => out.number(tag::IN_PIPE, held as u64),
        }
        let (allowed, splicing, streak, flowed) = self.bulk.to_carry();
        out.flag(tag::SPLICES_NEVER, !allowed);
        out.flag(tag::SPLICING, splicing);
        out.number(tag::STREAK, streak.into());
        out.number(tag::FLOWED, flowed as u64);
        out.flag(tag::COPIES_NEXT, self.copies_next);
        out.number(tag::OWN, self.own.into());
        out.flag(tag::OPENS, self.opens);
        out.flag(tag::HOLDS_END, self.holds_end);
        out.flag(tag::HAS_LOST, self.has_lost);
        out.number(tag::SPLICED, self.spliced);
    }

    /// The pipe that bytes are held in.
    pub(in crate::relay) fn pipe(&self) -> Option<&Pipe> {
        match &self.store {
            Store::Pipe(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// The same, and nothing is held any more.
    pub(in crate::relay) fn take_pipe(&mut self) -> Option<Pipe> {
        match std::mem::replace(&mut self.store, Store::Nowhere) {
            Store::Pipe(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// `pipe` gives the ends of the pipe that bytes are held in. `splice` says whether bulk may go through pipes here.
    pub(in crate::relay) fn decode(
        mut fields: Fields<'_>,
        splice: bool,
        pipe: impl FnOnce() -> Result<[OwnedFd; 2], Error>,
    ) -> Result<Self, Error> {
        let held = fields.bytes(tag::HELD, HELD_BYTES_MAX)?;
        let in_pipe = fields.number(tag::IN_PIPE, PIPE_BYTES as u64, "bytes in a pipe")? as usize;
        let (count, store) = match (held.len(), in_pipe) {
            (0, 0) => (0, Store::Nowhere),
            (count, 0) => (count, Store::Buffer(Held::new(held.to_vec(), 0))),
            (0, count) => {
                let [read, write] = pipe()?;
                let pipe = Pipe::carried(read, write, count);
                (count, Store::Pipe(pipe.ok_or(Error::Bad("a pipe"))?))
            }
            _ => return Err(Error::Bad("bytes in two places")),
        };
        let phase = fields.number(tag::PHASE, u64::MAX, "a phase")?;
        let forwarded = fields.count(tag::FORWARDED, "bytes that were forwarded")?;
        let state = Direction::carried(phase, count, forwarded);
        let state = state.ok_or(Error::Bad("a phase"))?;
        let allowed = !fields.flag(tag::SPLICES_NEVER)? && splice;
        let splicing = fields.flag(tag::SPLICING)?;
        let streak = fields.number(tag::STREAK, u8::MAX.into(), "a streak")? as u8;
        let flowed = fields.count(tag::FLOWED, "bytes that flowed")? as usize;
        let bulk = Bulk::carried(allowed, splicing, streak, flowed);
        let own = fields.number(tag::OWN, HELD_BYTES_MAX as u64, "bytes of its own")?;
        let opens = fields.flag(tag::OPENS)?;
        // Nothing but these is held, and nothing was done yet.
        let may_open = matches!(store, Store::Buffer(_))
            && state.is_open()
            && forwarded == 0
            && own == count as u64;
        if opens && !may_open {
            return Err(Error::Bad("bytes that open a stream"));
        }
        let flow = Self {
            state,
            store,
            bulk: bulk.ok_or(Error::Bad("a streak"))?,
            copies_next: fields.flag(tag::COPIES_NEXT)?,
            own: own as u32,
            opens,
            holds_end: fields.flag(tag::HOLDS_END)?,
            has_lost: fields.flag(tag::HAS_LOST)?,
            spliced: fields.count(tag::SPLICED, "bytes that were spliced")?,
        };
        fields.finish()?;
        Ok(flow)
    }
}
