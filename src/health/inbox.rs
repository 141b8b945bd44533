//! Orders for the thread that checks.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::Server;
use rustix::event::EventfdFlags;

use super::asked::Asked;

/// What is to be done from now on.
pub(super) enum Order {
    /// Ask these, and no others; what agents said of those servers holds no longer.
    Check(Vec<Asked>, Vec<Arc<Server>>),
    /// Ask these, too.
    Add(Vec<Asked>),
    /// End.
    Stop,
}

/// The last order that was not followed yet, and the descriptor that wakes the thread for it.
pub(super) struct Inbox {
    order: Mutex<Option<Order>>,
    pub(super) wake: OwnedFd,
}

impl Inbox {
    /// Without an order.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(super) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self {
            order: Mutex::default(),
            wake: rustix::event::eventfd(0, flags)?,
        })
    }

    /// Leaves an order, which replaces the one before unless that was to stop.
    pub(super) fn put(&self, order: Order) {
        let mut last = self.lock();
        if !matches!(*last, Some(Order::Stop)) {
            *last = Some(order);
        }
        drop(last);
        // It can only fail by being full, and then the thread is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Takes the order.
    pub(super) fn take(&self) -> Option<Order> {
        // The wake first: one that comes in between is then seen again, with nothing behind it.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Order>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
