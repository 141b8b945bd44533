//! Listening sockets that this process was started with: from systemd, or from a process of before.

use std::io;
use std::os::fd::OwnedFd;

use proxy_config as config;
use proxy_core::ListenOptions;
use proxy_core::listen::{self, BindAddress, Reserved};

use crate::notify::KEPT_NAME;

/// Sockets that listen, until a listener takes them.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    origin: Origin,
    address: BindAddress,
    interface: Option<String>,
    socket: OwnedFd,
    is_taken: bool,
}

/// Who had a socket before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A socket unit of systemd's, by the name that it gives: who writes `bind = "fd:NAME"` has it for as long as that is
    /// configured. It goes on listening, and the file of a unix socket stays the unit's.
    Unit(String),
    /// A process of this proxy's that crashed, for which the service manager has kept it. Who listens at the address has it.
    Proxy,
}

/// Who wants sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The name of the listener.
    pub(crate) listener: &'a str,
    pub(crate) bind: &'a config::BindAddress,
    /// Where that is; none for one that has a name only.
    pub(crate) address: Option<&'a BindAddress>,
    pub(crate) options: &'a ListenOptions,
    /// How many, at least.
    pub(crate) count: usize,
}

impl Inherited {
    /// Those that a service manager has passed on.
    pub(crate) fn of_environment() -> Self {
        let mut inherited = Self::default();
        for (name, socket) in proxy_sys::inherited_descriptors() {
            let origin = match name == KEPT_NAME {
                true => Origin::Proxy,
                false => Origin::Unit(name),
            };
            inherited.add(origin, socket);
        }
        inherited
    }

    /// Adds one, if it listens.
    pub(crate) fn add(&mut self, origin: Origin, socket: OwnedFd) {
        match listen::address_of(&socket) {
            Ok(address) => {
                let interface = listen::interface_of(&socket);
                tracing::debug!(?origin, %address, "inherited a socket");
                self.0.push(Kept {
                    origin,
                    address,
                    interface,
                    socket,
                    is_taken: false,
                });
            }
            Err(error) => {
                tracing::warn!(?origin, %error, "an inherited descriptor is left alone");
            }
        }
    }

    /// Whether a socket unit has passed one of this name.
    pub(crate) fn has_named(&self, name: &str) -> bool {
        let is_it = |kept: &Kept| matches!(&kept.origin, Origin::Unit(unit) if unit == name);
        self.0.iter().any(is_it)
    }

    /// Descriptors of those of socket units, each with its unit's name: also of those that a listener has, which a reload may give
    /// another one.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn units(&self) -> io::Result<Vec<(&str, &BindAddress, OwnedFd)>> {
        let units = self.0.iter().filter_map(|kept| match &kept.origin {
            Origin::Unit(name) => Some((name, kept)),
            Origin::Proxy => None,
        });
        units
            .map(|(name, kept)| Ok((name.as_str(), &kept.address, kept.socket.try_clone()?)))
            .collect()
    }

    /// Takes the sockets that somebody wants; none where there are none.
    pub(crate) fn take(&mut self, wanted: Request<'_>) -> Option<io::Result<Reserved>> {
        let address = self.find(wanted)?;
        let is_wanted = |kept: &Kept| kept.address == address && kept.is_for(wanted);
        let is_lent = matches!(wanted.bind, config::BindAddress::Named(_));
        let sockets = if is_lent {
            let lent = self.0.iter_mut().filter(|kept| is_wanted(kept));
            let lend = |kept: &mut Kept| {
                kept.is_taken = true;
                kept.socket.try_clone()
            };
            lent.map(lend).collect()
        } else {
            let taken = self.0.extract_if(.., |kept| is_wanted(kept));
            Ok(taken.map(|kept| kept.socket).collect())
        };
        tracing::info!(listener = wanted.listener, %address, "took over sockets that listen already");
        let Request { count, options, .. } = wanted;
        Some(sockets.and_then(|sockets| listen::inherit(address, sockets, count, options, is_lent)))
    }

    /// The address of those that somebody wants.
    fn find(&self, wanted: Request<'_>) -> Option<BindAddress> {
        let found = self.0.iter().find(|kept| kept.is_for(wanted));
        found.map(|kept| kept.address.clone())
    }

    /// Closes those of processes of before that nobody has taken: nobody listens there any more. Those of socket units stay for
    /// a reload that names them.
    pub(crate) fn close_unclaimed(&mut self) {
        self.0.retain(|kept| {
            let stays = matches!(kept.origin, Origin::Unit(_));
            let (address, origin) = (&kept.address, &kept.origin);
            if kept.is_taken {
                return true;
            }
            if stays {
                tracing::warn!(%address, ?origin, "no listener has this socket of systemd's: write bind = \"fd:NAME\", or remove its unit");
            } else {
                tracing::info!(%address, "nobody listens here any more");
            }
            stays
        });
    }
}

