//! Keeps the addresses of servers that are configured by name.
//!
//! The system's resolver does the work (its configuration, /etc/hosts, caches), on threads of their own, since it
//! blocks: a few, so that names whose name server is slow don't hold up the others. A name that can't be resolved leaves
//! its server without an address: connects to it fail with the reason "resolve", and nothing else is affected.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::{ADDRESSES_MAX, Server};

/// How often a name is resolved. The system's resolver does not tell how long an answer is good for.
const INTERVAL: Duration = Duration::from_secs(30);

/// How often, while it can't be.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long a start waits for the first answers before it goes on without them.
const FIRST_ANSWERS_WAIT: Duration = Duration::from_secs(3);

/// Names that are asked for at a time: each takes a thread for as long as the name server does. So up to one less may be
/// slow without any effect on the others.
const THREADS_MAX: usize = 8;

/// A server that is configured by name.
pub(crate) struct Name {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) server: Arc<Server>,
}

/// Resolves `names` now and from time to time. Returns when each was tried, or after a few seconds. Without names it
/// does nothing.
pub(crate) fn start(names: Vec<Name>) -> io::Result<()> {
    start_with(names, FIRST_ANSWERS_WAIT, |host, port| {
        let addresses = (host, port).to_socket_addrs()?;
        Ok(addresses.take(ADDRESSES_MAX).collect())
    })
}

/// As [`start`], with a resolver.
fn start_with(
    names: Vec<Name>,
    wait: Duration,
    resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> io::Result<()> {
    let (names_count, threads) = (names.len(), names.len().min(THREADS_MAX));
    let (sender, tried) = mpsc::channel();
    let queue = Arc::new(Queue::new(names));
    let resolve = Arc::new(resolve);
    for _ in 0..threads {
        let (queue, resolve, sender) = (queue.clone(), resolve.clone(), sender.clone());
        thread::Builder::new()
            .name("corelane-names".into())
            .spawn(move || {
                loop {
                    let mut turn = queue.take();
                    let answer = resolve(&turn.name.host, turn.name.port);
                    let pause = turn.on_answer(answer);
                    if std::mem::take(&mut turn.is_first) {
                        // Nobody listens when they came late.
                        let _ = sender.send(());
                    }
                    queue.put(turn, now() + pause);
                }
            })?;
    }
    let until = now() + wait;
    for _ in 0..names_count {
        let left = until.saturating_duration_since(now());
        if tried.recv_timeout(left).is_err() {
            break;
        }
    }
    Ok(())
}

/// A name, and what is known of it.
struct Turn {
    name: Name,
    number: usize,
    /// It was not asked for yet.
    is_first: bool,
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

/// The names that no thread has.
struct Queue {
    /// By when they are due, and their numbers.
    waiting: Mutex<BTreeMap<(Instant, usize), Turn>>,
    /// One was put back.
    change: Condvar,
}

impl Queue {
    /// All of them are due.
    fn new(names: Vec<Name>) -> Self {
        let now = now();
        let turn = |(number, name)| {
            let turn = Turn {
                name,
                number,
                is_first: true,
                has_failed: false,
            };
            ((now, number), turn)
        };
        Self {
            waiting: Mutex::new(names.into_iter().enumerate().map(turn).collect()),
            change: Condvar::new(),
        }
    }

    /// Waits for the name that is due first, until it is.
    fn take(&self) -> Turn {
        let mut waiting = self.lock();
        loop {
            let due = waiting.first_key_value().map(|(&(due, _), _)| due);
            let left = due.map(|due| due.saturating_duration_since(now()));
            if left == Some(Duration::ZERO)
                && let Some((_, turn)) = waiting.pop_first()
            {
                return turn;
            }
            // Where there is none, other threads have them all, and one will be put back.
            let left = left.unwrap_or(INTERVAL);
            let waited = self.change.wait_timeout(waiting, left);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn put(&self, turn: Turn, due: Instant) {
        self.lock().insert((due, turn.number), turn);
        // All of them: it may be due before what they wait for, and who takes it may be busy for long.
        self.change.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Instant, usize), Turn>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        thread::spawn(move || {
            start_with(names, DEADLINE, move |host, _| {
                if host == "slow" {
                    // One of them holds the lock, and the others wait for that.
                    let _ = ends.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    return Err(ErrorKind::TimedOut.into());
                }
                let _ = reached.send(());
                answer()
            })
        });
        for _ in 0..3 {
            others.recv_timeout(DEADLINE).expect("not held up");
        }
        let begun_at = now();
        while !(THREADS_MAX - 1..hosts.len()).all(|server| is_resolved(&servers[server])) {
            assert!(begun_at.elapsed() < DEADLINE);
            thread::yield_now();
        }
        assert!(!is_resolved(&servers[0]));
    }

    #[test]
    fn a_start_waits_for_each_name_once_and_not_for_ever() {
        let (all, servers) = names(&["a", "b", "c"]);
        start_with(all, DEADLINE, |_, _| answer()).expect("threads");
        assert!((0..3).all(|server| is_resolved(&servers[server])));

        let (all, servers) = names(&["a"]);
        let (_end, ends) = mpsc::channel::<()>();
        let ends = Mutex::new(ends);
        start_with(all, Duration::from_millis(10), move |_, _| {
            let _ = ends.lock().unwrap_or_else(PoisonError::into_inner).recv();
            answer()
        })
        .expect("threads");
        assert!(!is_resolved(&servers[0]));
    }

    #[test]
    fn names_that_are_asked_for_at_a_time_are_bounded() {
        let (all, _) = names(&["a"; 3 * THREADS_MAX]);
        let (at_once, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let seen = most.clone();
        start_with(all, DEADLINE, move |_, _| {
            seen.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
            thread::park_timeout(Duration::from_millis(1));
            at_once.fetch_sub(1, SeqCst);
            answer()
        })
        .expect("threads");
        assert!((1..=THREADS_MAX).contains(&most.load(SeqCst)));
    }

    #[test]
    fn who_is_due_first_is_taken_first() {
        let (all, _) = names(&["a", "b", "c"]);
        let queue = Queue::new(all);
        let [a, b, c] = [(); 3].map(|()| queue.take());
        let begin = now();
        let ms = Duration::from_millis;
        queue.put(a, begin + ms(3));
        queue.put(b, begin + ms(1));
        queue.put(c, begin + ms(2));
        let order = [(); 3].map(|()| queue.take().name.host);
        assert_eq!(order, ["b", "c", "a"]);
        assert!(now() >= begin + ms(3));
    }

    #[test]
    fn a_failure_keeps_the_addresses_of_before_and_is_tried_again_soon() {
        let (all, servers) = names(&["a"]);
        let mut turn = Queue::new(all).take();
        assert_eq!(turn.on_answer(answer()), INTERVAL);
        let failed = turn.on_answer(Err(ErrorKind::TimedOut.into()));
        assert_eq!(failed, INTERVAL_AFTER_FAILURE);
        assert!(is_resolved(&servers[0]) && turn.has_failed);
        assert_eq!(turn.on_answer(answer()), INTERVAL);
        assert!(!turn.has_failed);
    }
}
