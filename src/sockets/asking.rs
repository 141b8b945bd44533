//! Who is to listen where by a configuration, and which of the sockets there are they keep.

use std::collections::{BTreeMap, HashSet};

use proxy_config::{self as config, Config};
use proxy_core::ListenOptions;

use super::owner::{ADMIN, Sockets};
use crate::assemble;

/// A listener, or the admin server, and where it is to listen.
pub(super) struct Asking<'a> {
    pub(super) name: &'a str,
    pub(super) backlog: u16,
    pub(super) options: ListenOptions,
    pub(super) binds: Vec<config::BindAddress>,
    /// Sockets at each address, at least.
    pub(super) count: usize,
    /// The same at an address that has sockets: as many as a switch would join to those of whoever has it now.
    pub(super) kept: usize,
}

/// Whose sockets an address is to have, and which place these have there: by the place of who asks, and of the address.
pub(super) type Places = BTreeMap<(usize, usize), (String, usize)>;

impl Sockets {
    /// Listeners, and the admin server if there is one.
    pub(super) fn asking<'a>(&self, new: &'a Config, count: usize) -> Vec<Asking<'a>> {
        let listeners = new.listeners.iter().map(|listener| Asking {
            name: &listener.name,
            backlog: listener.backlog.get(),
            options: assemble::listen_options(listener),
            binds: listener.binds.clone(),
            count,
            kept: count,
        });
        let admin = self.lock().contains_key(ADMIN).then(|| Asking {
            name: ADMIN,
            backlog: proxy_admin::BACKLOG,
            options: ListenOptions::default(),
            binds: vec![new.admin.listen.into()],
            count: 1,
            kept: count,
        });
        listeners.chain(admin).collect()
    }

    /// For each asker and address whose sockets there are: whose they are, and in which place.
    pub(super) fn places(&self, asking: &[Asking<'_>]) -> Places {
        let all = self.lock();
        let mut places = BTreeMap::new();
        let mut taken = HashSet::new();
        // Those of the same interface first: another listener may have the address for another one. Then its own: ports that
        // the kernel chose have the same address.
        for (same_interface, own) in [(true, true), (true, false), (false, true), (false, false)] {
            for (asker, asking) in asking.iter().enumerate() {
                for (place, bind) in asking.binds.iter().enumerate() {
                    if places.contains_key(&(asker, place)) {
                        continue;
                    }
                    let found = all
                        .iter()
                        .filter(|(owner, _)| (**owner == asking.name) == own)
                        .flat_map(|(owner, owned)| {
                            let binds = owned.binds.iter().enumerate();
                            binds.map(move |(place, bind)| (owner, place, bind))
                        })
                        .find(|(owner, place, owned)| {
                            let is_same = owned.has_interface_of(&asking.options);
                            owned.is_at(bind)
                                && is_same == same_interface
                                && !taken.contains(&(*owner, *place))
                        });
                    if let Some((owner, owned_place, _)) = found {
                        taken.insert((owner, owned_place));
                        places.insert((asker, place), (owner.clone(), owned_place));
                    }
                }
            }
        }
        places
    }
}

/// The addresses that have no sockets, with their places and who asks for them.
///
/// Files of unix sockets come last: until they are listened on, they look like those of a process that is gone.
pub(super) fn missing<'a, 'b>(
    asking: &'b [Asking<'a>],
    places: &'b Places,
) -> impl Iterator<Item = ((usize, usize), &'b Asking<'a>, &'b config::BindAddress)> {
    [false, true].into_iter().flat_map(move |unix| {
        let askers = asking.iter().enumerate();
        askers.flat_map(move |(asker, asking)| {
            let binds = asking.binds.iter().enumerate();
            binds.filter_map(move |(place, bind)| {
                let is_unix = matches!(bind, config::BindAddress::Unix(_));
                let wanted = is_unix == unix && !places.contains_key(&(asker, place));
                wanted.then_some(((asker, place), asking, bind))
            })
        })
    })
}
