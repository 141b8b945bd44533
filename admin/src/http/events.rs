//! Sends the state to open live pages, as Server-Sent Events.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::moment;
use crate::observed::Observed;
use crate::sampling::sampler::Watch;

/// Who may listen at a time; more are told to come back later. Connections of the admin server are left for scrapes.
pub(crate) const SUBSCRIBERS_MAX: usize = 16;

/// Time between two events.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// Events of one answer, after which the client asks again: it ends before the server would cut the connection for its
/// age.
const EVENTS_MAX: u32 = 240;

/// How soon a client asks again after the end, in milliseconds.
const RETRY_MS: u32 = 1000;

/// Where subscriptions come from.
pub(crate) struct Broadcast {
    observed: Arc<Observed>,
    watch: Arc<Watch>,
    slots: Arc<Semaphore>,
}

impl Broadcast {
    /// Nobody listens yet.
    pub(crate) fn new(observed: Arc<Observed>, watch: Arc<Watch>) -> Self {
        Self {
            observed,
            watch,
            slots: Arc::new(Semaphore::new(SUBSCRIBERS_MAX)),
        }
    }

    /// A subscription, or none when there are [`SUBSCRIBERS_MAX`]. It needs the admin server's runtime around it.
    pub(crate) fn subscribe(&self) -> Option<Events> {
        let slot = self.slots.clone().try_acquire_owned().ok()?;
        let mut ticks = interval(EVENT_INTERVAL);
        // A client that could not take events for a while gets the next one, and the history in it.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Events {
            observed: self.observed.clone(),
            watch: self.watch.clone(),
            ticks,
            sent: 0,
            seen: None,
            _slot: slot,
        })
    }

    /// The JSON of this moment, with all of the history.
    pub(crate) fn state(&self) -> serde_json::Result<String> {
        serde_json::to_string(&moment::state(&self.observed, &self.watch, None))
    }
}

/// One subscription. Its timer runs while somebody listens, and no longer.
pub(crate) struct Events {
    observed: Arc<Observed>,
    watch: Arc<Watch>,
    ticks: Interval,
    sent: u32,
    /// The number of the last point of the history that was sent.
    seen: Option<u64>,
    _slot: OwnedSemaphorePermit,
}

impl Events {
    /// The next event: the first at once and with all of the history, then one a second.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.sent == EVENTS_MAX {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(cx));
        let state = moment::state(&self.observed, &self.watch, self.seen);
        self.seen = state.history.last().map(|point| point.number).or(self.seen);
        self.sent += 1;
        let event = match serde_json::to_string(&state) {
            Ok(json) => format!("retry: {RETRY_MS}\ndata: {json}\n\n"),
            Err(error) => {
                tracing::error!(%error, "the state can't be encoded");
                return Poll::Ready(None);
            }
        };
        Poll::Ready(Some(event.into()))
    }
}
