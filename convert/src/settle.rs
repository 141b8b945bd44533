//! What the configuration doesn't take is left out, and said.
//!
//! The limits of values and what goes together stand in one place, the configuration's own readers. So the result is read by
//! them; what they refuse becomes a loss with their reason, and the rest is read again, until it is valid.

use std::collections::HashSet;

use proxy_config::Problem;

use super::document::{Document, Line, Owner, Table, Text};
use super::note::Notes;
use super::origin::Origin;
use super::value::Value;

/// Keys that keep clients out. A listener without one of them would let in more than the original, so it goes as a whole.
const GUARDS: [&str; 6] = [
    "allow",
    "deny",
    "allow_peer",
    "deny_peer",
    "trusted",
    "accept_proxy_protocol",
];

/// Makes the document valid. Returns its text, or nothing if nothing valid is left.
pub(super) fn settle(document: &mut Document, notes: &mut Notes, title: &str) -> Option<String> {
    let mut silent = Silent::default();
    loop {
        let Text { text, owners } = document.text(title, notes);
        let problems = match proxy_config::parse(&text, "corelane.toml") {
            Ok(_) => return Some(text),
            Err(problems) => problems,
        };
        let found = problems.as_slice().iter().filter_map(|problem| {
            let owner = owners.get(problem.line.checked_sub(1)?).copied()??;
            Some((owner, problem))
        });
        let mut found: Vec<_> = found.collect();
        if found.is_empty() {
            return None;
        }
        // From the end, so that the places of the others stay.
        found.sort_by_key(|(owner, _)| std::cmp::Reverse((owner.table, owner.line, owner.item)));
        found.dedup_by_key(|(owner, _)| *owner);
        let mut gone = Gone::Nothing;
        for (owner, problem) in found {
            let is_gone = match gone {
                Gone::Nothing => false,
                Gone::Line(table, line) => owner.table == table && owner.line == Some(line),
                Gone::Tables(first) => owner.table >= first,
            };
            if !is_gone {
                gone = if let Some(gone) = silent.leave_out(document, owner) {
                    gone
                } else {
                    silent.expect(document, owner);
                    leave_out(document, owner, problem, notes)
                };
            }
        }
    }
}

/// What went last.
enum Gone {
    Nothing,
    /// A line of a table, by their indices.
    Line(usize, usize),
    /// Tables, of which this was the first.
    Tables(usize),
}

/// What goes without a word, as what it came from was said already.
#[derive(Default)]
struct Silent {
    /// Upstreams that are left out.
    upstreams: HashSet<String>,
    /// Listeners that led to one of those only.
    listeners: HashSet<String>,
}

impl Silent {
    /// Removes what the problem is about if it follows from what went before.
    fn leave_out(&mut self, document: &mut Document, owner: Owner) -> Option<Gone> {
        let table = &document.tables[owner.table];
        let Some(line) = owner.line else {
            let is_headless = self.listeners.contains(&table.path);
            return is_headless.then(|| leave_out_section(document, owner.table));
        };
        let (Value::Text(name), "upstream") = (&table.lines[line].value, table.lines[line].key)
        else {
            return None;
        };
        let follows = table.path.starts_with("listeners.")
            && !table.path.ends_with(ROUTES)
            && !has_routes(document, &table.path)
            && self.upstreams.contains(name);
        if !follows {
            return None;
        }
        self.listeners.insert(table.path.clone());
        document.tables[owner.table].lines.remove(line);
        Some(Gone::Line(owner.table, line))
    }

    /// Notes that an upstream is about to go.
    fn expect(&mut self, document: &Document, owner: Owner) {
        if owner.line.is_none()
            && let Some(name) = document.tables[owner.table].path.strip_prefix("upstreams.")
        {
            self.upstreams.insert(name.to_owned());
        }
    }
}

/// Removes what the problem is about, and says so.
fn leave_out(document: &mut Document, owner: Owner, problem: &Problem, notes: &mut Notes) -> Gone {
    let why = format!("corelane does not take it: {}", problem.message);
    let leads_there_alone = is_all_of_a_listener(document, owner.table);
    let table = &mut document.tables[owner.table];
    let Some(line) = owner.line else {
        if let Some(from) = &table.from {
            let listeners = match leads_there_alone {
                true => ", and so are the listeners that lead nowhere else",
                false => "",
            };
            notes.lose(
                from,
                format!("[{}] is left out{listeners}. {why}", table.path),
            );
        }
        return leave_out_section(document, owner.table);
    };
    let from = from(&table.lines[line], owner.item);
    let is_guard = GUARDS.contains(&table.lines[line].key) || table.rejects();
    if is_guard {
        let section = section(&table.path).to_owned();
        let why = format!("[{section}] is left out, as it would let in more without this. {why}");
        notes.lose(&from, why);
        return leave_out_section(document, owner.table);
    }
    notes.lose(&from, why);
    match (&mut table.lines[line].value, owner.item) {
        (Value::List(items), Some(item)) if items.len() > 1 => {
            items.remove(item);
            Gone::Nothing
        }
        // A route that asks for less would take more.
        _ if table.path.ends_with(ROUTES) => {
            document.tables.remove(owner.table);
            Gone::Tables(owner.table)
        }
        _ => {
            table.lines.remove(line);
            Gone::Line(owner.table, line)
        }
    }
}

fn has_routes(document: &Document, listener: &str) -> bool {
    let routes = format!("{listener}{ROUTES}");
    document.tables.iter().any(|table| table.path == routes)
}

/// Whether a listener leads to this upstream and nowhere else.
fn is_all_of_a_listener(document: &Document, upstream: usize) -> bool {
    let Some(name) = document.tables[upstream].path.strip_prefix("upstreams.") else {
        return false;
    };
    let leads = |line: &Line| {
        line.key == "upstream" && matches!(&line.value, Value::Text(found) if found == name)
    };
    document.tables.iter().any(|table| {
        table.path.starts_with("listeners.")
            && !table.path.ends_with(ROUTES)
            && table.lines.iter().any(leads)
            && !has_routes(document, &table.path)
    })
}

/// Where a line came from, or one item of its list.
fn from(line: &Line, item: Option<usize>) -> Origin {
    let of_item = match (&line.value, item) {
        (Value::List(items), Some(item)) => items[item].from.clone(),
        _ => None,
    };
    of_item.unwrap_or_else(|| line.from.clone())
}

/// Removes a whole listener or upstream, or another table with those below it.
fn leave_out_section(document: &mut Document, index: usize) -> Gone {
    let path = section(&document.tables[index].path).to_owned();
    let below = format!("{path}.");
    let is_of = |table: &Table| table.path == path || table.path.starts_with(&below);
    let first = document.tables.iter().position(is_of).unwrap_or(index);
    document.tables.retain(|table| !is_of(table));
    Gone::Tables(first)
}

/// How the path of a table of routes ends.
const ROUTES: &str = ".routes";

/// The listener that a table of routes is of, or else the table itself.
fn section(path: &str) -> &str {
    path.strip_suffix(ROUTES).unwrap_or(path)
}
