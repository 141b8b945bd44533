//! Connections on their way from one scheduler to another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::connection::detached::Detached;
use crate::listener::Listener;
use crate::transport::Descriptor;

/// Connections that may be on their way at a time, about: those that wait on one scheduler go on there, and those on their
/// way are held up.
pub const MOVING_MAX: usize = 128;

/// Takes connections of other schedulers, on any thread.
pub trait Adopter: fmt::Debug + Send + Sync {
    /// Has one of the workers go on with a connection. It returns at once.
    fn adopt(&self, moving: Moving);
}

/// Where the connections of a scheduler go that is being emptied.
#[derive(Debug)]
pub struct Evacuation {
    to: Arc<dyn Adopter>,
    moving: AtomicUsize,
    moved: AtomicU64,
}

/// A connection that left one scheduler and has not arrived at the other one. Dropping it resets both sides.
#[derive(Debug)]
pub struct Moving {
    /// None once it has arrived.
    detached: Option<Detached<Descriptor>>,
    evacuation: Arc<Evacuation>,
}

impl Evacuation {
    /// To the workers of another scheduler.
    pub fn new(to: Arc<dyn Adopter>) -> Arc<Self> {
        Arc::new(Self {
            to,
            moving: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
        })
    }

    /// Whether more may leave now: fewer than [`MOVING_MAX`] are on their way.
    pub fn has_room(&self) -> bool {
        self.moving.load(Relaxed) < MOVING_MAX
    }

    /// Sends a connection.
    pub fn send(self: &Arc<Self>, detached: Detached<Descriptor>) {
        self.moving.fetch_add(1, Relaxed);
        self.to.adopt(Moving {
            detached: Some(detached),
            evacuation: self.clone(),
        });
    }

    /// Connections that have arrived.
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// Whether none is on its way.
    pub fn is_still(&self) -> bool {
        self.moving.load(Relaxed) == 0
    }
}

impl Moving {
    /// The listener that it came to.
    pub fn listener(&self) -> &Arc<Listener> {
        let detached = self.detached.as_ref().expect("it has not arrived");
        detached.listener()
    }

    /// It is at the worker that goes on with it.
    ///
    /// # Panics
    /// Never: it arrives once.
    pub fn arrive(mut self) -> Detached<Descriptor> {
        self.evacuation.moved.fetch_add(1, Relaxed);
        self.detached.take().expect("it arrives once")
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.evacuation.moving.fetch_sub(1, Relaxed);
    }
}
