//! `use_backend`: which backend a connection goes to.

use super::super::input::Surroundings;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::routing::Test;
use super::acl::{self, Acls};
use super::backend::Backends;
use super::decision::{Decision, Verdict};
use super::entries;
use super::expression::{self, Asked};
use super::proxy::Proxy;
use super::section::Line;

/// What the lines of a frontend come to.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// In their order, and in the end that for those that no line takes.
    pub(super) decisions: Vec<Decision>,
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
    /// How many decisions come before it.
    place: usize,
}

/// Reads all lines of a frontend. `others` is for those that no line takes.
pub(super) fn read(
    proxy: &Proxy,
    others: Decision,
    backends: &Backends<'_>,
    acls: &Acls<'_>,
    surroundings: &dyn Surroundings,
    notes: &mut Notes,
) -> Choice {
    let mut choice = Choice::default();
    for line in proxy.all("use_backend") {
        if choice.is_over() {
            let why = "a line before it takes all clients that come to it";
            notes.remark(&line.from, why);
            continue;
        }
        choice.line(line, &others, backends, acls, surroundings, notes);
    }
    if !choice.is_over() {
        choice.decisions.push(others);
    }
    for fallback in &choice.fallbacks {
        choice.compare(fallback, notes);
    }
    choice
}

impl Choice {
    fn is_over(&self) -> bool {
        let last = self.decisions.last();
        last.is_some_and(Decision::is_for_everybody)
    }

    fn line(
        &mut self,
        line: &Line,
        others: &Decision,
        backends: &Backends<'_>,
        acls: &Acls<'_>,
        surroundings: &dyn Surroundings,
        notes: &mut Notes,
    ) {
        let from = &line.from;
        let words = line.words();
        let name = words[1];
        if name.contains("%[") {
            match by_map(
                name,
                &words[2..],
                others,
                backends,
                surroundings,
                from,
                notes,
            ) {
                Ok(decisions) => self.decisions.extend(decisions),
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
                self.fallbacks.push(Fallback {
                    upstream: down.name.clone(),
                    substitute: backend.name.clone(),
                    from: from.clone(),
                    place: self.decisions.len(),
                });
                continue;
            }
            let mut is_askable = true;
            for asked in terms.iter().flat_map(|term| &term.any) {
                match asked {
                    Asked::OpenOfSource(..) | Asked::RateOfSource(..) | Asked::AllDown(_) => {
                        is_askable = false;
                    }
                    Asked::Nearly(_, why) => notes.lose(from, why.as_str()),
                    _ => {}
                }
            }
            if is_askable {
                self.decisions.push(Decision {
                    terms,
                    verdict: Verdict::Upstream(backend.name.clone()),
                    from: from.clone(),
                });
            } else {
                let why = "a route can't ask how many connections or servers there are. What it takes goes on to the next rule";
                notes.lose(from, why);
            }
        }
    }

    /// Says in what a fallback is another thing than the line that it was.
    fn compare(&self, fallback: &Fallback, notes: &mut Notes) {
        let there = Verdict::Upstream(fallback.upstream.clone());
        let (before, after) = self.decisions.split_at(fallback.place);
        let goes_there = |decision: &Decision| decision.verdict == there;
        let (from, name) = (&fallback.from, &fallback.upstream);
        let why = "while no server there is up, this upstream stands in for it (`fallback`)";
        notes.remark(from, why);
        if !after.iter().all(goes_there) {
            let why = format!(
                "it stands in for {name} only, and clients that the lines after it lead elsewhere go there, also while {name} is down"
            );
            notes.lose(from, why);
        }
        if before.iter().any(goes_there) {
            let why = format!(
                "it stands in for {name} as a whole, also for clients that a line before it leads there"
            );
            notes.lose(from, why);
        }
    }
}

/// `use_backend %[req.ssl_sni,lower,map(FILE,DEFAULT)]`: what the map says. The last one takes everybody: a name that leads to no backend
/// goes to that of `default_backend`, whatever lines there are after it.
fn by_map(
    name: &str,
    condition: &[&str],
    others: &Decision,
    backends: &Backends<'_>,
    surroundings: &dyn Surroundings,
    from: &Origin,
    notes: &mut Notes,
) -> Result<Vec<Decision>, String> {
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
    let missing = "this backend isn't carried over, or isn't there; its clients are those of `default_backend`";
    let verdict = |backend: &str, from: &Origin, notes: &mut Notes| match backends.get(backend) {
        Some(backend) => Verdict::Upstream(backend.name.clone()),
        None => {
            notes.lose(from, missing);
            others.verdict.clone()
        }
    };
    let mut decisions = Vec::new();
    for (key, value) in entries::pairs(path, surroundings)? {
        let from = from.part(&format!("{key} {value}, of {path}"));
        let asked = match kind {
            "map" | "map_str" => Asked::Route(Test::Sni(vec![key.to_ascii_lowercase()])),
            "map_end" => expression::ending("end", &[key]),
            "map_dom" => expression::ending("dom", &[key]),
            _ => {
                return Err(format!(
                    "names are looked up as a whole or by their ends, and not by `{kind}`"
                ));
            }
        };
        if let Asked::Nearly(_, why) = &asked {
            notes.lose(&from, why.as_str());
        }
        decisions.push(Decision {
            terms: vec![term(asked)],
            verdict: verdict(&value, &from, notes),
            from,
        });
    }
    if let Some(default) = default {
        // Who says no name is looked up nowhere.
        let any = Asked::Route(Test::Sni(vec!["*".to_owned()]));
        decisions.push(Decision {
            terms: vec![term(any)],
            verdict: verdict(default.trim(), from, notes),
            from: from.clone(),
        });
    }
    decisions.push(others.clone());
    Ok(decisions)
}

fn term(asked: Asked) -> acl::Term {
    acl::Term {
        any: vec![asked],
        is_negated: false,
    }
}
