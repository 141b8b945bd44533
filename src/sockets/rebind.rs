//! Moves listeners from the addresses that they have to those that a reload gives them.
//!
//! An address that stays keeps its sockets, even where another listener has it from now on: clients that wait there are
//! accepted.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;

use proxy_config::{self as config, Config};
use proxy_core::listen::{self, BindAddress, Bound, Reserved};

use super::owner::{Bind, Lent, Owned, Sockets};
use super::start::listener_cannot_listen;
use crate::assemble;
use crate::start_error::{Explain, cannot_start};

/// What listeners are to listen on: everything that can fail was done.
pub(crate) struct Rebinding(Vec<Wanted>);

/// One listener.
struct Wanted {
    name: String,
    backlog: u16,
    binds: Vec<Source>,
    /// For the workers; none where nothing changes for them.
    lent: Option<Lent>,
}

/// Where the sockets of one address come from.
enum Source {
    /// From a listener, by its name and the place of the address.
    Kept(String, usize),
    New(Box<(config::BindAddress, Bound)>),
}

/// What a reload has changed of the sockets.
pub(crate) struct Rebound {
    /// Listeners that have other sockets now, by name, with descriptors of all of them.
    pub(crate) listening: BTreeMap<String, Lent>,
    /// Sockets that are no longer listened on. They take nobody any more, and are to be dropped when the workers know.
    pub(crate) removed: Removed,
}

