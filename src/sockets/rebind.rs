//! Moves listeners from the addresses that they have to those that a reload gives them.
//!
//! An address that stays keeps its sockets, even where another listener has it from now on: clients that wait there are
//! accepted.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::Context;
use proxy_config::{self as config, Config};
use proxy_core::listen::{self, BindAddress, Bound, Reserved};
use proxy_core::{ListenOptions, RETIRED_MAX};

use super::asking::{Asking, Places, missing};
use super::inherited::Request;
use super::owned::{Bind, Owned};
use super::owner::{Lent, Sockets};
use super::start::{cannot_inherit, listener_cannot_listen, not_inherited, shown};
use crate::assemble;
use crate::start_error::{Explain, cannot_start};

/// What listeners are to listen on: everything that can fail was done.
pub(crate) struct Rebinding(Vec<Wanted>);

/// One listener, or the admin server.
struct Wanted {
    name: String,
    backlog: u16,
    options: ListenOptions,
    binds: Vec<(config::BindAddress, Source)>,
    /// For the workers; none where nothing changes for them.
    lent: Option<Lent>,
}

/// Where the sockets of one address come from.
enum Source {
    /// From a listener, by its name and the place of the address.
    Kept(String, usize),
    New(Box<Bound>),
    /// It listens only when the change is certain: beside others, whose clients come there then, or in a process that may still
    /// not take over.
    Later(Box<Reserved>),
}

/// What [`Sockets::prepare`] does that clients can notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preparing {
    /// New addresses are listened on, and descriptors are lent.
    All,
    /// Nothing: the process may still not take over.
    Silently,
}

/// What a reload has changed of the sockets.
pub(crate) struct Rebound {
    /// Listeners that have other sockets now, by name, with descriptors of all of them; [`ADMIN`](super::ADMIN) is the admin server.
    pub(crate) listening: BTreeMap<String, Lent>,
    /// Sockets that are no longer listened on. They take nobody any more, and are to be dropped when the workers know.
    pub(crate) removed: Removed,
}

