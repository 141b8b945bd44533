//! Connections that come from another scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proxy_core::Listener;
use proxy_core::backend::{Adopter, Moving};

use crate::lanes::Lanes;
use crate::mailbox::{Mailbox, Message, Order};

/// The cores, for who has something for any of them.
#[derive(Debug)]
pub(crate) struct Adoption {
    mailboxes: Arc<[Mailbox]>,
    lanes: Arc<Lanes>,
    turn: AtomicUsize,
}

impl Adoption {
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, lanes: Arc<Lanes>) -> Self {
        Self {
            mailboxes,
            lanes,
            turn: AtomicUsize::new(0),
        }
    }

    /// The number of a listener's lanes, which every core has, or makes before it reads what is sent to it afterwards.
    pub(crate) fn lane(&self, listener: &Arc<Listener>) -> u32 {
        let cores = self.mailboxes.len();
        self.lanes
            .find_or_add(listener, cores, |lane, shared, in_use| {
                for mailbox in self.mailboxes.iter() {
                    let shared = shared.clone();
                    let in_use = in_use.clone();
                    mailbox.send(Message::AddLane {
                        lane,
                        shared,
                        in_use,
                    });
                }
            })
    }
}

impl Adopter for Adoption {
    fn adopt(&self, moving: Moving) {
        let lane = self.lane(moving.listener());
        let turn = self.turn.fetch_add(1, Relaxed);
        let order = Order::Arrive(moving);
        let mut message = Message::Lane { lane, order };
        // One that has died is passed over.
        for place in turn..turn + self.mailboxes.len() {
            let mailbox = &self.mailboxes[place % self.mailboxes.len()];
            match mailbox.send_connection(message) {
                Ok(()) => return,
                Err(returned) => message = *returned,
            }
        }
    }
}
