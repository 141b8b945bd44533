//! A lane's connections on their way to another scheduler.

use std::time::Instant;

use super::{Lane, Task};
use crate::driver::ROOM_RETRY;
use crate::poller::Poller;

impl<P: Poller> Lane<P> {
    /// Sends connections to another scheduler, where all are to go there, as far as there is room now.
    pub(super) fn evacuate(&mut self, now: Instant) {
        let driver = self.core.0.clone();
        let Some(evacuation) = driver.evacuation.get() else {
            return;
        };
        while self.to_evacuate < self.tasks.len() {
            if !evacuation.has_room(now) {
                return driver.tries_at.set(Some(now + ROOM_RETRY));
            }
            let index = self.to_evacuate as u32;
            self.to_evacuate += 1;
            self.leaves(index);
        }
    }

    /// Sends the connection in a place to another scheduler, if all are to go there and it is one that can.
    pub(super) fn leaves(&mut self, index: u32) -> bool {
        let Some(evacuation) = self.core.0.evacuation.get().cloned() else {
            return false;
        };
        let Some(Task::Connection(connection)) = self.tasks.get_mut(index as usize) else {
            return false;
        };
        let Some(detached) = connection.leave(evacuation.takes_waiting()) else {
            return false;
        };
        self.remove(index);
        evacuation.send(detached);
        true
    }
}
