//! The right to one connection.

use std::sync::Arc;
use std::time::Instant;

use crate::admission::limits::Refused;
use crate::admission::source::Source;
use crate::admission::{self, Counts};
use crate::connection::origin::{ClientAddress, Origin};
use crate::descriptors::Spare;
use crate::listener::settings::ListenerSettings;
use crate::metrics::Rejection;
use crate::worker::Worker;

/// The right to one connection of a listener and to the descriptor of its server, given back when dropped; and the settings
/// that the connection has.
#[derive(Debug)]
pub struct Permit {
    settings: Arc<ListenerSettings>,
    spare: Spare,
    /// What it counts for besides the listener.
    counts: Counts,
    /// It was not given back or handed on yet.
    is_held: bool,
}

impl Permit {
    /// Asks for one more connection, which comes from `origin`, and for which `spare` was kept at the accept.
    ///
    /// # Errors
    /// Why it is rejected, counted: the caller closes the connection.
    pub fn ask(
        settings: &Arc<ListenerSettings>,
        worker: &Worker,
        origin: Origin,
        mut spare: Spare,
    ) -> Result<Self, Rejection> {
        let permit = Self::try_ask(settings, worker, origin, &mut spare);
        permit.map_err(|refused| {
            let cells = settings.listener.cells.of(worker.slot());
            cells.rejected[refused.rejection as usize].increment();
            refused.rejection
        })
    }

    /// The same for one that may wait: nothing is counted if it is refused, and `spare` is left then.
    pub(crate) fn try_ask(
        settings: &Arc<ListenerSettings>,
        worker: &Worker,
        origin: Origin,
        spare: &mut Spare,
    ) -> Result<Self, Refused> {
        worker.activity.note();
        let counts = admission::at_accept(settings, origin, worker.now)?;
        let cells = settings.listener.cells.of(worker.slot());
        cells.accepted.increment();
        Ok(Self {
            settings: settings.clone(),
            spare: std::mem::take(spare),
            counts,
            is_held: true,
        })
    }

    /// The settings of the connection.
    pub fn settings(&self) -> &Arc<ListenerSettings> {
        &self.settings
    }

    /// The prologue is over, and this is who the client is that the peer announced, or the peer.
    ///
    /// # Errors
    /// Why it may not go on.
    pub(crate) fn on_client(
        &mut self,
        peer: ClientAddress,
        client: ClientAddress,
        now: Instant,
    ) -> Result<(), Rejection> {
        let counts = std::mem::replace(&mut self.counts, Counts::Nothing);
        self.counts = admission::after_prologue(&self.settings, peer, client, counts, now)?;
        Ok(())
    }

    /// The right of a connection that another process admitted, with the source that it counts for: it counts here, whatever the
    /// limits are.
    pub(crate) fn carried(settings: Arc<ListenerSettings>, source: Option<Source>) -> Self {
        Self {
            counts: admission::take_over(&settings, source),
            settings,
            spare: Spare::default(),
            is_held: true,
        }
    }

    /// The source of its client's that it counts for, besides the listener. Once it has a server it counts for no peer any more.
    pub(crate) fn source(&self) -> Option<Source> {
        match self.counts {
            Counts::Source(source) => Some(source),
            Counts::Peer(_) | Counts::Nothing => None,
        }
    }

    /// Makes room for the server's socket.
    pub(crate) fn make_room(&mut self) {
        self.spare.give_back();
    }

    /// Hands the right on to another owner.
    pub(crate) fn hand_on(&mut self) -> Self {
        Self {
            settings: self.settings.clone(),
            spare: std::mem::take(&mut self.spare),
            counts: std::mem::replace(&mut self.counts, Counts::Nothing),
            is_held: std::mem::take(&mut self.is_held),
        }
    }

    /// Gives the right back.
    pub(crate) fn release(&mut self) {
        if std::mem::take(&mut self.is_held) {
            let counts = std::mem::replace(&mut self.counts, Counts::Nothing);
            admission::release(&self.settings, counts);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}
