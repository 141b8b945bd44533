//! Keeps the addresses of servers that are configured by name.
//!
//! Each name is a task, which asks again when the answer is no longer good. A name that can't be resolved keeps the addresses
//! of before; one that never had any leaves its server without: connects to it fail with the reason "resolve", and nothing
//! else is affected.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proxy_core::{ADDRESSES_MAX, Id, Server};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::failure::Failure;
use super::lookup::{Answer, Lookup};

/// How soon a name is asked for again that can't be resolved.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long a start waits for the first answers before it goes on without them.
pub(crate) const FIRST_ANSWERS_WAIT: Duration = Duration::from_secs(3);

/// A server that is configured by name.
pub(crate) struct Name {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) server: Arc<Server>,
}

/// The names that are resolved until this is dropped, or its thread.
pub(crate) struct Names {
    lookup: Arc<Lookup>,
    tasks: HashMap<Id, AbortHandle>,
    untried: Arc<Untried>,
}

/// The servers whose names were not asked for yet.
#[derive(Default)]
struct Untried {
    servers: Mutex<HashSet<Id>>,
    change: Condvar,
}

impl Names {
    /// Without names.
    pub(crate) fn new(lookup: Lookup) -> Self {
        Self {
            lookup: Arc::new(lookup),
            tasks: HashMap::new(),
            untried: Arc::default(),
        }
    }

    /// Has these names resolved, too, from now on.
    pub(crate) fn add(&mut self, names: Vec<Name>, on: &Handle) {
        for name in names {
            let id = name.server.id;
            if self.tasks.contains_key(&id) {
                continue;
            }
            self.untried.lock().insert(id);
            let task = keep_resolved(name, self.lookup.clone(), self.untried.clone());
            self.tasks.insert(id, on.spawn(task).abort_handle());
        }
    }

    /// Has no names resolved but those of these servers.
    pub(crate) fn keep(&mut self, servers: &HashSet<Id>) {
        self.tasks.retain(|id, task| {
            let is_kept = servers.contains(id);
            if !is_kept {
                task.abort();
            }
            is_kept
        });
        self.untried.lock().retain(|id| servers.contains(id));
        self.untried.change.notify_all();
    }

    /// Whether each name was tried.
    pub(crate) fn has_tried_all(&self) -> bool {
        self.untried.lock().is_empty()
    }