/// Sockets that nobody is to accept from any more.
#[must_use]
pub(crate) struct Removed(#[expect(dead_code, reason = "it is kept, and dropped")] Vec<Bind>);

impl Rebinding {
    /// Sockets that there are and that stay, by who has them now and the place of the address there.
    pub(crate) fn kept(&self) -> Vec<(String, usize)> {
        let sources = self.0.iter().flat_map(|wanted| &wanted.binds);
        let kept = sources.filter_map(|(_, source)| match source {
            Source::Kept(owner, place) => Some((owner.clone(), *place)),
            Source::New(_) | Source::Later(_) => None,
        });
        kept.collect()
    }
}

/// Whether a file of this process's is at a path, whose place another one may take.
pub(crate) type IsOwn<'a> = &'a dyn Fn(&Path) -> bool;

impl Sockets {
    /// Listens on the addresses of a configuration that nobody here listens on yet, with `count` sockets each, and lends
    /// descriptors of all sockets of the listeners that have others than before. `is_own` knows of other files than those of
    /// listeners.
    ///
    /// # Errors
    /// When an address can't be listened on, or there is no descriptor left. Nothing has changed then.
    pub(crate) fn prepare(
        &self,
        new: &Config,
        count: usize,
        is_own: IsOwn<'_>,
        preparing: Preparing,
    ) -> anyhow::Result<Rebinding> {
        let asking = self.asking(new, count);
        let silently = preparing == Preparing::Silently;
        let places = self.places(&asking);
        let mut reserved: BTreeMap<(usize, usize), Reserved> = BTreeMap::new();
        for (at, asking, bind) in missing(&asking, &places) {
            let address = assemble::bind_address(bind);
            let request = Request {
                listener: asking.name,
                bind,
                address: address.as_ref(),
                options: &asking.options,
                count: asking.count,
            };
            if let Some(taken) = self.inherited().take(request) {
                let taken = taken.with_context(|| cannot_inherit(asking.name, bind))?;
                reserved.insert(at, taken);
                continue;
            }
            let address = address.with_context(|| not_inherited(asking.name, bind))?;
            let taken = match listen::reserve_with(&address, asking.count, &asking.options) {
                Err(error) if self.may_be_beside(&address, &error, is_own) => {
                    listen::reserve_beside(&address, asking.count, &asking.options)
                }
                taken => taken,
            };
            let taken =
                taken.explain(|error| listener_cannot_listen(asking.name, &address, error))?;
            reserved.insert(at, taken);
        }
        let mut lent = Vec::with_capacity(asking.len());
        for (asker, asking) in asking.iter().enumerate() {
            let sockets = match silently {
                true => Ok(None),
                false => self.lend_changed((asker, asking), &places, &reserved),
            };
            lent.push(sockets.explain(|error| {
                cannot_start(&format!("the sockets of {}", shown(asking.name)), error)
            })?);
        }
        // The last that can fail: from here on clients may come.
        let mut rebinding = Vec::with_capacity(asking.len());
        for ((asker, asking), lent) in asking.into_iter().enumerate().zip(lent) {
            let mut binds = Vec::with_capacity(asking.binds.len());
            for (place, bind) in asking.binds.into_iter().enumerate() {
                let at = (asker, place);
                let source = match (places.get(&at), reserved.remove(&at)) {
                    (Some((owner, place)), _) => Source::Kept(owner.clone(), *place),
                    (None, Some(reserved)) if silently || reserved.is_beside() => {
                        Source::Later(Box::new(reserved))
                    }
                    (None, Some(reserved)) => {
                        let address = reserved.address().clone();
                        let bound = reserved.listen(asking.backlog);
                        Source::New(Box::new(bound.explain(|error| {
                            listener_cannot_listen(asking.name, &address, error)
                        })?))
                    }
                    (None, None) => continue,
                };
                binds.push((bind, source));
            }
            rebinding.push(Wanted {
                name: asking.name.to_owned(),
                backlog: asking.backlog,
                options: asking.options,
                binds,
                lent,
            });
        }
        Ok(Rebinding(rebinding))
    }

    /// Whether [`Sockets::prepare`] would find all addresses free, as far as that shows without anybody noticing.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn check(&self, new: &Config, is_own: IsOwn<'_>) -> anyhow::Result<()> {
        let asking = self.asking(new, 1);
        let places = self.places(&asking);
        for (_, asking, bind) in missing(&asking, &places) {
            if let config::BindAddress::Named(name) = bind
                && self.inherited().has_named(name)
            {
                continue;
            }
            let address =
                assemble::bind_address(bind).with_context(|| not_inherited(asking.name, bind))?;
            let free = match listen::check(&address, &asking.options) {
                Err(error) if self.may_be_beside(&address, &error, is_own) => Ok(()),
                checked => checked,
            };
            free.explain(|error| listener_cannot_listen(asking.name, &address, error))?;
        }
        Ok(())
    }

    /// Whether the file of one of the sockets here is at a path.
    pub(crate) fn has_file(&self, path: &Path) -> bool {
        let all = self.lock();
        let binds = all.values().flat_map(|owned| &owned.binds);
        binds
            .filter_map(|bind| bind.file.as_ref())
            .any(|file| file.is_at(path))
    }

    /// Descriptors of all sockets of who asks, if they are others than before. Each worker that accepts by itself has one.
    fn lend_changed(
        &self,
        (asker, asking): (usize, &Asking<'_>),
        places: &Places,
        reserved: &BTreeMap<(usize, usize), Reserved>,
    ) -> io::Result<Option<Lent>> {
        let kept = (0..asking.binds.len()).map(|place| places.get(&(asker, place)));
        let is_own =
            |kept: Option<&(String, usize)>| kept.is_some_and(|(owner, _)| owner == asking.name);
        let had = self
            .lock()
            .get(asking.name)
            .map_or(0, |owned| owned.binds.len());
        if had == asking.binds.len() && kept.clone().all(is_own) {
            return Ok(None);
        }
        let lend = |(place, kept): (usize, Option<&(String, usize)>)| match kept {
            Some((owner, place)) => self.lend_one(owner, *place, asking.kept),
            None => {
                let reserved = &reserved[&(asker, place)];
                let lent = Self::lend_reserved(std::slice::from_ref(reserved))?;
                Ok(lent.into_iter().flatten().collect())
            }
        };
        kept.enumerate()
            .map(lend)
            .collect::<io::Result<_>>()
            .map(Some)
    }

    /// Whether an address is in use by a socket of this process, beside which another one may be until it goes: no two of a
    /// configuration overlap.
    fn may_be_beside(&self, address: &BindAddress, error: &io::Error, is_own: IsOwn<'_>) -> bool {
        error.kind() == ErrorKind::AddrInUse
            && match address {
                BindAddress::Unix(path) => is_own(path) || self.has_file(path),
                BindAddress::Tcp(_) | BindAddress::Every(_) => self.has_port(address),
            }
    }

    /// Whether one of the sockets here has the port of an address.
    fn has_port(&self, address: &BindAddress) -> bool {
        let all = self.lock();
        let mut binds = all.values().flat_map(|owned| &owned.binds);
        binds.any(|bind| address.port().is_some() && bind.address.port() == address.port())
    }

    fn lend_one(
        &self,
        owner: &str,
        place: usize,
        count: usize,
    ) -> std::io::Result<Vec<proxy_core::Descriptor>> {
        let mut all = self.lock();
        match all.get_mut(owner) {
            Some(owned) => owned.binds[place].lend(count),
            None => Ok(Vec::new()),
        }
    }

    /// Goes over to what was prepared.
    pub(crate) fn rebind(&self, rebinding: Rebinding) -> Rebound {
        let mut all = self.lock();
        let mut old: BTreeMap<_, Vec<Option<Bind>>> = BTreeMap::new();
        for (name, owned) in &mut *all {
            let binds = std::mem::take(&mut owned.binds).into_iter();
            old.insert(name.clone(), binds.map(Some).collect());
        }
        let mut listening = BTreeMap::new();
        for wanted in rebinding.0 {
            let Wanted {
                name,
                backlog,
                options,
                binds,
                lent,
            } = wanted;
            let mut having = Vec::with_capacity(binds.len());
            for (configured, source) in binds {
                let bind = match source {
                    Source::Kept(owner, place) => {
                        let places = old.get_mut(&owner);
                        places.and_then(|places| places.get_mut(place)?.take())
                    }
                    Source::New(bound) => {
                        let options = options.clone();
                        let mut bind = Bind::new(configured.clone(), *bound, options, backlog);
                        bind.settle();
                        Some(bind)
                    }
                    Source::Later(reserved) => match reserved.listen(backlog) {
                        Ok(bound) => Some(Bind::new(
                            configured.clone(),
                            bound,
                            options.clone(),
                            backlog,
                        )),
                        Err(error) => {
                            let address = &configured;
                            tracing::error!(%address, %error, "nobody listens there; reload again");
                            None
                        }
                    },
                };
                having.extend(bind.map(|mut bind| {
                    bind.configured = configured;
                    // That of the listener that had the address is another one, maybe.
                    bind.set_backlog(backlog);
                    bind
                }));
            }
            having
                .iter_mut()
                .for_each(|bind| bind.set_options(&options));
            let owned: &mut Owned = all.entry(name.clone()).or_default();
            owned.binds = having;
            listening.extend(lent.map(|lent| (name, lent)));
        }
        forget(&mut all);
        let mut removed: Vec<_> = old.into_values().flatten().flatten().collect();
        for bind in &mut removed {
            bind.stop_taking();
            // While the sockets are there: nobody has taken the path over.
            bind.file = None;
        }
        Rebound {
            listening,
            removed: Removed(removed),
        }
    }
}

/// Forgets names that have no sockets any more, as far as there are more of them than are shown.
fn forget(all: &mut BTreeMap<String, Owned>) {
    let without = all.values().filter(|owned| owned.binds.is_empty());
    let mut too_many = without.count().saturating_sub(RETIRED_MAX);
    all.retain(|_, owned| {
        let forgets = too_many > 0 && owned.binds.is_empty();
        too_many -= usize::from(forgets);
        !forgets
    });
}

#[cfg(test)]
mod tests;
