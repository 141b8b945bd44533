//! Sockets that go from one process to another: what is said of them, and their descriptors.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use proxy_config::{self as config, Config};
use proxy_core::listen::{BindAddress, Bound, SocketFile};
use proxy_core::{Descriptor, ListenOptions};
use serde::{Deserialize, Serialize};

use super::inherited::Origin;
use super::owned::{Bind, Owned, Socket};
use super::owner::{ADMIN, Sockets};
use super::rebind::{Rebinding, Rebound};
use crate::assemble;

/// Sockets in one record; a message has room for 253 descriptors.
const SOCKETS_MAX: usize = 200;

/// Who has the sockets of units among the owners, none of which can have such a name: they are what a reload may want.
const UNITS: &str = "[units]";

/// A record, and the descriptors that go with it.
pub(crate) type Offered = (SocketsRecord, Vec<OwnedFd>);

/// Sockets of one address. The descriptors come with it: the file of a unix socket first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SocketsRecord {
    /// The listener's name, or what the admin server is called.
    pub(crate) owner: String,
    /// Among the addresses of the owner. More sockets of the same address come in a record of their own.
    pub(crate) place: usize,
    pub(crate) configured: AddressRecord,
    pub(crate) address: AddressRecord,
    pub(crate) backlog: u16,
    /// Whether others can join them.
    #[serde(default)]
    pub(crate) can_join: bool,
    /// They are a socket unit's.
    #[serde(default)]
    pub(crate) is_lent: bool,
    /// Whether the first descriptor pins a file.
    #[serde(default)]
    pub(crate) has_file: bool,
    pub(crate) sockets: Vec<SocketRecord>,
}

/// One socket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct SocketRecord {
    /// The kernel's count of drops that was looked at last.
    pub(crate) drops: u32,
    pub(crate) steered_to: Option<usize>,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AddressRecord {
    Tcp(SocketAddr),
    Every(u16),
    Unix(PathBuf),
    /// A socket unit's, by its name.
    Named(String),
}