    /// Returns when each name was tried, or after `patience`.
    pub(crate) fn wait(&self, patience: Duration) {
        let until = now() + patience;
        let mut servers = self.untried.lock();
        while !servers.is_empty() {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            let waited = self.untried.change.wait_timeout(servers, left);
            servers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

impl Untried {
    fn lock(&self) -> MutexGuard<'_, HashSet<Id>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The life of a name.
async fn keep_resolved(name: Name, lookup: Arc<Lookup>, untried: Arc<Untried>) {
    let id = name.server.id;
    let mut turns = Turns {
        name,
        known: Vec::new(),
        has_failed: false,
    };
    loop {
        let answer = lookup.addresses(&turns.name.host, &turns.known).await;
        let pause = turns.on_answer(answer);
        if untried.lock().remove(&id) {
            untried.change.notify_all();
        }
        tokio::time::sleep(pause).await;
    }
}

/// A name, and what is known of it.
struct Turns {
    name: Name,
    known: Vec<IpAddr>,
    has_failed: bool,
}

impl Turns {
    /// Takes an answer. Returns how long it is good for.
    fn on_answer(&mut self, answer: Result<Answer<IpAddr>, Failure>) -> Duration {
        let name = &self.name;
        match answer {
            Ok(Answer { found, valid_for }) => {
                self.known = found;
                self.known.truncate(ADDRESSES_MAX);
                let addresses = self.known.iter().map(|&ip| SocketAddr::new(ip, name.port));
                name.server.set_addresses(&addresses.collect::<Vec<_>>());
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!(host = name.host, "the name is resolved again");
                }
                valid_for
            }
            Err(failure) => {
                // The addresses of before stay: a resolver that is down must not take the servers down.
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(
                        upstream = name.server.upstream,
                        host = name.host,
                        error = %failure,
                        "the name can't be resolved; connects to this server fail until it can, or use the addresses \
                         of before"
                    );
                }
                INTERVAL_AFTER_FAILURE
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "who waits is no worker")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use proxy_core::Upstream;

    use super::super::failure::Reason;
    use super::super::scripted::{A, AAAA, Reply, ScriptedDns};
    use super::super::thread::Thread;
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

    /// Where a connection to the server would go.
    fn address(server: &Server) -> Option<String> {
        let next = server.walk_aside().next(now());
        next.map(|address| address.to_string())
    }

    fn wait_for(condition: impl Fn() -> bool) {
        let begun_at = now();
        while !condition() {
            assert!(begun_at.elapsed() < DEADLINE, "it doesn't come");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn begin(dns: &ScriptedDns) -> (Thread, Handle, Names) {
        let mut thread = Thread::default();
        let handle = thread.handle().expect("a thread");
        let names = Names::new(Lookup::of_servers(vec![dns.address()]));
        (thread, handle, names)
    }

    #[test]
    fn an_answer_is_good_for_its_ttl_and_a_slow_name_holds_up_no_other() {
        let dns = ScriptedDns::start();
        dns.say("slow.test", A, Reply::Silence);
        dns.say("slow.test", AAAA, Reply::Silence);
        dns.say("a.test", A, Reply::addresses(&["192.0.2.1"], 1));
        let (_thread, on, mut names_) = begin(&dns);
        let (all, servers) = names(&["slow.test", "a.test"]);
        names_.add(all, &on);
        wait_for(|| address(&servers[1]).is_some());
        assert_eq!(address(&servers[1]).as_deref(), Some("192.0.2.1:80"));
        assert!(!names_.has_tried_all(), "nobody answers for the other one");
        dns.say("a.test", A, Reply::addresses(&["192.0.2.2"], 1));
        wait_for(|| address(&servers[1]).as_deref() == Some("192.0.2.2:80"));
    }

    #[test]
    fn a_start_waits_for_each_name_and_not_for_ever() {
        let dns = ScriptedDns::start();
        for host in ["a.test", "b.test"] {
            dns.say(host, A, Reply::addresses(&["192.0.2.1"], 300));
        }
        dns.say("slow.test", A, Reply::Silence);
        let (_thread, on, mut resolved) = begin(&dns);
        let (all, servers) = names(&["a.test", "b.test", "none.test"]);
        resolved.add(all, &on);
        resolved.wait(DEADLINE);
        assert!(resolved.has_tried_all());
        assert!(address(&servers[0]).is_some() && address(&servers[1]).is_some());
        assert!(address(&servers[2]).is_none());
        let (late, late_servers) = names(&["slow.test"]);
        resolved.add(late, &on);
        resolved.wait(Duration::from_millis(10));
        assert!(!resolved.has_tried_all() && address(&late_servers[0]).is_none());
        resolved.keep(&HashSet::from([servers[1].id]));
        assert!(resolved.has_tried_all());
        assert_eq!(resolved.tasks.len(), 1);
    }

    #[test]
    fn a_failure_keeps_the_addresses_of_before_and_is_tried_again_soon() {
        let (mut all, servers) = names(&["a.test"]);
        let mut turns = Turns {
            name: all.remove(0),
            known: Vec::new(),
            has_failed: false,
        };
        let answer = || {
            Ok(Answer {
                found: vec![[192, 0, 2, 1].into()],
                valid_for: Duration::from_secs(7),
            })
        };
        assert_eq!(turns.on_answer(answer()), Duration::from_secs(7));
        let failed = turns.on_answer(Err(Failure::new(Reason::Timeout, "no answer")));
        assert_eq!(failed, INTERVAL_AFTER_FAILURE);
        assert!(address(&servers[0]).is_some() && turns.has_failed);
        assert_eq!(turns.on_answer(answer()), Duration::from_secs(7));
        assert!(!turns.has_failed);
    }
}
