//! New connections, so many a second: each connects, sends a message, compares its echo, and closes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proxy_load::{Clients, Lost, Poller, Tally, begin_connect};
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::cue::{Cue, Phase, due};
use super::faults::{Fault, Faults};
use super::message::{BYTES, Echo, Heard, message, send_whole};

/// Connections under way. One that is due while there are more doesn't begin, and counts as late: its client waits.
pub(super) const UNDER_WAY_MAX: usize = 1_000;

/// An open loop of connections.
pub(super) struct Arrivals<'a> {
    cue: &'a Cue,
    per_second: f64,
    proxy: Option<(SocketAddr, Instant)>,
    /// Those that have come due.
    pub(super) begun: u64,
    pub(super) faults: Faults,
    /// How long those waited that were answered before the change, and from then on.
    waits: [Vec<Duration>; 2],
    slots: Vec<Option<Arrival>>,
    vacant: Vec<usize>,
}

struct Arrival {
    socket: OwnedFd,
    due: Instant,
    message: [u8; BYTES],
    sent: bool,
    echo: Echo,
}

impl<'a> Arrivals<'a> {
    /// So many a second, evenly spaced; none at all where it is 0.
    pub(super) fn new(per_second: f64, cue: &'a Cue) -> Self {
        Self {
            cue,
            per_second,
            proxy: None,
            begun: 0,
            faults: Faults::default(),
            waits: [Vec::new(), Vec::new()],
            slots: Vec::new(),
            vacant: (0..UNDER_WAY_MAX).rev().collect(),
        }
    }

    /// Counts those whose answer hasn't come by `now` and is late.
    pub(super) fn settle(&mut self, now: Instant) {
        for arrival in self.slots.iter().flatten() {
            let waited = now.saturating_duration_since(arrival.due);
            if waited >= self.cue.late {
                self.faults.add(Fault::Late);
                self.waits[1].push(waited);
            }
        }
    }

    /// How long they waited before the change and from then on, the shortest first.
    pub(super) fn pauses(&self) -> [Vec<Duration>; 2] {
        self.waits.clone().map(|mut waits| {
            waits.sort_unstable();
            waits
        })
    }

    /// Connects, for the one that is due next.
    fn begin(&mut self, proxy: SocketAddr, due: Instant, poller: &Poller) -> Result<(), Errno> {
        let message = message(self.begun, 0);
        self.begun += 1;
        let Some(index) = self.vacant.pop() else {
            self.faults.add(Fault::Late);
            return Ok(());
        };
        let begun = begin_connect(proxy).and_then(|socket| {
            let sent = send_whole(&socket, &message)?;
            Ok((socket, sent))
        });
        let (socket, sent) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.vacant.push(index);
                return self.faults.add_error(error);
            }
        };
        let flags = if sent {
            EventFlags::IN
        } else {
            EventFlags::OUT
        };
        poller.watch(&socket, index, flags)?;
        self.slots[index] = Some(Arrival {
            socket,
            due,
            message,
            sent,
            echo: Echo::default(),
        });
        Ok(())
    }

    fn end(&mut self, index: usize) {
        self.slots[index] = None;
        self.vacant.push(index);
    }
}

impl Clients for Arrivals<'_> {
    fn start(&mut self, proxy: SocketAddr, _: &Poller) -> anyhow::Result<()> {
        self.proxy = Some((proxy, Instant::now()));
        self.slots.resize_with(UNDER_WAY_MAX, || None);
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        let (_, start) = self.proxy?;
        (self.per_second > 0.0 && self.cue.phase() < Phase::Closing)
            .then(|| due(start, self.per_second, self.begun))
    }

    fn on_time(&mut self, now: Instant, poller: &Poller) -> Result<(), Lost> {
        let Some((proxy, _)) = self.proxy else {
            return Ok(());
        };
        while let Some(due) = self.due().filter(|due| *due <= now) {
            self.begin(proxy, due, poller).map_err(Lost::of(0))?;
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        _: EventFlags,
        poller: &Poller,
        _: &mut Tally,
    ) -> anyhow::Result<()> {
        // An event fetched together with the one that ended the connection finds nothing here, or a new one.
        let Some(arrival) = &mut self.slots[index] else {
            return Ok(());
        };
        if !arrival.sent {
            match send_whole(&arrival.socket, &arrival.message) {
                Ok(sent) => arrival.sent = sent,
                Err(error) => {
                    self.end(index);
                    return Ok(self.faults.add_error(error)?);
                }
            }
            if arrival.sent {
                poller.rewatch(&arrival.socket, index, EventFlags::IN)?;
            }
            return Ok(());
        }
        match arrival.echo.receive(&arrival.socket, &arrival.message)? {
            Heard::Part => return Ok(()),
            Heard::Whole => {
                let waited = arrival.due.elapsed();
                if let Some(window) = self.cue.window() {
                    self.waits[window].push(waited);
                }
                if waited >= self.cue.late {
                    self.faults.add(Fault::Late);
                }
            }
            Heard::Fault(fault) => self.faults.add(fault),
        }
        self.end(index);
        Ok(())
    }
}
