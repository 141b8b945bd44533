//! What is remembered of a connection's attempts to connect.

use std::time::{Duration, Instant};

use crate::carry::{Error, Fields, Writer};

use crate::metrics::ConnectFailure;

/// The attempts of one connection, small as it is kept for as long as the connection lives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    made: u16,
    last_failure: Option<ConnectFailure>,
    worked: bool,
    wait: Micros,
    /// It counts if one worked.
    connect: Micros,
}

/// Up to an hour and eleven minutes, in microseconds; more is as much.
#[derive(Clone, Copy, Debug, Default)]
struct Micros(u32);

impl Attempts {
    /// Another attempt begins.
    pub(crate) fn on_begin(&mut self, accepted_at: Instant, now: Instant) {
        if self.made == 0 {
            self.wait = Micros::between(accepted_at, now);
        }
        self.made = self.made.saturating_add(1);
    }

    /// It failed.
    pub(crate) fn on_failure(&mut self, failure: ConnectFailure) {
        self.last_failure = Some(failure);
        // It may have worked before it came to nothing.
        self.worked = false;
    }

    /// It worked.
    pub(crate) fn on_connected(&mut self, accepted_at: Instant, now: Instant) {
        self.connect = Micros::between(accepted_at + self.wait.get(), now);
        self.worked = true;
    }

    pub(crate) fn last_failure(&self) -> Option<ConnectFailure> {
        self.last_failure
    }

    /// From the accept to the first attempt; none if there was none.
    pub(crate) fn wait(&self) -> Option<Duration> {
        (self.made > 0).then(|| self.wait.get())
    }

    /// From the first attempt until one worked; none if none did.
    pub(crate) fn connect(&self) -> Option<Duration> {
        self.worked.then(|| self.connect.get())
    }

    /// Attempts after the first one.
    pub(crate) fn retries(&self) -> u16 {
        self.made.saturating_sub(1)
    }
}

mod tag {
    pub(super) const MADE: u8 = 0;
    pub(super) const LAST_FAILURE: u8 = 1;
    pub(super) const WORKED: u8 = 2;
    pub(super) const WAIT: u8 = 3;
    pub(super) const CONNECT: u8 = 4;
}

impl Attempts {
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.number(tag::MADE, self.made.into());
        let last = self.last_failure.map_or("", ConnectFailure::label);
        out.text(tag::LAST_FAILURE, last);
        out.flag(tag::WORKED, self.worked);
        out.number(tag::WAIT, self.wait.0.into());
        out.number(tag::CONNECT, self.connect.0.into());
    }

    pub(super) fn decode(mut fields: Fields<'_>) -> Result<Self, Error> {
        let made = fields.number(tag::MADE, u16::MAX.into(), "attempts")?;
        let last = fields.text(tag::LAST_FAILURE, "a failure")?;
        let mut failures = ConnectFailure::ALL.into_iter();
        // One that is new to this process is as good as unknown.
        let last = failures.find(|failure| failure.label() == last);
        let mut micros = |tag| {
            let micros = fields.number(tag, u32::MAX.into(), "times of attempts")?;
            Ok(Micros(micros as u32))
        };
        let (wait, connect) = (micros(tag::WAIT)?, micros(tag::CONNECT)?);
        let attempts = Self {
            made: made as u16,
            last_failure: last,
            worked: fields.flag(tag::WORKED)?,
            wait,
            connect,
        };
        fields.finish()?;
        Ok(attempts)
    }
}

impl Micros {
    fn between(begin: Instant, end: Instant) -> Self {
        let micros = end.saturating_duration_since(begin).as_micros();
        Self(u32::try_from(micros).unwrap_or(u32::MAX))
    }

    fn get(self) -> Duration {
        Duration::from_micros(self.0.into())
    }
}
