//! Rules about where a connection goes, of which the first one that suits decides, with conditions that say "not", as routes.

use std::rc::Rc;

use ipnet::IpNet;

use super::access::{common, written};
use super::intersection::names_in_common;
use super::origin::Origin;
use super::plan::{Keys, Route};
use super::value::Value;

/// The most routes that rules become.
const ROUTES_MAX: usize = 2_000;
/// The most rules with a negated condition, each of which takes all rules after it twice.
const NEGATED_MAX: usize = 8;

/// What a condition asks for; one of the values is enough.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// Server names, as `sni` of a route has them.
    Sni(Vec<String>),
    /// Protocols of ALPN.
    Alpn(Vec<String>),
    /// Where the client is.
    Source(Vec<IpNet>),
    /// Where the one is who has connected.
    Peer(Vec<IpNet>),
    /// Ports of the listener, each a first and a last one.
    Port(Vec<(u16, u16)>),
}

/// A part of a condition: one of the tests suits, or none does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    pub(super) any: Vec<Test>,
    pub(super) is_negated: bool,
}

/// Where those go that suit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    Upstream(String),
    Reject,
    /// Other rules decide, of which the last one is for everybody.
    Rules(Rc<[Rule]>),
}

/// A rule: all terms must suit. Two are the same that do the same, wherever they stand.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) terms: Vec<Term>,
    pub(super) target: Target,
    pub(super) from: Origin,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.terms == other.terms && self.target == other.target
    }
}

/// What a route asks for.
#[derive(Debug, Clone, Default, PartialEq)]
struct Wanted {
    sni: Option<Vec<String>>,
    alpn: Option<Vec<String>>,
    source: Option<Vec<IpNet>>,
    peer: Option<Vec<IpNet>>,
    port: Option<Vec<(u16, u16)>>,
}

/// The routes of rules. `others` is where those go that no rule takes; it is returned as it is then, as a negated rule may have another
/// one take its place.
///
/// # Errors
/// What is too much.
pub(super) fn routes(
    rules: &[Rule],
    others: Option<Target>,
    others_from: &Origin,
) -> Result<(Vec<Route>, Option<Target>), &'static str> {
    if negated(rules) > NEGATED_MAX {
        return Err(
            "too many of its rules have a condition with `!` or `unless`; turn them around, so that they say what they take",
        );
    }
    let mut routes = Vec::new();
    let start = Wanted::default();
    push(&mut routes, rules, &start, others.as_ref(), others_from)?;
    // The last one takes all others.
    let last = routes.pop_if(|(wanted, _, _)| wanted.is_everybody());
    let others = last.map(|(_, target, _)| target);
    let routes = routes
        .into_iter()
        .map(|(wanted, target, from)| wanted.route(&target, &from));
    Ok((routes.collect(), others))
}

/// How many rules with a negated condition decide about a connection at most.
fn negated(rules: &[Rule]) -> usize {
    let is_negated = |rule: &&Rule| rule.terms.iter().any(|term| term.is_negated);
    let mut lists: Vec<&Rc<[Rule]>> = Vec::new();
    for rule in rules {
        if let Target::Rules(next) = &rule.target
            && !lists.iter().any(|list| Rc::ptr_eq(list, next))
        {
            lists.push(next);
        }
    }
    let next = lists.iter().map(|next| negated(next)).max();
    rules.iter().filter(is_negated).count() + next.unwrap_or_default()
}

/// Adds the routes of rules for the connections that suit `within`, and of all others that do.
fn push(
    routes: &mut Vec<(Wanted, Target, Origin)>,
    rules: &[Rule],
    within: &Wanted,
    others: Option<&Target>,
    others_from: &Origin,
) -> Result<(), &'static str> {
    for (place, rule) in rules.iter().enumerate() {
        let (negated, plain): (Vec<_>, Vec<_>) =
            rule.terms.iter().partition(|term| term.is_negated);
        let mut suits = vec![within.clone()];
        for term in plain {
            suits = suits.iter().flat_map(|wanted| wanted.with(term)).collect();
        }
        for wanted in suits {
            // Those that the rule leaves to the ones after it go first.
            for term in &negated {
                for left in wanted.with(term) {
                    push(routes, &rules[place + 1..], &left, others, others_from)?;
                }
            }
            let takes_all = wanted == *within;
            match &rule.target {
                Target::Rules(next) => push(routes, next, &wanted, others, others_from)?,
                target => routes.push((wanted, target.clone(), rule.from.clone())),
            }
            if routes.len() > ROUTES_MAX {
                return Err(
                    "its rules would become too many routes; write them with fewer conditions each",
                );
            }
            if takes_all {
                return Ok(());
            }
        }
    }
    let others = others.cloned().unwrap_or(Target::Reject);
    routes.push((within.clone(), others, others_from.clone()));
    Ok(())
}

impl Wanted {
    fn is_everybody(&self) -> bool {
        let Self {
            sni,
            alpn,
            source,
            peer,
            port,
        } = self;
        sni.is_none() && alpn.is_none() && source.is_none() && peer.is_none() && port.is_none()
    }

