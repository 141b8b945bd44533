//! The right to one connection.

use std::sync::Arc;

use crate::admission;
use crate::connection::origin::Origin;
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
        spare: Spare,
    ) -> Result<Self, Rejection> {
        worker.activity.note();
        let listener = &settings.listener;
        let cells = listener.cells.of(worker.slot());
        if let Err(rejection) = admission::at_accept(settings, origin) {
            cells.rejected[rejection as usize].increment();
            return Err(rejection);
        }
        cells.accepted.increment();
        Ok(Self {
            settings: settings.clone(),
            spare,
            is_held: true,
        })
    }

    /// The settings of the connection.
    pub fn settings(&self) -> &Arc<ListenerSettings> {
        &self.settings
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
            is_held: std::mem::take(&mut self.is_held),
        }
    }

    /// Gives the right back.
    pub(crate) fn release(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.settings.listener.release();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}
