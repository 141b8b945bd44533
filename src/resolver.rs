//! Keeps the addresses of servers that are configured by name.
//!
//! The system's resolver does the work (its configuration, /etc/hosts, caches), on threads of their own, since it
//! blocks: a few, so that names whose name server is slow don't hold up the others. A name that can't be resolved leaves
//! its server without an address: connects to it fail with the reason "resolve", and nothing else is affected.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::{ADDRESSES_MAX, Id, Server};

/// How often a name is resolved. The system's resolver does not tell how long an answer is good for.
const INTERVAL: Duration = Duration::from_secs(30);

/// How often, while it can't be.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long a start waits for the first answers before it goes on without them.
pub(crate) const FIRST_ANSWERS_WAIT: Duration = Duration::from_secs(3);

/// Names that are asked for at a time: each takes a thread for as long as the name server does. So up to one less may be
/// slow without any effect on the others.
const THREADS_MAX: usize = 8;

/// A server that is configured by name.
pub(crate) struct Name {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) server: Arc<Server>,
}

/// What asks the system for the addresses of a name.
type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The names that are resolved, now and from time to time, until this is dropped. Without names there is no thread.
pub(crate) struct Resolver {
    queue: Arc<Queue>,
    threads: usize,
    resolve: Arc<Resolve>,
}

impl Resolver {
    /// Without names.
    pub(crate) fn new() -> Self {
        Self::with(|host, port| {
            let addresses = (host, port).to_socket_addrs()?;
            Ok(addresses.take(ADDRESSES_MAX).collect())
        })
    }

