//! Both directions, from one process to another.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::admission::bandwidth::Bandwidth;
use crate::carry::{Error, Fields, Writer};
use crate::relay::flow::Flow;
use crate::relay::pace::Pace;
use crate::relay::pipe::Pipe;
use crate::relay::{
    FIRST_ACKNOWLEDGEMENT_CHECK, Failure, LAST_ACKNOWLEDGEMENT_CHECK, Lost, Relay, Side,
};

mod tag {
    pub(super) const UP: u8 = 0;
    pub(super) const DOWN: u8 = 1;
    pub(super) const LOST: u8 = 2;
    pub(super) const PACE: u8 = 3;

    pub(super) mod lost {
        pub(in super::super) const IS_CLIENT: u8 = 0;
        pub(in super::super) const ERRNO: u8 = 1;
        pub(in super::super) const UNACKNOWLEDGED: u8 = 2;
        pub(in super::super) const CHECK_AFTER: u8 = 3;
    }
}

/// Errors have numbers below that (`MAX_ERRNO` of the kernel).
const ERRNO_MAX: u64 = 4095;

impl Relay {
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.nested(tag::UP, |out| self.up.encode(out));
        out.nested(tag::DOWN, |out| self.down.encode(out));
        if let Some(lost) = &self.lost {
            out.nested(tag::LOST, |out| lost.encode(out));
        }
        if let Some(pace) = &self.pace {
            out.nested(tag::PACE, |out| pace.encode(out));
        }
    }

    /// The pipes that bytes are held in: up, and down.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = &Pipe> {
        [&self.up, &self.down].into_iter().filter_map(Flow::pipe)
    }

    /// The same, which are lost to it. Another process has the state.
    pub(crate) fn take_pipes(&mut self) -> Vec<Pipe> {
        let flows = [&mut self.up, &mut self.down];
        flows.into_iter().filter_map(Flow::take_pipe).collect()
    }

    /// `ends` are those of its pipes, of which it takes as many as it has. `splice` says whether bulk may go through pipes here.
    pub(crate) fn decode(
        mut fields: Fields<'_>,
        ends: &mut impl Iterator<Item = OwnedFd>,
        splice: bool,
        bandwidth: &Bandwidth,
        now: Instant,
    ) -> Result<Self, Error> {
        let (up, down) = (fields.nested(tag::UP)?, fields.nested(tag::DOWN)?);
        let mut flow = |fields: Option<Fields<'_>>| {
            let fields = fields.ok_or(Error::Lacks("a direction"))?;
            let pipe = || match (ends.next(), ends.next()) {
                (Some(read), Some(write)) => Ok([read, write]),
                _ => Err(Error::Lacks("a pipe")),
            };
            Flow::decode(fields, splice, pipe)
        };
        let (up, down) = (flow(up)?, flow(down)?);
        let lost = fields.nested(tag::LOST)?.map(Lost::decode).transpose()?;
        let pace = fields.nested(tag::PACE)?;
        let pace = pace.map(|pace| Pace::decode(pace, bandwidth, now));
        let relay = Self {
            up,
            down,
            lost,
            pace: pace.transpose()?.flatten(),
        };
        fields.finish()?;
        Ok(relay)
    }
}

impl Lost {
    fn encode(&self, out: &mut Writer<'_>) {
        out.flag(tag::lost::IS_CLIENT, self.failure.side == Side::Client);
        let errno = self.failure.error.raw_os_error().unwrap_or(0);
        out.number(tag::lost::ERRNO, errno.unsigned_abs().into());
        out.number(tag::lost::UNACKNOWLEDGED, self.unacknowledged as u64);
        let check_after = self.check_after.as_nanos();
        out.number(tag::lost::CHECK_AFTER, check_after as u64);
    }

    fn decode(mut fields: Fields<'_>) -> Result<Box<Self>, Error> {
        let is_client = fields.flag(tag::lost::IS_CLIENT)?;
        let errno = fields.number(tag::lost::ERRNO, ERRNO_MAX, "an error")?;
        let unacknowledged = fields.count(tag::lost::UNACKNOWLEDGED, "bytes on their way")?;
        let check_after = fields.count(tag::lost::CHECK_AFTER, "the time of a look")?;
        let check_after = Duration::from_nanos(check_after);
        if !(FIRST_ACKNOWLEDGEMENT_CHECK..=LAST_ACKNOWLEDGEMENT_CHECK).contains(&check_after) {
            return Err(Error::Bad("the time of a look"));
        }
        fields.finish()?;
        let error = match errno {
            // Not the kernel's.
            0 => io::ErrorKind::Other.into(),
            errno => io::Error::from(Errno::from_raw_os_error(errno as i32)),
        };
        let side = if is_client {
            Side::Client
        } else {
            Side::Server
        };
        Ok(Box::new(Self {
            failure: Failure { side, error },
            unacknowledged: unacknowledged as usize,
            check_after,
        }))
    }
}
