//! Long transfers at a pace of their own: what comes back is compared by hash with what was sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proxy_load::{Clients, Lost, Poller, Tally, connect};
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use sha2::{Digest as _, Sha256};

use super::cue::{Cue, Phase};
use super::faults::{Fault, Faults};
use super::pauses::shortest_first;

/// How often a transfer sends.
const TICK: Duration = Duration::from_millis(2);
/// The thread of the transfers looks at them each [`TICK`]. After so long it stood still itself: that is no pause of theirs.
const STILL: Duration = Duration::from_millis(20);
/// Bytes sent or received at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes after which the pattern comes again, which is no power of two.
const PATTERN_BYTES: usize = 1_048_573;
/// How far apart in the pattern two transfers begin.
const APART_BYTES: usize = 7_919;

/// Transfers that last from the beginning of the load to its end.
pub(super) struct Transfers<'a> {
    cue: &'a Cue,
    bytes_per_second: f64,
    pattern: Vec<u8>,
    start: Instant,
    next: Instant,
    chunk: Vec<u8>,
    transfers: Vec<Transfer>,
    pub(super) faults: Faults,
    awake_at: Instant,
    /// The longest time that this thread stood still, and all of it.
    still: [Duration; 2],
}

#[derive(Default)]
struct Transfer {
    /// None: it is done, or was lost.
    socket: Option<OwnedFd>,
    sent: Side,
    received: Side,
    /// Since when it waits for bytes that it has sent; none where all are back.
    waits_since: Option<Instant>,
    /// The longest time that it waited so, before the change and from then on.
    longest: [Duration; 2],
    /// It has said that it sends no more.
    ended: bool,
}

/// What went one way.
#[derive(Clone, Default)]
struct Side {
    bytes: u64,
    hash: Sha256,
}

impl Side {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }
}

impl<'a> Transfers<'a> {
    /// So many, each at so many bytes a second.
    pub(super) fn new(count: usize, bytes_per_second: f64, cue: &'a Cue) -> Self {
        let mut transfers = Vec::new();
        transfers.resize_with(count, Transfer::default);
        Self {
            cue,
            bytes_per_second,
            pattern: pattern(),
            start: Instant::now(),
            next: Instant::now(),
            chunk: vec![0; CHUNK_BYTES],
            transfers,
            faults: Faults::default(),
            awake_at: Instant::now(),
            still: [Duration::ZERO; 2],
        }
    }

    /// The longest time that the thread of the transfers stood still, and all of it: pauses are without that.
    pub(super) fn still(&self) -> [Duration; 2] {
        self.still
    }

    /// The time now. What this thread has missed since it was here is not counted.
    fn awake(&mut self) -> Instant {
        let now = Instant::now();
        let still = now.saturating_duration_since(self.awake_at);
        self.awake_at = now;
        if still > STILL {
            self.still = [self.still[0].max(still), self.still[1] + still];
            let waiting = self.transfers.iter_mut();
            for since in waiting.filter_map(|transfer| transfer.waits_since.as_mut()) {
                *since = now.min(*since + still);
            }
        }
        now
    }

    /// Bytes that all of them have sent.
    pub(super) fn bytes(&self) -> u64 {
        self.transfers
            .iter()
            .map(|transfer| transfer.sent.bytes)
            .sum()
    }

    /// The longest pauses before the change and from then on, each transfer's, the shortest first.
    pub(super) fn pauses(&self) -> [Vec<Duration>; 2] {
        shortest_first(self.transfers.iter().map(|one| one.longest))
    }

    /// Counts those that haven't come to their end by `now`.
    pub(super) fn settle(&mut self, now: Instant) {
        let waiting = self.transfers.iter_mut().filter(|one| one.socket.is_some());
        for transfer in waiting {
            transfer.pause(now, Some(1));
            self.faults.add(Fault::Late);
        }
    }

