//! A server of an upstream: what survives every change of settings.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use crate::id::Id;
use crate::metrics::{CheckCells, PerWorker, ServerCells};
use crate::upstream::Upstream;
use crate::upstream::address::ServerAddress;
use crate::upstream::addresses::{Addresses, Walk};
use crate::upstream::ejection::EjectionCause;
use crate::upstream::ejection::conduct::Conduct;
use crate::upstream::outage::Outage;
use crate::upstream::rest::Rest;
use crate::upstream::state::{Hold, Holds, Standing};

/// A server, as long as it is known: its name, its counters, and what is known of its state.
#[derive(Debug)]
pub struct Server {
    /// Unlike that of all others.
    pub id: Id,
    /// The label `upstream`: the name of the upstream that it belongs to.
    pub upstream: String,
    /// The label `server`: the address as it was configured.
    pub label: String,
    /// What each worker counts of it.
    pub cells: PerWorker<ServerCells>,
    /// What is counted of its health checks.
    pub checks: CheckCells,
    /// Since when it fails, and why.
    pub outage: Outage,
    location: Location,
    /// What is held against it. [`Hold::Down`] is written by the thread that checks; without checks, by any worker at the end
    /// of a connect.
    standing: Standing,
    is_cut: AtomicBool,
    /// Without checks: until when it is passed over.
    pub(crate) rest: Rest,
    /// What it may be ejected for.
    pub(crate) conduct: Conduct,
}

#[derive(Debug)]
enum Location {
    Fixed(ServerAddress),
    Named(Addresses),
}

impl Server {
    /// A server at an address.
    pub fn fixed(upstream: &Upstream, label: String, address: ServerAddress) -> Self {
        Self::at(upstream, label, Location::Fixed(address))
    }

    /// A server with a name that [`Server::set_addresses`] gives addresses to.
    pub fn named(upstream: &Upstream, label: String) -> Self {
        Self::at(upstream, label, Location::Named(Addresses::default()))
    }

    fn at(upstream: &Upstream, label: String, location: Location) -> Self {
        Self {
            id: Id::next(),
            upstream: upstream.name.clone(),
            label,
            cells: PerWorker::default(),
            checks: CheckCells::default(),
            outage: Outage::default(),
            location,
            standing: Standing::default(),
            is_cut: AtomicBool::new(false),
            rest: Rest::default(),
            conduct: Conduct::default(),
        }
    }

    /// Connections to it, over all workers.
    pub fn connections(&self) -> u64 {
        // Opened on one worker and closed on another is possible, so only the sum means something. A close is
        // read before its open, so that a connection that ends meanwhile doesn't make the difference negative.
        let closed = self.cells.sum(|cells| cells.closed.get());
        let opened = self.cells.sum(|cells| cells.opened.get());
        opened.saturating_sub(closed)
    }

    /// What a name resolves to now; connections that exist are left alone. Nothing for a fixed server.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        if let Location::Named(named) = &self.location
            && named.set(addresses)
        {
            self.rest.end();
        }
    }

    /// All that is held against it now: one relaxed load.
    pub fn holds(&self) -> Holds {
        self.standing.holds()
    }

    /// Sets a hold, or lifts it. Returns whether that is a change. For [`Hold::Down`] it is [`Server::set_up`].
    pub fn set_hold(&self, hold: Hold, holds: bool, now: Instant) -> bool {
        self.standing.set(hold, holds, now)
    }

    /// Since when a hold holds; none: it doesn't.
    pub fn since(&self, hold: Hold) -> Option<Instant> {
        match hold {
            // That of the first failure, which is before the hold.
            Hold::Down => self.outage.since().filter(|_| !self.is_up()),
            _ => self.standing.since(hold),
        }
    }

    /// Whether its health checks say that it is up; without checks, whether the last connect to it worked. True before the
    /// first.
    pub fn is_up(&self) -> bool {
        !self.holds().has(Hold::Down)
    }

    /// Says whether it is up: for who checks it.
    pub fn set_up(&self, up: bool) {
        self.standing.change(Hold::Down, !up);
    }

    /// A check passed: an ejection ends.
    pub fn on_check_passed(&self, now: Instant) {
        if self.holds().has(Hold::Ejected) && self.end_ejection(now) {
            let (upstream, server) = (&self.upstream, &self.label);
            tracing::info!(
                upstream,
                server,
                "the server is no longer ejected: a check passed"
            );
        }
    }

    /// Ends an ejection. Returns whether there was one.
    pub(crate) fn end_ejection(&self, now: Instant) -> bool {
        let has_ended = self.standing.set(Hold::Ejected, false, now);
        if has_ended {
            self.conduct.on_ended(now);
        }
        has_ended
    }

    /// Why it was ejected the last time, and when that is over or was; none: it never was.
    pub fn ejection(&self) -> Option<(EjectionCause, Instant)> {
        Some((self.conduct.cause(), self.conduct.ends_at()?))
    }

    /// How often it was ejected for this cause.
    pub fn ejections(&self, cause: EjectionCause) -> u64 {
        self.conduct.ejections(cause)
    }

    /// How often it would have been, and as many were as the largest share allows.
    pub fn spared_ejections(&self, cause: EjectionCause) -> u64 {
        self.conduct.spared(cause)
    }

    /// Whether its connections are to be reset, each when it runs next.
    pub fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Relaxed);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed)
    }

    /// A connection's way over its addresses, which begins with another one than the last connection's.
    pub fn walk(&self) -> Walk {
        match &self.location {
            Location::Fixed(address) => Walk::fixed(address.clone()),
            Location::Named(named) => named.walk(),
        }
    }

    /// The same for a check, which takes no connection's turn.
    pub fn walk_aside(&self) -> Walk {
        match &self.location {
            Location::Fixed(address) => Walk::fixed(address.clone()),
            Location::Named(named) => named.walk_aside(),
        }
    }
}
