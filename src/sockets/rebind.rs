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
use super::owner::{Bind, Lent, Owned, Sockets};
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
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::*;

    fn config(listeners: &[(&str, &str)]) -> Config {
        let mut text = "[upstreams.u]\nservers = [\"10.0.0.1:80\"]\n".to_owned();
        for (name, binds) in listeners {
            text += &format!("[listeners.{name}]\nbind = {binds}\nupstream = \"u\"\n");
        }
        let parsed = proxy_config::parse(&text, "test");
        parsed.unwrap_or_else(|error| panic!("{error}")).config
    }

    fn rebind(sockets: &Sockets, listeners: &[(&str, &str)]) -> Rebound {
        let rebinding = sockets
            .prepare(&config(listeners), 2, &|_| false, Preparing::All)
            .unwrap();
        sockets.rebind(rebinding)
    }

    fn names(rebound: &Rebound) -> Vec<&str> {
        rebound.listening.keys().map(String::as_str).collect()
    }

    /// The address of a listener's first socket.
    fn address(sockets: &Sockets, listener: &str) -> SocketAddr {
        let all = sockets.lock();
        let socket = &all[listener].binds[0].sockets[0];
        let address = socket2::SockRef::from(&socket.descriptor).local_addr();
        address.unwrap().as_socket().unwrap()
    }

    const ANY: &str = r#""127.0.0.1:0""#;

    #[test]
    fn who_waits_at_an_address_that_stays_is_kept_whoever_has_it() {
        let sockets = Sockets::default();
        let first = rebind(&sockets, &[("web", ANY)]);
        assert_eq!(names(&first), ["web"]);
        let at = address(&sockets, "web");
        let _clients: Vec<_> = (0..8).map(|_| TcpStream::connect(at).unwrap()).collect();
        assert_eq!(sockets.waiting("web"), 8);
        // Nothing changes for workers.
        let same = rebind(&sockets, &[("web", ANY)]);
        assert!(same.listening.is_empty());
        let renamed = rebind(&sockets, &[("www", ANY)]);
        assert_eq!(names(&renamed), ["www"]);
        assert_eq!(renamed.listening["www"][0].len(), 2);
        drop(renamed);
        drop(first);
        assert_eq!((address(&sockets, "www"), sockets.waiting("www")), (at, 8));
        let more = rebind(
            &sockets,
            &[("www", r#"["127.0.0.1:0", "127.0.0.1:0"]"#), ("a", ANY)],
        );
        assert_eq!(names(&more), ["a", "www"]);
        assert_eq!(more.listening["www"].len(), 2, "all of its addresses");
        assert_eq!((address(&sockets, "www"), sockets.waiting("www")), (at, 8));
        let gone = rebind(&sockets, &[("a", ANY)]);
        assert!(gone.listening.is_empty());
        drop((gone, more));
        TcpStream::connect(at).expect_err("nobody listens there");
        TcpStream::connect(address(&sockets, "a")).expect("it stayed");
    }

    #[test]
    fn names_that_come_and_go_are_forgotten() {
        let sockets = Sockets::default();
        for name in 0..RETIRED_MAX + 20 {
            drop(rebind(
                &sockets,
                &[(&format!("l{name}"), ANY), ("web", ANY)],
            ));
        }
        // One of them has a socket.
        assert_eq!(sockets.lock().len(), RETIRED_MAX + 2);
        assert!(sockets.lock().contains_key("web"));
    }

    #[test]
    fn what_cannot_be_listened_on_changes_nothing() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = format!("{:?}", taken.local_addr().unwrap().to_string());
        let occupied = std::net::TcpListener::bind(taken.trim_matches('"'));
        let sockets = Sockets::default();
        drop(rebind(&sockets, &[("web", ANY)]));
        let at = address(&sockets, "web");
        let Ok(_occupied) = occupied else {
            return;
        };
        let new = config(&[("b", ANY), ("c", &taken)]);
        let error = sockets.prepare(&new, 2, &|_| false, Preparing::All);
        let error = error.err().expect("it is in use");
        assert!(error.to_string().contains("[listeners.c]"), "{error}");
        TcpStream::connect(at).expect("it listens still");
        assert_eq!(sockets.lock().keys().collect::<Vec<_>>(), ["web"]);
    }

    /// How many of some clients the kernel takes, while nobody is accepted.
    fn taken(sockets: &Sockets, listener: &str) -> usize {
        const CLIENTS: usize = 12;
        let at = address(sockets, listener);
        let patience = std::time::Duration::from_millis(50);
        let clients: Vec<_> = (0..CLIENTS)
            .map_while(|_| TcpStream::connect_timeout(&at, patience).ok())
            .collect();
        clients.len()
    }

    #[test]
    fn an_address_has_the_backlog_of_the_listener_that_has_it_now() {
        let sockets = Sockets::default();
        let (one, other) = (ANY, r#""127.0.0.2:0""#);
        let few = |bind: &str| format!("{bind}\nbacklog = 1");
        drop(rebind(&sockets, &[("few", &few(one)), ("many", other)]));
        let swapped = rebind(&sockets, &[("few", &few(other)), ("many", one)]);
        assert_eq!(names(&swapped), ["few", "many"]);
        drop(swapped);
        // Two sockets with one client each, of which Linux takes one more.
        assert!(taken(&sockets, "few") <= 4);
        assert_eq!(taken(&sockets, "many"), 12);
    }

    #[test]
    fn a_unix_socket_goes_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let bind = format!("\"unix:{}\"", path.display());
        let sockets = Sockets::default();
        let first = rebind(&sockets, &[("web", &bind)]);
        assert!(path.exists());
        let renamed = rebind(&sockets, &[("www", &bind)]);
        drop((first, renamed));
        std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        let gone = rebind(&sockets, &[("www", ANY)]);
        assert!(!path.exists());
        drop(gone);
    }

    #[test]
    fn a_file_that_somebody_removed_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let bind = format!("\"unix:{}\"", path.display());
        let sockets = Sockets::default();
        let first = rebind(&sockets, &[("web", &bind)]);
        assert!(rebind(&sockets, &[("web", &bind)]).listening.is_empty());
        std::fs::remove_file(&path).unwrap();
        let again = rebind(&sockets, &[("web", &bind)]);
        assert_eq!(names(&again), ["web"]);
        std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        assert!(rebind(&sockets, &[("web", &bind)]).listening.is_empty());
        drop((first, again));
    }

    /// Who comes to an address that overlaps a new one goes to the old socket until the change is certain.
    #[test]
    fn a_change_that_is_not_to_be_takes_no_client() {
        let sockets = Sockets::default();
        let port = {
            let _first = rebind(&sockets, &[("web", r#""0.0.0.0:0""#)]);
            address(&sockets, "web").port()
        };
        let narrower = format!("\"127.0.0.1:{port}\"");
        let prepared = sockets.prepare(
            &config(&[("web", &narrower)]),
            2,
            &|_| false,
            Preparing::All,
        );
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(sockets.waiting("web"), 1);
        drop(prepared);
        let _narrow = rebind(&sockets, &[("web", &narrower)]);
        let _other = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(sockets.waiting("web"), 1, "at the new one");
    }

    /// A switch of the same reload joins sockets to those of who has the address before.
    #[test]
    fn the_admin_server_gets_all_sockets_that_a_switch_joins() {
        let sockets = Sockets::default();
        let _first = rebind(&sockets, &[("web", ANY)]);
        let any = BindAddress::Tcp(([127, 0, 0, 1], 0).into());
        let bound = listen::bind(&any, 16, 1).unwrap();
        sockets.own_admin(config(&[("web", ANY)]).admin.listen.into(), bound);
        let at = address(&sockets, "web");
        let text = format!(
            "[admin]\nlisten = \"{at}\"\n[listeners.web]\nbind = \"127.0.0.2:0\"\nupstream = \"u\"\n\
             [upstreams.u]\nservers = [\"10.0.0.1:80\"]\n"
        );
        let new = proxy_config::parse(&text, "test").unwrap().config;
        let prepared = sockets
            .prepare(&new, 4, &|_| false, Preparing::All)
            .unwrap();
        sockets.lend("web", 4).unwrap();
        let rebound = sockets.rebind(prepared);
        let lent = rebound.listening[super::super::ADMIN][0].len();
        assert_eq!((lent, sockets.count(super::super::ADMIN)), (4, 4));
    }

    /// A port that the kernel chose may be written down then.
    #[test]
    fn the_port_that_there_is_stays() {
        let sockets = Sockets::default();
        let _first = rebind(&sockets, &[("web", ANY)]);
        let at = address(&sockets, "web");
        let _client = TcpStream::connect(at).unwrap();
        let same = rebind(&sockets, &[("web", &format!("{:?}", at.to_string()))]);
        assert!(same.listening.is_empty());
        assert_eq!(sockets.waiting("web"), 1);
    }

    #[test]
    fn a_check_says_what_a_reload_would_and_takes_nothing() {
        let sockets = Sockets::default();
        let _first = rebind(&sockets, &[("web", ANY)]);
        let own = address(&sockets, "web");
        let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = occupied.local_addr().unwrap();
        let check = |bind: &str| sockets.check(&config(&[("web", bind)]), &|_| false);
        let wider = format!("\"0.0.0.0:{}\"", own.port());
        for free in [ANY, &format!("\"{own}\""), &wider] {
            check(free).unwrap();
        }
        let refused = check(&format!("\"{taken}\"")).unwrap_err();
        assert!(refused.to_string().contains("[listeners.web]"), "{refused}");
        check("\"unix:/nonexistent/socket\"").unwrap_err();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        check(&format!("\"unix:{}\"", path.display())).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        check(&format!("\"unix:{}\"", path.display())).unwrap_err();
    }
}
