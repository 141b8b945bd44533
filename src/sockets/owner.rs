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
use proxy_core::listen::{self, BindAddress, Bound, Reserved, SocketFile};
use proxy_core::{Descriptor, ListenOptions};
use proxy_sys::{accept_queue, listen_drops};

use super::inherited::Inherited;
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

/// Those of one listener, or of the admin server.
#[derive(Debug, Default)]
pub(super) struct Owned {
    pub(super) binds: Vec<Bind>,
    /// What the kernel dropped, as of the last look.
    pub(super) drops: u64,
    /// The same when the sockets were offered to another process.
    pub(super) offered_drops: u64,
}

/// Those of one address.
#[derive(Debug)]
pub(super) struct Bind {
    /// The address as it is configured.
    pub(super) configured: config::BindAddress,
    /// The address, with the port that the kernel chose.
    pub(super) address: BindAddress,
    /// What is set on its sockets.
    pub(super) options: ListenOptions,
    pub(super) sockets: Vec<Socket>,
    /// Whether others can join them; else workers share what there is.
    pub(super) can_join: bool,
    /// They are a socket unit's of systemd's: clients that come when this process has let go of them wait for the next one.
    pub(super) is_lent: bool,
    pub(super) backlog: u16,
    /// That of a unix socket; it is removed when this is dropped, if the path still leads to it.
    pub(super) file: Option<SocketFile>,
    /// Another process has its sockets as well, or may: they go on taking clients, and the file stays.
    pub(super) is_shared: bool,
    /// Its sockets take nobody as long as another process takes over.
    is_paused: bool,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) descriptor: Descriptor,
    /// The kernel's own count, which wraps, as of the last look.
    pub(super) drops: u32,
    /// A scheduler accepts from it that runs. One that joined for a scheduler that then couldn't start has nobody yet.
    pub(super) is_served: bool,
    /// The CPU whose clients the kernel prefers it for.
    pub(super) steered_to: Option<usize>,
}

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

impl Owned {
    fn tcp(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.tcp_binds().flat_map(|bind| &mut bind.sockets)
    }

    pub(super) fn count_drops(&mut self) {
        let mut more = 0;
        for socket in self.tcp() {
            if let Some(now) = listen_drops(socket.descriptor.as_fd()) {
                more += u64::from(now.wrapping_sub(socket.drops));
                socket.drops = now;
            }
        }
        self.drops += more;
    }

    fn tcp_binds(&mut self) -> impl Iterator<Item = &mut Bind> {
        let binds = self.binds.iter_mut();
        binds.filter(|bind| !matches!(bind.address, BindAddress::Unix(_)))
    }

    fn stop_taking(&self) {
        self.binds.iter().for_each(Bind::stop_taking);
    }
}

impl Bind {
    pub(super) fn new(
        configured: config::BindAddress,
        bound: Bound,
        options: ListenOptions,
        backlog: u16,
    ) -> Self {
        let can_join = bound.distinct == bound.sockets.len();
        let sockets = bound.sockets.into_iter().take(bound.distinct);
        Self {
            configured,
            address: bound.address,
            options,
            sockets: sockets.map(Socket::new).collect(),
            can_join,
            is_lent: bound.is_lent,
            backlog,
            file: bound.file,
            is_shared: false,
            is_paused: false,
        }
    }

    /// Whether another process has its sockets as well.
    pub(super) fn set_shared(&mut self, is_shared: bool) {
        self.is_shared = is_shared;
        if let Some(file) = &mut self.file {
            file.set_stays(is_shared);
        }
    }

    /// Keeps as many clients in each queue from now on.
    pub(super) fn set_backlog(&mut self, backlog: u16) {
        if self.backlog == backlog {
            return;
        }
        self.backlog = backlog;
        for socket in &self.sockets {
            if let Err(error) = rustix::net::listen(&socket.descriptor, backlog.into()) {
                tracing::warn!(%error, "the backlog of a socket stays as it is");
            }
        }
    }

    /// Whether clients find it at an address of a configuration: nobody has removed its file.
    pub(super) fn is_at(&self, wanted: &config::BindAddress) -> bool {
        let is_found = self.file.as_ref().is_none_or(SocketFile::is_found);
        let is_same = self.configured == *wanted
            || assemble::bind_address(wanted).is_some_and(|wanted| self.address == wanted);
        is_same && is_found
    }

    /// Whether its clients come by the interface that these options say, or by any as these do.
    pub(super) fn has_interface_of(&self, options: &ListenOptions) -> bool {
        self.file.is_some() || self.options.tcp.interface == options.tcp.interface
    }

    /// Has clients find its file, in place of one of this process's.
    pub(super) fn settle(&mut self) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.settle()
        {
            let path = file.path().display();
            tracing::error!(%error, %path, "a listener's socket can't be found; reload again");
        }
    }

    /// Sets other options on its sockets, which listen. Clients that are accepted from now on have them.
    pub(super) fn set_options(&mut self, options: &ListenOptions) {
        if self.options == *options {
            return;
        }
        for socket in &self.sockets {
            let changed = options.change(&self.options, &socket.descriptor, &self.address);
            if let Err(error) = changed {
                tracing::warn!(address = %self.address, %error, "a socket's options stay as they are");
            }
        }
        self.options = options.clone();
    }

    /// Has its sockets take nobody any more. Who waits is kept.
    pub(super) fn stop_taking(&self) {
        if self.is_lent || self.is_shared {
            return;
        }
        for socket in &self.sockets {
            if let Err(error) = listen::stop_taking(&socket.descriptor) {
                tracing::warn!(%error, "a socket takes new connections until its worker closes it");
            }
        }
    }

    fn pause_taking(&mut self) {
        if !self.is_lent && !self.is_shared {
            self.is_paused = true;
            self.stop_taking();
        }
    }

    fn take_again(&mut self) {
        if !std::mem::take(&mut self.is_paused) {
            return;
        }
        for socket in &self.sockets {
            if let Err(error) = listen::take_again(&socket.descriptor) {
                tracing::error!(address = %self.address, %error, "a socket takes no new connections; restart");
            }
        }
    }

    pub(super) fn lend(&mut self, count: usize) -> io::Result<Vec<Descriptor>> {
        if !self.can_join || matches!(self.address, BindAddress::Unix(_)) {
            let sockets = self.sockets.iter().cycle();
            let copies = sockets.take(count.max(self.sockets.len()));
            return copies.map(|socket| socket.descriptor.try_clone()).collect();
        }
        // What can fail comes first: once a socket listens there may be clients in its queue, and it has to stay.
        let missing = count.saturating_sub(self.sockets.len());
        let joining = (0..missing).map(|_| listen::join(&self.address, &self.options));
        let joining = joining.collect::<io::Result<Vec<_>>>()?;
        let descriptors = self.sockets.iter().map(|socket| &socket.descriptor);
        let lent = descriptors.chain(&joining).map(Descriptor::try_clone);
        let lent = lent.collect::<io::Result<_>>()?;
        for descriptor in joining {
            rustix::net::listen(&descriptor, self.backlog.into())?;
            self.sockets.push(Socket {
                is_served: false,
                ..Socket::new(descriptor)
            });
        }
        Ok(lent)
    }
}

impl Socket {
    pub(super) fn new(descriptor: Descriptor) -> Self {
        Self {
            descriptor,
            drops: 0,
            is_served: true,
            steered_to: None,
        }
    }
}

#[cfg(test)]
mod tests;
