//! `use_backend`: which backend a connection goes to.

use super::super::input::Surroundings;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::routing::{Rule, Target, Term, Test};
use super::acl::{self, Acls};
use super::backend::Backends;
use super::entries;
use super::expression::{self, Asked};
use super::proxy::Proxy;
use super::section::Line;

/// What the lines of a frontend come to.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// In their order.
    pub(super) routes: Vec<Rule>,
    pub(super) fallbacks: Vec<Fallback>,
}

/// An upstream that stands in for another one while no server of that is up.
#[derive(Debug)]
pub(super) struct Fallback {
    /// Whose servers are down.
    pub(super) upstream: String,
    /// Which one stands in for it.
    pub(super) substitute: String,
    pub(super) from: Origin,
}

/// Reads all lines of a frontend.
pub(super) fn read(
    proxy: &Proxy,
    backends: &Backends<'_>,
    acls: &Acls<'_>,
    surroundings: &dyn Surroundings,
    notes: &mut Notes,
) -> Choice {
    let mut choice = Choice::default();
    for line in proxy.all("use_backend") {
        choice.line(line, backends, acls, surroundings, notes);
    }
    choice
}

impl Choice {
    fn line(
        &mut self,
        line: &Line,
        backends: &Backends<'_>,
        acls: &Acls<'_>,
        surroundings: &dyn Surroundings,
        notes: &mut Notes,
    ) {
        let from = &line.from;
        let words = line.words();
        let name = words[1];
        if name.contains("%[") {
            match by_map(name, &words[2..], backends, surroundings, from) {
                Ok(rules) => self.routes.extend(rules),
                Err(why) => notes.lose(from, why),
            }
            return;
        }
        let Some(backend) = backends.get(name) else {
            return notes.lose(from, "this backend isn't carried over, or isn't there; what it takes goes on to the next rule");
        };
        let condition = match acls.condition(&words[2..]) {
            Ok(condition) => condition,
            Err(why) => {
                return notes.lose(
                    from,
                    format!("{why}. What it takes goes on to the next rule"),
                );
            }
        };
        for terms in condition {
            if let [
                acl::Term {
                    any,
                    is_negated: false,
                },
            ] = &terms[..]
                && let [Asked::AllDown(down)] = &any[..]
                && let Some(down) = backends.get(down.as_str())
            {
                let why =
                    "while no server there is up, this upstream stands in for it (`fallback`)";
                notes.remark(from, why);
                self.fallbacks.push(Fallback {
                    upstream: down.name.clone(),
                    substitute: backend.name.clone(),
                    from: from.clone(),
                });
                continue;
            }
            match route_terms(&terms) {
                Ok(Some(terms)) => self.routes.push(Rule {
                    terms,
                    target: Target::Upstream(backend.name.clone()),
                    from: from.clone(),
                }),
                Ok(None) => {}
                Err(why) => notes.lose(
                    from,
                    format!("{why}. What it takes goes on to the next rule"),
                ),
            }
        }
    }
}

/// The terms that routes can have; nothing where nobody suits.
fn route_terms(terms: &[acl::Term]) -> Result<Option<Vec<Term>>, &'static str> {
    let mut route_terms = Vec::new();
    for term in terms {
        let mut any = Vec::new();
        let mut is_everybody = false;
        for asked in &term.any {
            match asked {
                Asked::Route(test) => any.push(test.clone()),
                Asked::Everybody => is_everybody = true,
                Asked::Nobody => {}
                // Who says a hello says a name mostly.
                Asked::Hello => any.push(Test::Sni(vec!["*".to_owned()])),
                _ => return Err("a route can't ask how many connections or servers there are"),
            }
        }
        match (is_everybody, any.is_empty(), term.is_negated) {
            (true, _, false) | (false, true, true) => {}
            (true, _, true) | (false, true, false) => return Ok(None),
            (false, false, is_negated) => route_terms.push(Term { any, is_negated }),
        }
    }
    Ok(Some(route_terms))
}

/// `use_backend %[req.ssl_sni,lower,map(FILE,DEFAULT)]`: the routes that the map has.
fn by_map(
    name: &str,
    condition: &[&str],
    backends: &Backends<'_>,
    surroundings: &dyn Surroundings,
    from: &Origin,
) -> Result<Vec<Rule>, String> {
    let inner = name
        .strip_prefix("%[")
        .and_then(|rest| rest.strip_suffix(']'));
    let inner = inner
        .ok_or("a backend's name is made of the server name and a map, and of nothing else")?;
    if !condition.is_empty() {
        return Err("a map with a condition can't be carried over; write its routes".to_owned());
    }
    let start = inner
        .find(",map")
        .ok_or("a backend is found by a map of server names; write the routes")?;
    let (fetched, map) = inner.split_at(start);
    if !matches!(
        fetched.trim_end_matches(",lower"),
        "req.ssl_sni" | "req_ssl_sni"
    ) {
        return Err(
            "corelane knows the server name of TLS, and nothing else that a map could be asked for"
                .to_owned(),
        );
    }
    let (kind, arguments) = map[1..].split_once('(').ok_or("a map has a file")?;
    let arguments = arguments.strip_suffix(')').ok_or("a map ends with a `)`")?;
    let (path, default) = match arguments.split_once(',') {
        Some((path, default)) => (path, Some(default)),
        None => (arguments, None),
    };
    let mut rules = Vec::new();
    for (key, value) in entries::pairs(path, surroundings)? {
        let names = match kind {
            "map" | "map_str" => vec![key.to_ascii_lowercase()],
            "map_end" | "map_dom" => expression::suffixes(&key),
            _ => {
                return Err(format!(
                    "names are looked up as a whole or by their ends, and not by `{kind}`"
                ));
            }
        };
        let Some(backend) = backends.get(value.as_str()) else {
            return Err(format!(
                "the map has {key} at the backend {value}, which isn't carried over"
            ));
        };
        let any = vec![Test::Sni(names)];
        let is_negated = false;
        rules.push(Rule {
            terms: vec![Term { any, is_negated }],
            target: Target::Upstream(backend.name.clone()),
            from: from.part(&format!("{key} {value}, of {path}")),
        });
    }
    if let Some(backend) = default.and_then(|default| backends.get(default.trim())) {
        rules.push(Rule {
            terms: Vec::new(),
            target: Target::Upstream(backend.name.clone()),
            from: from.clone(),
        });
    }
    Ok(rules)
}