    /// The same where one of a term's tests suits, too: one for each of them.
    fn with(&self, term: &Term) -> Vec<Self> {
        let one = |test: &Test| {
            let mut wanted = self.clone();
            let is_possible = match test {
                Test::Sni(names) => narrow(&mut wanted.sni, names, names_in_common),
                Test::Alpn(names) => narrow(&mut wanted.alpn, names, |one, other| {
                    (one == other).then(|| one.clone())
                }),
                Test::Source(networks) => narrow(&mut wanted.source, networks, common),
                Test::Peer(networks) => narrow(&mut wanted.peer, networks, common),
                Test::Port(ports) => narrow(&mut wanted.port, ports, |one, other| {
                    let both = (one.0.max(other.0), one.1.min(other.1));
                    (both.0 <= both.1).then_some(both)
                }),
            };
            is_possible.then_some(wanted)
        };
        term.any.iter().filter_map(one).collect()
    }

    fn route(self, target: &Target, from: &Origin) -> Route {
        let mut keys = Keys::default();
        let mut set = |key, values: Option<Vec<String>>| match values.as_deref() {
            None => {}
            Some([one]) => keys.set(key, one.as_str(), from),
            Some(all) => keys.set(key, all.iter().map(String::as_str).collect::<Value>(), from),
        };
        set("sni", self.sni);
        set("alpn", self.alpn);
        let networks = |all: Vec<IpNet>| all.iter().map(written).collect();
        set("source", self.source.map(networks));
        set("peer", self.peer.map(networks));
        if let Some(ports) = self.port {
            let value = |(low, high): &(u16, u16)| match low == high {
                true => Value::Integer(u64::from(*low)),
                false => Value::Text(format!("{low}-{high}")),
            };
            keys.set("port", ports.iter().map(value).collect::<Value>(), from);
        }
        match target {
            Target::Upstream(name) => keys.set("upstream", name.as_str(), from),
            Target::Reject => keys.set("reject", true, from),
            // Those were put in its place.
            Target::Rules(_) => {}
        }
        Route {
            from: from.clone(),
            keys,
        }
    }
}

/// Leaves what is in both lists; false if that is nothing.
fn narrow<T: Clone>(
    found: &mut Option<Vec<T>>,
    wanted: &[T],
    in_common: impl Fn(&T, &T) -> Option<T>,
) -> bool {
    let both = match found {
        None => wanted.to_vec(),
        Some(found) => {
            let of_one = |one: &T| {
                wanted
                    .iter()
                    .filter_map(|other| in_common(one, other))
                    .collect::<Vec<_>>()
            };
            found.iter().flat_map(of_one).collect()
        }
    };
    let is_possible = !both.is_empty();
    *found = Some(both);
    is_possible
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::access::network;
    use super::*;

    fn origin() -> Origin {
        Origin::new(&Rc::from("a"), 1, "a")
    }

    fn term(is_negated: bool, any: &[Test]) -> Term {
        let any = any.to_vec();
        Term { any, is_negated }
    }

    fn rule(terms: Vec<Term>, upstream: &str) -> Rule {
        Rule {
            terms,
            target: Target::Upstream(upstream.to_owned()),
            from: origin(),
        }
    }

    fn shown(rules: &[Rule]) -> String {
        let others = Some(Target::Upstream("other".to_owned()));
        let (routes, others) = routes(rules, others, &origin()).expect("few routes");
        let mut lines: Vec<String> = routes
            .into_iter()
            .map(|route| {
                let entries = route.keys.into_entries();
                let entries = entries
                    .iter()
                    .map(|entry| format!("{}={}", entry.key, entry.value.inline()));
                entries.collect::<Vec<_>>().join(" ").replace('"', "")
            })
            .collect();
        lines.push(format!("{others:?}").replace('"', ""));
        lines.join("\n")
    }

    #[test]
    fn the_first_rule_decides_and_a_negated_one_leaves_its_own_to_the_next() {
        let name = |name: &str| Test::Sni(vec![name.to_owned()]);
        let inside = Test::Source(vec![network("10.0.0.0/8").expect("a network")]);
        let plain = [rule(vec![term(false, &[name("a"), name("b")])], "x")];
        assert_eq!(
            shown(&plain),
            "sni=a upstream=x\nsni=b upstream=x\nSome(Upstream(other))"
        );
        let negated = [
            rule(vec![term(true, std::slice::from_ref(&inside))], "outside"),
            rule(vec![term(false, &[name("a")])], "x"),
        ];
        assert_eq!(
            shown(&negated),
            "sni=a source=10.0.0.0/8 upstream=x\nsource=10.0.0.0/8 upstream=other\nSome(Upstream(outside))"
        );
        let both = [rule(
            vec![term(false, &[name("a")]), term(true, &[inside])],
            "x",
        )];
        assert_eq!(
            shown(&both),
            "sni=a source=10.0.0.0/8 upstream=other\nsni=a upstream=x\nSome(Upstream(other))"
        );
        let impossible = [rule(
            vec![term(false, &[name("a")]), term(false, &[name("b")])],
            "x",
        )];
        assert_eq!(shown(&impossible), "Some(Upstream(other))");
        let narrowed = [rule(
            vec![term(false, &[name("*.a.b")]), term(false, &[name("*.b")])],
            "x",
        )];
        assert_eq!(
            shown(&narrowed),
            "sni=*.a.b upstream=x\nSome(Upstream(other))"
        );
    }
}