impl From<&BindAddress> for AddressRecord {
    fn from(address: &BindAddress) -> Self {
        match address {
            BindAddress::Tcp(address) => Self::Tcp(*address),
            BindAddress::Every(port) => Self::Every(*port),
            BindAddress::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl From<&config::BindAddress> for AddressRecord {
    fn from(address: &config::BindAddress) -> Self {
        match address {
            config::BindAddress::Tcp(address) => Self::Tcp(*address),
            config::BindAddress::Every(port) => Self::Every(*port),
            config::BindAddress::Unix(path) => Self::Unix(path.clone()),
            config::BindAddress::Named(name) => Self::Named(name.clone()),
        }
    }
}

impl AddressRecord {
    /// None: it is a name.
    fn bind(self) -> Option<BindAddress> {
        assemble::bind_address(&self.configured())
    }

    fn configured(self) -> config::BindAddress {
        match self {
            Self::Tcp(address) => config::BindAddress::Tcp(address),
            Self::Every(port) => config::BindAddress::Every(port),
            Self::Unix(path) => config::BindAddress::Unix(path),
            Self::Named(name) => config::BindAddress::Named(name),
        }
    }
}

impl Sockets {
    /// Descriptors of all sockets, for another process, which counts from here on what the kernel drops there.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn offer(&self) -> io::Result<Vec<Offered>> {
        let mut all = self.lock();
        for owned in all.values_mut() {
            owned.count_drops();
            owned.offered_drops = owned.drops;
        }
        let binds = all.iter().flat_map(|(owner, owned)| {
            let binds = owned.binds.iter().enumerate();
            binds.map(move |(place, bind)| (owner, place, bind))
        });
        let mut offered = Vec::new();
        for (owner, place, bind) in binds {
            for (part, sockets) in bind.sockets.chunks(SOCKETS_MAX).enumerate() {
                let record = SocketsRecord {
                    owner: owner.clone(),
                    place,
                    configured: (&bind.configured).into(),
                    address: (&bind.address).into(),
                    backlog: bind.backlog,
                    can_join: bind.can_join,
                    is_lent: bind.is_lent,
                    has_file: bind.file.is_some() && part == 0,
                    sockets: sockets.iter().map(SocketRecord::of).collect(),
                };
                // It comes with the first part; a unix socket has no other.
                let file = bind.file.as_ref().filter(|_| part == 0);
                let mut descriptors: Vec<_> =
                    file.map(SocketFile::pin).transpose()?.into_iter().collect();
                for socket in sockets {
                    descriptors.push(socket.descriptor.try_clone()?.into());
                }
                offered.push((record, descriptors));
            }
        }
        drop(all);
        for (place, (name, address, socket)) in self.inherited().units()?.into_iter().enumerate() {
            let record = SocketsRecord {
                owner: UNITS.to_owned(),
                place,
                configured: AddressRecord::Named(name.to_owned()),
                address: address.into(),
                backlog: 0,
                can_join: false,
                is_lent: true,
                has_file: false,
                sockets: vec![SocketRecord {
                    drops: 0,
                    steered_to: None,
                }],
            };
            offered.push((record, vec![socket]));
        }
        Ok(offered)
    }

    /// Has the sockets of another process, which has them as well until it is [said](Self::set_shared) otherwise. `before` is
    /// the configuration that they have their options from.
    ///
    /// # Errors
    /// When a record and its descriptors don't fit.
    pub(crate) fn inherit(&self, offered: Vec<Offered>, before: Option<&Config>) -> io::Result<()> {
        let mut all = self.lock();
        for (record, descriptors) in offered {
            if record.owner == UNITS {
                self.inherit_unit(record, descriptors)?;
                continue;
            }
            let options = before.and_then(|before| options_of(before, &record.owner));
            let owned = all.entry(record.owner.clone()).or_default();
            owned.take(record, descriptors, options.unwrap_or_default())?;
        }
        Ok(())
    }

    fn inherit_unit(&self, record: SocketsRecord, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let AddressRecord::Named(name) = record.configured else {
            return Err(unfit());
        };
        for socket in descriptors {
            let origin = Origin::Unit(name.clone());
            self.inherited().add(origin, socket);
        }
        Ok(())
    }

    /// Goes over to what was prepared in a process that takes over. Sockets that it doesn't keep are the other one's alone.
    pub(crate) fn begin(&self, rebinding: Rebinding) {
        let Rebound {
            listening: _,
            removed,
        } = self.rebind(rebinding);
        drop(removed);
    }

    /// Whether another process has these sockets as well, by owner and place: they go on taking clients when this one ends or
    /// drains. The others are this one's.
    pub(crate) fn set_shared(&self, is_shared: impl Fn(&str, usize) -> bool) {
        for (owner, owned) in &mut *self.lock() {
            for (place, bind) in owned.binds.iter_mut().enumerate() {
                bind.set_shared(is_shared(owner, place));
            }
        }
    }

    /// Where listeners listen: their names, and the addresses with the ports that the kernel chose, in the configuration's order.
    pub(crate) fn addresses(&self, config: &Config) -> Vec<(String, BindAddress)> {
        let all = self.lock();
        let listeners = config.listeners.iter();
        let owned =
            listeners.filter_map(|listener| Some((&listener.name, all.get(&listener.name)?)));
        let addresses = owned.flat_map(|(name, owned)| {
            let binds = owned.binds.iter();
            binds.map(|bind| (name.clone(), bind.address.clone()))
        });
        addresses.collect()
    }

    /// Where the admin server is.
    pub(crate) fn admin_address(&self) -> Option<BindAddress> {
        let all = self.lock();
        Some(all.get(ADMIN)?.binds.first()?.address.clone())
    }
}

impl Owned {
    fn take(
        &mut self,
        record: SocketsRecord,
        descriptors: Vec<OwnedFd>,
        options: ListenOptions,
    ) -> io::Result<()> {
        let SocketsRecord {
            owner: _,
            place,
            configured,
            address,
            backlog,
            can_join,
            is_lent,
            has_file,
            sockets,
        } = record;
        let is_more = place + 1 == self.binds.len();
        let address = address.bind().ok_or_else(unfit)?;
        let mut descriptors = descriptors.into_iter();
        let file = match &address {
            BindAddress::Unix(path) if has_file => {
                let pin = descriptors.next().ok_or_else(unfit)?;
                Some(SocketFile::inherited(path, pin))
            }
            _ => None,
        };
        let make = match &address {
            BindAddress::Unix(_) => Descriptor::unix,
            _ => Descriptor::tcp,
        };
        let descriptors: Vec<_> = descriptors.map(make).collect();
        if descriptors.len() != sockets.len() || !is_more && place != self.binds.len() {
            return Err(unfit());
        }
        if !is_more {
            let bound = Bound {
                address,
                sockets: Vec::new(),
                distinct: 0,
                is_lent,
                file,
            };
            let mut bind = Bind::new(configured.configured(), bound, options, backlog);
            bind.can_join = can_join;
            bind.set_shared(true);
            self.binds.push(bind);
        }
        let made = descriptors.into_iter().zip(sockets);
        let made = made.map(|(descriptor, record)| Socket {
            drops: record.drops,
            steered_to: record.steered_to,
            ..Socket::new(descriptor)
        });
        self.binds[place].sockets.extend(made);
        Ok(())
    }
}

impl SocketRecord {
    fn of(socket: &Socket) -> Self {
        Self {
            drops: socket.drops,
            steered_to: socket.steered_to,
        }
    }
}

/// What is set on the sockets of a listener of this name.
fn options_of(config: &Config, name: &str) -> Option<ListenOptions> {
    let mut listeners = config.listeners.iter();
    let listener = listeners.find(|listener| listener.name == name)?;
    Some(assemble::listen_options(listener))
}

fn unfit() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "the sockets are not those that the other process tells of",
    )
}
