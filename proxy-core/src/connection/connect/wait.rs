//! What goes elsewhere with a client that waits for a place.

use std::time::Instant;

use crate::connection::attempts::Attempts;
use crate::connection::connect::{Connect, WaitTurn};
use crate::connection::first::First;
use crate::connection::origin::ClientAddress;
use crate::listener::settings::ListenerSettings;
use crate::route::Destination;
use crate::runtime::Runtime;

/// A wait for a place that goes on elsewhere. Servers that were tried in vain may be tried once more there.
#[derive(Debug)]
pub(crate) struct Wait {
    /// The upstream whose servers it waits for.
    pub(crate) upstream: String,
    pub(crate) destination: Destination,
    pub(crate) fallbacks: u16,
    /// What its server gets first.
    pub(crate) first: Option<Box<First>>,
    pub(crate) attempts: Attempts,
    pub(crate) turn: WaitTurn,
}

impl<R: Runtime> Connect<R> {
    /// Whether it waits for a place, and could as well elsewhere. One whose client is lost has last words to deliver.
    pub(crate) fn can_wait_elsewhere(&self) -> bool {
        self.queued.is_some() && self.client_lost.is_none()
    }

    /// Leaves the line; what it was handed meanwhile goes to the next one. None where it does not wait.
    pub(crate) fn into_wait(mut self, settings: &ListenerSettings) -> Option<Wait> {
        let turn = self.queued.take()?.turn_to_go_on();
        let upstream = self.pool(settings).upstream().name.clone();
        Some(Wait {
            upstream,
            destination: self.destination,
            fallbacks: self.fallbacks,
            first: self.first,
            attempts: self.attempts,
            turn,
        })
    }

    /// One that goes on with a wait.
    pub(crate) fn of_wait(
        wait: Wait,
        accepted_at: Instant,
        client: ClientAddress,
        now: Instant,
    ) -> Self {
        Self {
            attempts: wait.attempts,
            fallbacks: wait.fallbacks,
            turn: Some(wait.turn),
            ..Self::new(accepted_at, client, wait.destination, wait.first, now)
        }
    }
}
