//! The owner of the listening sockets: it lends them to the scheduler that runs, and closes them last.
//!
//! Closing one socket of several that share a port resets the connections in its queue, and those whose handshake has begun.
//! So a socket stays until its listener goes: where a scheduler has fewer workers than there are sockets, the workers serve
//! what is left between them, and where it has more, sockets join.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proxy_config as config;
use proxy_core::backend::Backend;
use proxy_core::listen::{self, BindAddress, Bound, Reserved};
use proxy_core::{Descriptor, ListenOptions};
use proxy_sys::accept_queue;

use super::inherited::Inherited;
use super::owned::{Bind, Owned};
use crate::assemble;

/// The listening sockets, by the listener's name. The workers have descriptors of their own of the same sockets.
///
/// A listener's sockets must be closed here soon after the workers have closed theirs: until then new clients wait instead of
/// being refused.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    owned: Mutex<BTreeMap<String, Owned>>,
    /// Those that this process was started with and that no listener has taken.
    inherited: Mutex<Inherited>,
    is_counted_elsewhere: AtomicBool,
}

/// What the admin server is called among the listeners, none of which can have such a name.
pub(crate) const ADMIN: &str = "[admin]";

/// Descriptors of a listener's sockets for workers, by bind address.
pub(crate) type Lent = Vec<Vec<Descriptor>>;

impl Sockets {
    /// Keeps those that the process was started with and that no listener has taken.
    pub(crate) fn set_inherited(&self, inherited: Inherited) {
        *self.inherited() = inherited;
    }