impl Kept {
    fn is_for(&self, wanted: Request<'_>) -> bool {
        match (&self.origin, wanted.bind) {
            (Origin::Unit(unit), config::BindAddress::Named(name)) => unit == name,
            (Origin::Unit(_), _) => false,
            (Origin::Proxy, _) => {
                wanted.address == Some(&self.address) && self.has_interface_of(wanted)
            }
        }
    }

    fn has_interface_of(&self, wanted: Request<'_>) -> bool {
        let is_unix = matches!(self.address, BindAddress::Unix(_));
        is_unix || self.interface == wanted.options.tcp.interface
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proxy_config::BindAddress as Bind;

    use super::*;

    fn listening() -> (OwnedFd, BindAddress) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = BindAddress::Tcp(listener.local_addr().unwrap());
        (listener.into(), address)
    }

    fn take(inherited: &mut Inherited, listener: &str, bind: &Bind) -> Option<BindAddress> {
        let options = ListenOptions::default();
        let address = crate::assemble::bind_address(bind);
        let reserved = inherited.take(Request {
            listener,
            bind,
            address: address.as_ref(),
            options: &options,
            count: 1,
        })?;
        Some(reserved.unwrap().address().clone())
    }

    #[test]
    fn a_socket_of_a_unit_is_had_by_its_name_alone() {
        let mut inherited = Inherited::default();
        let (socket, address) = listening();
        inherited.add(Origin::Unit("web".to_owned()), socket);
        let BindAddress::Tcp(at) = address else {
            unreachable!("it is TCP");
        };
        assert_eq!(take(&mut inherited, "web", &Bind::Tcp(at)), None);
        assert_eq!(
            take(&mut inherited, "a", &Bind::Named("b".to_owned())),
            None
        );
        inherited.close_unclaimed();
        assert!(inherited.has_named("web"));
        let named = Bind::Named("web".to_owned());
        assert_eq!(take(&mut inherited, "a", &named).as_ref(), Some(&address));
        // A reload may have removed it meanwhile.
        assert_eq!(take(&mut inherited, "a", &named), Some(address));
    }

    #[test]
    fn a_socket_of_a_process_before_is_had_by_its_address() {
        let mut inherited = Inherited::default();
        let any: Bind = Bind::Tcp(([127, 0, 0, 1], 0).into());
        let (first, first_at) = listening();
        inherited.add(Origin::Proxy, first);
        assert_eq!(take(&mut inherited, "other", &any), None);
        let BindAddress::Tcp(at) = first_at else {
            unreachable!("it is TCP");
        };
        assert_eq!(take(&mut inherited, "x", &Bind::Tcp(at)), Some(first_at));
    }

    #[test]
    fn what_nobody_takes_is_closed() {
        let mut inherited = Inherited::default();
        let (socket, address) = listening();
        inherited.add(Origin::Proxy, socket);
        inherited.close_unclaimed();
        let BindAddress::Tcp(at) = address else {
            unreachable!("it is TCP");
        };
        std::net::TcpStream::connect(at).expect_err("nobody listens");
    }
}