/// Sockets that nobody is to accept from any more.
#[must_use]
pub(crate) struct Removed(#[expect(dead_code, reason = "it is kept, and dropped")] Vec<Bind>);

impl Sockets {
    /// Listens on the addresses of a configuration that nobody here listens on yet, with `count` sockets each, and lends
    /// descriptors of all sockets of the listeners that have others than before.
    ///
    /// # Errors
    /// When an address can't be listened on, or there is no descriptor left. Nothing has changed then.
    pub(crate) fn prepare(&self, new: &Config, count: usize) -> anyhow::Result<Rebinding> {
        let places = self.places(new);
        let mut reserved: BTreeMap<(usize, usize), Reserved> = BTreeMap::new();
        // Files of unix sockets come last: until they are listened on, they look like those of a process that is gone.
        for unix in [false, true] {
            for (listener, configured) in new.listeners.iter().enumerate() {
                for (place, bind) in configured.binds.iter().enumerate() {
                    let is_unix = matches!(bind, config::BindAddress::Unix(_));
                    if is_unix != unix || places.contains_key(&(listener, place)) {
                        continue;
                    }
                    let address = assemble::bind_address(bind);
                    let reserved_here = match listen::reserve(&address, count) {
                        Err(error)
                            if error.kind() == ErrorKind::AddrInUse && self.has_port(&address) =>
                        {
                            listen::reserve_beside(&address, count)
                        }
                        reserved => reserved,
                    };
                    let new = reserved_here.explain(|error| {
                        listener_cannot_listen(&configured.name, &address, error)
                    })?;
                    reserved.insert((listener, place), new);
                }
            }
        }
        let mut wanted = Vec::with_capacity(new.listeners.len());
        for (listener, configured) in new.listeners.iter().enumerate() {
            let places = (0..configured.binds.len()).map(|place| places.get(&(listener, place)));
            let is_own = |place: Option<&(String, usize)>| {
                place.is_some_and(|(owner, _)| *owner == configured.name)
            };
            let had = self
                .lock()
                .get(&configured.name)
                .map_or(0, |owned| owned.binds.len());
            let changes = had != configured.binds.len() || !places.clone().all(is_own);
            let mut lent = Lent::new();
            for (place, kept) in places.clone().enumerate().filter(|_| changes) {
                let sockets = match kept {
                    Some((owner, place)) => self.lend_one(owner, *place, count),
                    None => {
                        let reserved = &reserved[&(listener, place)];
                        let lent = Self::lend_reserved(std::slice::from_ref(reserved));
                        lent.map(|lent| lent.into_iter().flatten().collect())
                    }
                };
                let name = &configured.name;
                lent.push(sockets.explain(|error| {
                    cannot_start(&format!("the sockets of [listeners.{name}]"), error)
                })?);
            }
            wanted.push((
                configured,
                places.map(Option::<&_>::cloned).collect::<Vec<_>>(),
                changes.then_some(lent),
            ));
        }
        // The last that can fail: from here on clients may come.
        let mut rebinding = Vec::with_capacity(wanted.len());
        for (listener, (configured, places, lent)) in wanted.into_iter().enumerate() {
            let mut binds = Vec::with_capacity(places.len());
            for (place, kept) in places.into_iter().enumerate() {
                binds.push(match (kept, reserved.remove(&(listener, place))) {
                    (Some((owner, place)), _) => Source::Kept(owner, place),
                    (None, Some(reserved)) => {
                        let address = reserved.address().clone();
                        let bound = reserved.listen(configured.backlog.get());
                        let bound = bound.explain(|error| {
                            listener_cannot_listen(&configured.name, &address, error)
                        })?;
                        Source::New(Box::new((configured.binds[place].clone(), bound)))
                    }
                    (None, None) => continue,
                });
            }
            rebinding.push(Wanted {
                name: configured.name.clone(),
                backlog: configured.backlog.get(),
                binds,
                lent,
            });
        }
        Ok(Rebinding(rebinding))
    }

    /// Whether one of the sockets here has the port of an address.
    fn has_port(&self, address: &BindAddress) -> bool {
        let all = self.lock();
        let mut binds = all.values().flat_map(|owned| &owned.binds);
        binds.any(|bind| address.port().is_some() && bind.address.port() == address.port())
    }

    /// For each listener and address of a configuration whose sockets there are: whose they are, and in which place.
    fn places(&self, new: &Config) -> BTreeMap<(usize, usize), (String, usize)> {
        let all = self.lock();
        let mut places = BTreeMap::new();
        let mut taken = HashSet::new();
        // Its own first: ports that the kernel chose have the same address.
        for own in [true, false] {
            for (listener, configured) in new.listeners.iter().enumerate() {
                for (place, bind) in configured.binds.iter().enumerate() {
                    if places.contains_key(&(listener, place)) {
                        continue;
                    }
                    let found = all
                        .iter()
                        .filter(|(owner, _)| (**owner == configured.name) == own)
                        .flat_map(|(owner, owned)| {
                            let binds = owned.binds.iter().enumerate();
                            binds.map(move |(place, bind)| (owner, place, bind))
                        })
                        .find(|(owner, place, owned)| {
                            owned.configured == *bind && !taken.contains(&(*owner, *place))
                        });
                    if let Some((owner, owned_place, _)) = found {
                        taken.insert((owner, owned_place));
                        places.insert((listener, place), (owner.clone(), owned_place));
                    }
                }
            }
        }
        places
    }

    fn lend_one(
        &self,
        owner: &str,
        place: usize,
        count: usize,
    ) -> std::io::Result<Vec<proxy_core::Descriptor>> {
        let mut all = self.lock();
        match all.get_mut(owner) {
            Some(owned) => owned.binds[place].lend(owned.backlog, count),
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
                binds,
                lent,
            } = wanted;
            let binds = binds.into_iter().filter_map(|source| match source {
                Source::Kept(owner, place) => old.get_mut(&owner)?.get_mut(place)?.take(),
                Source::New(new) => {
                    let (configured, bound) = *new;
                    Some(Bind::new(configured, bound))
                }
            });
            let binds: Vec<_> = binds.collect();
            let owned: &mut Owned = all.entry(name.clone()).or_default();
            if owned.backlog != backlog {
                set_backlog(&binds, backlog);
            }
            owned.backlog = backlog;
            owned.binds = binds;
            listening.extend(lent.map(|lent| (name, lent)));
        }
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

/// A socket that listens already has another backlog from now on.
fn set_backlog(binds: &[Bind], backlog: u16) {
    for socket in binds.iter().flat_map(|bind| &bind.sockets) {
        if let Err(error) = rustix::net::listen(&socket.descriptor, backlog.into()) {
            tracing::warn!(%error, "the backlog of a socket stays as it is");
        }
    }
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
        let rebinding = sockets.prepare(&config(listeners), 2).unwrap();
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
        let error = sockets.prepare(&new, 2).err().expect("it is in use");
        assert!(error.to_string().contains("[listeners.c]"), "{error}");
        TcpStream::connect(at).expect("it listens still");
        assert_eq!(sockets.lock().keys().collect::<Vec<_>>(), ["web"]);
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
}