    /// Descriptors for workers of sockets that don't listen yet: what can fail comes before that.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn lend_reserved(reserved: &[Reserved]) -> io::Result<Lent> {
        let lend = |reserved: &Reserved| {
            let is_unix = matches!(reserved.address(), BindAddress::Unix(_));
            let lend = |socket: std::os::fd::BorrowedFd<'_>| {
                let socket = socket.try_clone_to_owned()?;
                Ok(match is_unix {
                    true => Descriptor::unix(socket),
                    false => Descriptor::tcp(socket),
                })
            };
            reserved.sockets().map(lend).collect()
        };
        reserved.iter().map(lend).collect()
    }

    /// Takes over what a listener listens on, at the addresses of its configuration in their order.
    pub(crate) fn own(&self, listener: &config::Listener, bound: Vec<Bound>) {
        let binds = listener.binds.iter().cloned().zip(bound);
        let options = assemble::listen_options(listener);
        self.take_over(&listener.name, listener.backlog.get(), options, binds);
    }

    /// Takes over what the admin server listens on.
    pub(crate) fn own_admin(&self, configured: config::BindAddress, bound: Bound) {
        let options = ListenOptions::default();
        self.take_over(ADMIN, proxy_admin::BACKLOG, options, [(configured, bound)]);
    }

    fn take_over(
        &self,
        name: &str,
        backlog: u16,
        options: ListenOptions,
        binds: impl IntoIterator<Item = (config::BindAddress, Bound)>,
    ) {
        let mut all = self.lock();
        let owned = all.entry(name.to_owned()).or_default();
        let binds = binds.into_iter();
        let binds =
            binds.map(|(configured, bound)| Bind::new(configured, bound, options.clone(), backlog));
        owned.binds.extend(binds);
    }

    /// Descriptors of all sockets of a listener, of which there are at least `count` at each address then, so that each
    /// worker that accepts by itself has one.
    ///
    /// # Errors
    /// When a socket can't join the others, or there is no descriptor left.
    pub(crate) fn lend(&self, listener: &str, count: usize) -> io::Result<Lent> {
        let mut all = self.lock();
        let Some(owned) = all.get_mut(listener) else {
            return Ok(Lent::new());
        };
        let binds = owned.binds.iter_mut();
        binds.map(|bind| bind.lend(count)).collect()
    }

    /// Every socket is accepted from now.
    pub(crate) fn set_served(&self) {
        let mut all = self.lock();
        let binds = all.values_mut().flat_map(|owned| &mut owned.binds);
        let sockets = binds.flat_map(|bind| &mut bind.sockets);
        sockets.for_each(|socket| socket.is_served = true);
    }

    /// Descriptors of the sockets that nobody accepts from, by listener: those that joined for a scheduler that then couldn't
    /// take over. The kernel gives them clients as it does the others, so they stay, and are for the scheduler that goes on.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn lend_unserved(&self) -> io::Result<BTreeMap<String, Lent>> {
        let mut unserved = BTreeMap::new();
        for (name, owned) in &*self.lock() {
            let lent: Lent = owned
                .binds
                .iter()
                .map(|bind| {
                    let sockets = bind.sockets.iter().filter(|socket| !socket.is_served);
                    sockets
                        .map(|socket| socket.descriptor.try_clone())
                        .collect()
                })
                .collect::<io::Result<_>>()?;
            if lent.iter().any(|sockets: &Vec<_>| !sockets.is_empty()) {
                unserved.insert(name.clone(), lent);
            }
        }
        Ok(unserved)
    }

    /// Has the kernel spread clients over the sockets as a scheduler wants it. What another one wanted before is over.
    pub(crate) fn steer(&self, backend: &dyn Backend) {
        for (listener, owned) in &mut *self.lock() {
            let is_admin = listener == ADMIN;
            for bind in owned.tcp_binds() {
                for (place, socket) in bind.sockets.iter_mut().enumerate() {
                    let cpu = backend.steered_to(place).filter(|_| !is_admin);
                    if socket.steered_to == cpu {
                        continue;
                    }
                    match listen::steer(&socket.descriptor, cpu) {
                        Ok(()) => socket.steered_to = cpu,
                        Err(error) => {
                            tracing::warn!(listener, %error, "SO_INCOMING_CPU is refused; the kernel spreads as before");
                        }
                    }
                }
            }
        }
    }

    /// How many sockets a listener has, by its name; one at each unix socket's path.
    pub(crate) fn count(&self, listener: &str) -> u64 {
        let all = self.lock();
        let owned = all.get(listener).into_iter();
        owned
            .flat_map(|owned| &owned.binds)
            .map(|bind| bind.sockets.len() as u64)
            .sum()
    }

    /// How many sockets there are beyond the `count` at each address that the scheduler would open.
    pub(crate) fn surplus(&self, count: usize) -> usize {
        let all = self.lock();
        let listeners = all.iter().filter(|(name, _)| *name != ADMIN);
        listeners
            .flat_map(|(_, owned)| &owned.binds)
            .map(|bind| bind.sockets.len().saturating_sub(count))
            .sum()
    }

    /// Descriptors of the sockets of TCP that are this proxy's alone.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn own_tcp(&self) -> io::Result<Vec<OwnedFd>> {
        let mut all = self.lock();
        let binds = all.values_mut().flat_map(Owned::tcp_binds);
        let own = binds.filter(|bind| !bind.is_lent);
        let copies = own.flat_map(|bind| &bind.sockets);
        copies
            .map(|one| one.descriptor.try_clone().map(OwnedFd::from))
            .collect()
    }

    /// Removes the files of the unix sockets that are still this process's. Who is connected, or waits, notices nothing.
    pub(crate) fn remove_files(&self) {
        for owned in self.lock().values_mut() {
            for bind in &mut owned.binds {
                bind.file = None;
            }
        }
    }

    /// Has every socket of a listener take nobody any more, whether or not its worker has time now. Who waits is kept.
    pub(crate) fn stop_taking(&self) {
        for (name, owned) in &*self.lock() {
            if name != ADMIN {
                owned.stop_taking();
            }
        }
    }

    /// The same of TCP's that no other process has, until they [take](Self::take_again) clients again. Those of unix sockets, which
    /// can't, keep clients waiting.
    pub(crate) fn pause_taking(&self) {
        let mut all = self.lock();
        let owned = all.iter_mut().filter(|(name, _)| *name != ADMIN);
        owned
            .flat_map(|(_, owned)| owned.tcp_binds())
            .for_each(Bind::pause_taking);
    }

    /// Those that were paused take clients again.
    pub(crate) fn take_again(&self) {
        let mut all = self.lock();
        let binds = all.values_mut().flat_map(Owned::tcp_binds);
        binds.for_each(Bind::take_again);
    }

    /// The same for those of the admin server, which are closed when that has let go of them.
    pub(crate) fn release_admin(&self) {
        if let Some(owned) = self.lock().get_mut(ADMIN) {
            owned.stop_taking();
            owned.binds.clear();
        }
    }

    /// Connections that wait at a listener, by its name; TCP only.
    pub(crate) fn waiting(&self, listener: &str) -> u64 {
        let mut all = self.lock();
        let owned = all.get_mut(listener);
        let sockets = owned.into_iter().flat_map(Owned::tcp);
        let queues = sockets.filter_map(|socket| accept_queue(socket.descriptor.as_fd()));
        queues.map(u64::from).sum()
    }

    /// Connection attempts that the kernel dropped at a listener, by its name. It never shrinks; those between the last
    /// look and [`Sockets::close`] are not known.
    pub(crate) fn drops(&self, listener: &str) -> u64 {
        let is_counted_elsewhere = self.is_counted_elsewhere.load(Relaxed);
        let mut all = self.lock();
        let Some(owned) = all.get_mut(listener) else {
            return 0;
        };
        if is_counted_elsewhere {
            return owned.offered_drops;
        }
        owned.count_drops();
        owned.drops
    }

    /// Whether another process counts what is dropped from when the sockets were offered to it.
    pub(crate) fn set_counted_elsewhere(&self, is: bool) {
        self.is_counted_elsewhere.store(is, Relaxed);
    }

    /// The workers have closed the sockets of a listener, by its name.
    pub(crate) fn close(&self, listener: &str) {
        if let Some(owned) = self.lock().get_mut(listener) {
            owned.binds.clear();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Owned>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sockets that this process was started with and that no listener has taken.
    pub(super) fn inherited(&self) -> MutexGuard<'_, Inherited> {
        self.inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