    fn with(
        resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            queue: Arc::default(),
            threads: 0,
            resolve: Arc::new(resolve),
        }
    }

    /// Has these names resolved, too, from now on.
    ///
    /// # Errors
    /// When no thread can be started; a thread that is missing beside others is no error.
    pub(crate) fn add(&mut self, names: Vec<Name>) -> io::Result<()> {
        let wanted = self.queue.add(names).min(THREADS_MAX);
        while self.threads < wanted {
            let (queue, resolve) = (self.queue.clone(), self.resolve.clone());
            let started = thread::Builder::new()
                .name("corelane-names".into())
                .spawn(move || work(&queue, &*resolve));
            match started {
                Ok(_) => self.threads += 1,
                Err(error) if self.threads == 0 => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "names are resolved by fewer threads");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Has no names resolved but those of these servers.
    pub(crate) fn keep(&self, servers: &HashSet<Id>) {
        self.queue.keep(servers);
    }

    /// Whether each name was tried.
    pub(crate) fn has_tried_all(&self) -> bool {
        self.queue.lock().untried.is_empty()
    }

    /// Returns when each name was tried, or after `patience`.
    pub(crate) fn wait(&self, patience: Duration) {
        let until = now() + patience;
        let mut names = self.queue.lock();
        while !names.untried.is_empty() {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            let waited = self.queue.change.wait_timeout(names, left);
            names = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Resolver {
    /// Threads that wait for a name server end when it has answered.
    fn drop(&mut self) {
        self.queue.lock().stopped = true;
        self.queue.change.notify_all();
    }
}

/// The life of a thread.
fn work(queue: &Queue, resolve: &Resolve) {
    while let Some(mut turn) = queue.take() {
        let answer = resolve(&turn.name.host, turn.name.port);
        let pause = turn.on_answer(answer);
        queue.put(turn, now() + pause);
    }
}

/// A name, and what is known of it.
struct Turn {
    name: Name,
    has_failed: bool,
}

impl Turn {
    /// Takes an answer. Returns how long it is good for.
    fn on_answer(&mut self, answer: io::Result<Vec<SocketAddr>>) -> Duration {
        let name = &self.name;
        match answer {
            Ok(addresses) => {
                name.server.set_addresses(&addresses);
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!(host = name.host, "the name is resolved again");
                }
                INTERVAL
            }
            Err(error) => {
                // The addresses of before stay: a resolver that is down must not take the servers down.
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(
                        upstream = name.server.upstream,
                        host = name.host,
                        %error,
                        "the name can't be resolved; connects to this server fail until it can, or use the addresses \
                         of before"
                    );
                }
                INTERVAL_AFTER_FAILURE
            }
        }
    }
}

/// The names, for the threads that resolve them.
#[derive(Default)]
struct Queue {
    names: Mutex<Names>,
    /// One was put back, or tried, or all is over.
    change: Condvar,
}

#[derive(Default)]
struct Names {
    /// Those that no thread has, by when they are due.
    waiting: BTreeMap<(Instant, Id), Turn>,
    /// All of them.
    known: HashSet<Id>,
    /// Those that were not tried yet.
    untried: HashSet<Id>,
    stopped: bool,
}

impl Queue {
    /// Adds those that are not known yet, which are due. Returns how many there are now.
    fn add(&self, new: Vec<Name>) -> usize {
        let mut names = self.lock();
        for name in new {
            let id = name.server.id;
            if names.known.insert(id) {
                names.untried.insert(id);
                let turn = Turn {
                    name,
                    has_failed: false,
                };
                names.waiting.insert((now(), id), turn);
            }
        }
        self.change.notify_all();
        names.known.len()
    }

    /// Forgets the others. Those that a thread has are forgotten when it puts them back.
    fn keep(&self, servers: &HashSet<Id>) {
        let mut names = self.lock();
        names.known.retain(|id| servers.contains(id));
        names.untried.retain(|id| servers.contains(id));
        names.waiting.retain(|(_, id), _| servers.contains(id));
        self.change.notify_all();
    }

    /// Waits for the name that is due first, until it is. None when all is over.
    fn take(&self) -> Option<Turn> {
        let mut names = self.lock();
        loop {
            if names.stopped {
                return None;
            }
            let due = names.waiting.first_key_value().map(|(&(due, _), _)| due);
            let left = due.map(|due| due.saturating_duration_since(now()));
            if left == Some(Duration::ZERO)
                && let Some((_, turn)) = names.waiting.pop_first()
            {
                return Some(turn);
            }
            // Where there is none, other threads have them all, and one will be put back.
            let left = left.unwrap_or(INTERVAL);
            let waited = self.change.wait_timeout(names, left);
            names = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn put(&self, turn: Turn, due: Instant) {
        let mut names = self.lock();
        let id = turn.name.server.id;
        names.untried.remove(&id);
        // One that was forgotten and came back meanwhile waits already.
        let waits = names.waiting.keys().any(|&(_, waiting)| waiting == id);
        if names.known.contains(&id) && !waits {
            names.waiting.insert((due, id), turn);
        }
        // All of them: it may be due before what they wait for, and who takes it may be busy for long.
        self.change.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "threads of their own, not a worker"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;

    use proxy_core::Upstream;

    use super::*;

    /// Longer than anything that works takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// Servers of these names, and the names.
    fn names(hosts: &[&str]) -> (Vec<Name>, Vec<Arc<Server>>) {
        let upstream = Upstream::new("u".into());
        let name = |host: &&str| Name {
            host: (*host).to_owned(),
            port: 80,
            server: Arc::new(Server::named(&upstream, (*host).to_owned())),
        };
        let names: Vec<_> = hosts.iter().map(name).collect();
        let servers = names.iter().map(|name| name.server.clone()).collect();
        (names, servers)
    }

    fn is_resolved(server: &Server) -> bool {
        server.walk_aside().next(now()).is_some()
    }

    fn answer() -> io::Result<Vec<SocketAddr>> {
        Ok(vec![([192, 0, 2, 1], 80).into()])
    }

    #[test]
    fn slow_names_hold_up_no_others() {
        let mut hosts = vec!["slow"; THREADS_MAX - 1];
        hosts.extend(["a", "b", "c"]);
        let (names, servers) = names(&hosts);
        // Nothing is ever sent here.
        let (_end, ends) = mpsc::channel::<()>();
        let ends = Mutex::new(ends);
        let (reached, others) = mpsc::channel();
        let mut resolver = Resolver::with(move |host, _| {
            if host == "slow" {
                // One of them holds the lock, and the others wait for that.
                let _ = ends.lock().unwrap_or_else(PoisonError::into_inner).recv();
                return Err(ErrorKind::TimedOut.into());
            }
            let _ = reached.send(());
            answer()
        });
        resolver.add(names).expect("threads");
        for _ in 0..3 {
            others.recv_timeout(DEADLINE).expect("not held up");
        }
        let begun_at = now();
        while !(THREADS_MAX - 1..hosts.len()).all(|server| is_resolved(&servers[server])) {
            assert!(begun_at.elapsed() < DEADLINE);
            thread::yield_now();
        }
        assert!(!is_resolved(&servers[0]) && !resolver.has_tried_all());
    }

    #[test]
    fn a_start_waits_for_each_name_once_and_not_for_ever() {
        let (all, servers) = names(&["a", "b", "c"]);
        let mut resolver = Resolver::with(|_, _| answer());
        resolver.add(all).expect("threads");
        resolver.wait(DEADLINE);
        assert!((0..3).all(|server| is_resolved(&servers[server])));

        let (all, servers) = names(&["a"]);
        let (_end, ends) = mpsc::channel::<()>();
        let ends = Mutex::new(ends);
        let mut resolver = Resolver::with(move |_, _| {
            let _ = ends.lock().unwrap_or_else(PoisonError::into_inner).recv();
            answer()
        });
        resolver.add(all).expect("threads");
        resolver.wait(Duration::from_millis(10));
        assert!(!is_resolved(&servers[0]) && !resolver.has_tried_all());
    }

    #[test]
    fn names_that_are_asked_for_at_a_time_are_bounded() {
        let (all, _) = names(&["a"; 3 * THREADS_MAX]);
        let (at_once, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let seen = most.clone();
        let mut resolver = Resolver::with(move |_, _| {
            seen.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
            thread::park_timeout(Duration::from_millis(1));
            at_once.fetch_sub(1, SeqCst);
            answer()
        });
        resolver.add(all).expect("threads");
        resolver.wait(DEADLINE);
        assert!((1..=THREADS_MAX).contains(&most.load(SeqCst)));
    }

    #[test]
    fn names_come_and_go() {
        let (asked, heard) = mpsc::channel();
        let mut resolver = Resolver::with(move |host, _| {
            let _ = asked.send(host.to_owned());
            answer()
        });
        let (mut all, servers) = names(&["a", "b", "c"]);
        let late = all.pop().expect("three");
        resolver.add(all).expect("threads");
        resolver.wait(DEADLINE);
        resolver.add(vec![late]).expect("threads");
        resolver.wait(DEADLINE);
        assert!(servers.iter().all(|server| is_resolved(server)));
        let mut hosts: Vec<_> = heard.try_iter().collect();
        hosts.sort();
        assert_eq!(hosts, ["a", "b", "c"], "each once");
        resolver.keep(&HashSet::from([servers[1].id]));
        let left: Vec<_> = {
            let names = resolver.queue.lock();
            names
                .waiting
                .values()
                .map(|turn| turn.name.host.clone())
                .collect()
        };
        assert_eq!(left, ["b"]);
        let queue = resolver.queue.clone();
        drop(resolver);
        assert!(queue.take().is_none(), "its threads end");
    }

    #[test]
    fn one_that_is_forgotten_while_it_is_asked_for_stays_forgotten() {
        let (all, servers) = names(&["a", "b"]);
        let queue = Queue::default();
        queue.add(all);
        let [a, b] = [(); 2].map(|()| queue.take().expect("it goes on"));
        let kept = if a.name.host == "a" { 0 } else { 1 };
        queue.keep(&HashSet::from([servers[kept].id]));
        queue.put(a, now());
        queue.put(b, now());
        assert_eq!(queue.lock().waiting.len(), 1);
        let name = queue.take().expect("it goes on").name;
        assert_eq!(name.server.id, servers[kept].id);
    }

    #[test]
    fn who_is_due_first_is_taken_first() {
        let (all, _) = names(&["a", "b", "c"]);
        let queue = Queue::default();
        queue.add(all);
        let mut turns = [(); 3].map(|()| queue.take().expect("it goes on"));
        turns.sort_by(|one, other| one.name.host.cmp(&other.name.host));
        let [a, b, c] = turns;
        let begin = now();
        let ms = Duration::from_millis;
        queue.put(a, begin + ms(3));
        queue.put(b, begin + ms(1));
        queue.put(c, begin + ms(2));
        let order = [(); 3].map(|()| queue.take().expect("it goes on").name.host);
        assert_eq!(order, ["b", "c", "a"]);
        assert!(now() >= begin + ms(3));
    }

    #[test]
    fn a_failure_keeps_the_addresses_of_before_and_is_tried_again_soon() {
        let (all, servers) = names(&["a"]);
        let queue = Queue::default();
        queue.add(all);
        let mut turn = queue.take().expect("it goes on");
        assert_eq!(turn.on_answer(answer()), INTERVAL);
        let failed = turn.on_answer(Err(ErrorKind::TimedOut.into()));
        assert_eq!(failed, INTERVAL_AFTER_FAILURE);
        assert!(is_resolved(&servers[0]) && turn.has_failed);
        assert_eq!(turn.on_answer(answer()), INTERVAL);
        assert!(!turn.has_failed);
    }
}