    /// Sends what transfer `index` may send by `now`. At the end it says that it sends no more, once all has come back: there
    /// are proxies (nginx without `proxy_half_close`) that throw away what is on its way back then.
    fn send(&mut self, index: usize, now: Instant) -> rustix::io::Result<()> {
        let transfer = &mut self.transfers[index];
        let Some(socket) = &transfer.socket else {
            return Ok(());
        };
        if self.cue.phase() >= Phase::Check {
            if !transfer.ended && transfer.received.bytes >= transfer.sent.bytes {
                transfer.ended = true;
                // One that is gone says so when it is received from.
                let _ = shutdown(socket, Shutdown::Write);
            }
            return Ok(());
        }
        let seconds = now.saturating_duration_since(self.start).as_secs_f64();
        let allowed = (seconds * self.bytes_per_second) as u64;
        while transfer.sent.bytes < allowed {
            let at = (index * APART_BYTES + transfer.sent.bytes as usize) % PATTERN_BYTES;
            let most = (allowed - transfer.sent.bytes).min(CHUNK_BYTES as u64) as usize;
            let bytes = &self.pattern[at..PATTERN_BYTES.min(at + most)];
            match send(socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    transfer.sent.add(&bytes[..count]);
                    transfer.waits_since.get_or_insert_with(Instant::now);
                }
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    transfer.socket = None;
                    return self.faults.add_error(error);
                }
            }
        }
        Ok(())
    }
}

impl Clients for Transfers<'_> {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for (index, transfer) in self.transfers.iter_mut().enumerate() {
            let socket = connect(proxy)?;
            poller.watch(&socket, index, EventFlags::IN)?;
            transfer.socket = Some(socket);
        }
        (self.start, self.next) = (Instant::now(), Instant::now());
        self.awake_at = self.start;
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        let goes_on = |transfer: &Transfer| transfer.socket.is_some() && !transfer.ended;
        self.transfers.iter().any(goes_on).then_some(self.next)
    }

    fn on_time(&mut self, now: Instant, _: &Poller) -> Result<(), Lost> {
        self.awake();
        self.next = now + TICK;
        for index in 0..self.transfers.len() {
            self.send(index, now).map_err(Lost::of(index))?;
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        _: EventFlags,
        _: &Poller,
        _: &mut Tally,
    ) -> anyhow::Result<()> {
        let now = self.awake();
        let transfer = &mut self.transfers[index];
        let Some(socket) = &transfer.socket else {
            return Ok(());
        };
        let fault = match recv(socket, &mut *self.chunk, RecvFlags::empty()) {
            Ok((_, 0)) if !transfer.ended => Some(Fault::Closed),
            Ok((_, 0)) => transfer.verdict(),
            Ok((_, bytes)) => {
                transfer.received.add(&self.chunk[..bytes]);
                transfer.pause(now, self.cue.window());
                return Ok(());
            }
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => Some(Fault::of(error).ok_or(error)?),
        };
        transfer.socket = None;
        if let Some(fault) = fault {
            self.faults.add(fault);
        }
        Ok(())
    }
}

impl Transfer {
    /// Bytes have come, or the load ends: how long it waited for them counts for a window.
    fn pause(&mut self, now: Instant, window: Option<usize>) {
        let Some(since) = self.waits_since.take() else {
            return;
        };
        if let Some(window) = window {
            let waited = now.saturating_duration_since(since);
            self.longest[window] = self.longest[window].max(waited);
        }
        self.waits_since = (self.received.bytes < self.sent.bytes).then_some(now);
    }

    /// What is wrong with the bytes that came back, if anything is.
    fn verdict(&self) -> Option<Fault> {
        let hash = |side: &Side| side.hash.clone().finalize();
        if self.received.bytes < self.sent.bytes {
            Some(Fault::Closed)
        } else if hash(&self.received) != hash(&self.sent) {
            Some(Fault::Wrong)
        } else {
            None
        }
    }
}

/// Bytes that look like nothing (xorshift).
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..PATTERN_BYTES).map(|_| (next() >> 32) as u8).collect()
}
