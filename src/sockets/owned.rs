//! What is owned at an address: its sockets, what is set on them, and the file of a unix socket.

use std::io;
use std::os::fd::AsFd;

use proxy_config as config;
use proxy_core::listen::{self, BindAddress, Bound, SocketFile};
use proxy_core::{Descriptor, ListenOptions};
use proxy_sys::listen_drops;

use crate::assemble;

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

impl Owned {
    pub(super) fn tcp(&mut self) -> impl Iterator<Item = &mut Socket> {
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

    pub(super) fn tcp_binds(&mut self) -> impl Iterator<Item = &mut Bind> {
        let binds = self.binds.iter_mut();
        binds.filter(|bind| !matches!(bind.address, BindAddress::Unix(_)))
    }

    pub(super) fn stop_taking(&self) {
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

    pub(super) fn pause_taking(&mut self) {
        if !self.is_lent && !self.is_shared {
            self.is_paused = true;
            self.stop_taking();
        }
    }

    pub(super) fn take_again(&mut self) {
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
