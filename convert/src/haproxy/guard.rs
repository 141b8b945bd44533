//! `tcp-request` of a backend: who is refused of those that come to it.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::input::Surroundings;
use super::super::note::Notes;
use super::super::plan::Keys;
use super::super::routing::{Rule, Target};
use super::acl::Acls;
use super::backend::Backends;
use super::client::Client;
use super::decision::{self, Decision, Verdict};
use super::proxy::Proxy;
use super::rules::{self, Whose};

/// The rules of the backends that have some, by the names of their upstreams.
#[derive(Debug, Default)]
pub(super) struct Guards(HashMap<String, Guard>);

#[derive(Debug)]
struct Guard {
    /// The listener that it is, too, whose own clients know these rules already.
    own: Option<String>,
    decisions: Vec<Decision>,
    keys: Keys,
}

impl Guards {
    /// Reads the rules of all backends.
    pub(super) fn read(
        proxies: &[&Proxy],
        backends: &Backends<'_>,
        surroundings: &dyn Surroundings,
        notes: &mut Notes,
    ) -> Self {
        let mut guards = HashMap::new();
        for proxy in proxies.iter().filter(|proxy| proxy.is_backend()) {
            let backend = backends.get(proxy.name.as_str());
            let backend = backend.filter(|backend| std::ptr::eq(backend.proxy, *proxy));
            let is_there = !proxy.all("tcp-request").is_empty();
            let is_listener = proxy.is_frontend();
            let Some(backend) = backend.filter(|_| is_there) else {
                continue;
            };
            if is_listener && !is_used(proxy, proxies) {
                continue;
            }
            let acls = Acls::new(proxy.all("acl"), surroundings);
            let rules = rules::read(proxy, Whose::Backend, &acls, notes);
            let mut decisions = rules.content;
            if let Some(from) = rules.is_open {
                let (terms, verdict) = (Vec::new(), Verdict::Reject);
                decisions = vec![Decision {
                    terms,
                    verdict,
                    from,
                }];
            }
            let guard = Guard {
                own: is_listener.then(|| proxy.name.clone()),
                decisions,
                keys: rules.keys,
            };
            guards.insert(backend.name.clone(), guard);
        }
        Self(guards)
    }

    /// How many rules there are.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|guard| guard.decisions.len()).sum()
    }

    /// Whether clients of this upstream are refused by rules of its own.
    pub(super) fn refuse_at(&self, upstream: &str) -> bool {
        let guard = self.0.get(upstream);
        guard.is_some_and(|guard| !guard.decisions.is_empty())
    }

    /// The same rules, those that lead to such an upstream with its own rules after them.
    pub(super) fn before(&self, rules: &[Rule], proxy: &Proxy, client: Client) -> Rc<[Rule]> {
        let mut known: HashMap<&str, Rc<[Rule]>> = HashMap::new();
        let mut guarded = Vec::new();
        for rule in rules {
            let mut rule = rule.clone();
            if let Target::Upstream(name) = &rule.target
                && let Some((name, guard)) = self.0.get_key_value(name.as_str())
                && !guard.decisions.is_empty()
                && guard.own.as_ref() != Some(&proxy.name)
            {
                let its = known.entry(name).or_insert_with(|| {
                    let terms = Vec::new();
                    let (target, from) = (rule.target.clone(), rule.from.clone());
                    let there = Rule {
                        terms,
                        target,
                        from,
                    };
                    decision::rules(&guard.decisions, client, &vec![there].into())
                });
                if rule.terms.is_empty() {
                    guarded.extend(its.iter().cloned());
                    continue;
                }
                rule.target = Target::Rules(Rc::clone(its));
            }
            guarded.push(rule);
        }
        guarded.into()
    }

    /// Sets how long clients are waited for, if the listener of these upstreams doesn't say it itself.
    pub(super) fn wait<'u>(&self, upstreams: impl Iterator<Item = &'u str>, keys: &mut Keys) {
        const KEY: &str = "prologue_timeout";
        let mut guards = upstreams.filter_map(|name| self.0.get(name));
        let entries = guards.find_map(|guard| {
            let entries = guard.keys.clone().into_entries();
            entries.into_iter().find(|entry| entry.key == KEY)
        });
        if let Some(entry) = entries.filter(|_| keys.get(KEY).is_none()) {
            keys.set(KEY, entry.value, &entry.from);
        }
    }
}

/// Whether another proxy leads here.
fn is_used(proxy: &Proxy, proxies: &[&Proxy]) -> bool {
    let others = proxies.iter().filter(|other| !std::ptr::eq(**other, proxy));
    let mut targets = others.flat_map(|other| {
        let lines = other.all("use_backend").iter();
        lines.chain(other.last.get("default_backend"))
    });
    targets.any(|line| line.words[1] == proxy.name || line.words[1].contains("%["))
}
