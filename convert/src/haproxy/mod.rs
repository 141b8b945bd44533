//! haproxy.cfg.

mod acl;
mod backend;
mod balance;
mod bind;
mod carry;
mod check;
mod check_connect;
mod check_step;
mod choice;
mod client;
mod condition;
mod decision;
mod entries;
mod expression;
mod fallback;
mod frontend;
mod global;
mod guard;
mod hearing;
mod http_check;
mod inherited;
mod keepalive;
mod limits;
mod members;
mod options;
mod proxy;
mod rules;
mod section;
mod server;
mod source;
mod stats;
mod tcp_check;
mod time;
mod timeouts;
mod useless;
mod words;

use std::collections::HashMap;

use super::input::Surroundings;
use super::note::Notes;
use super::plan::Plan;

use self::global::Globals;
use self::proxy::Proxy;
use self::section::{Line, Section};
use self::words::Environment;

/// Reads the files of a configuration, in the order in which HAProxy reads them.
///
/// # Errors
/// What isn't as haproxy.cfg must be, with its place.
pub(super) fn read(
    texts: &[(&str, &str)],
    surroundings: &dyn Surroundings,
) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let mut environment = Environment::new(surroundings);
    let sections = section::read(texts, &mut environment, &mut plan.notes)?;
    let mut globals = Globals::default();
    let mut defaults = Defaults::default();
    let mut proxies = Vec::new();
    for section in sections {
        match section.kind {
            "global" => globals.read(&section, &mut plan),
            "defaults" => defaults.add(section, &mut plan.notes)?,
            "frontend" | "backend" | "listen" => {
                let inherited = defaults.of(&section)?;
                proxies.push(Proxy::read(&section, &inherited, &mut plan.notes)?);
            }
            kind => plan.notes.lose(&section.from, nothing_like(kind)),
        }
    }
    proxy::share_tables(&mut proxies);
    carry::carry(&proxies, &globals, &mut plan, surroundings);
    Ok(plan)
}

/// Why a section is lost.
fn nothing_like(kind: &str) -> &'static str {
    match kind {
        "resolvers" => {
            "names are asked for by the system's resolv.conf, again when their TTL is over; write its name servers there"
        }
        "peers" => {
            "nothing is remembered of clients that proxies could tell each other; a hash finds the same server on each"
        }
        "mailers" => "corelane sends no mail; Prometheus' alerts do",
        "userlist" => "corelane asks nobody for a password",
        "program" => "corelane runs no programs; systemd does",
        _ => "corelane has nothing like this section",
    }
}

/// The sections `defaults` so far.
#[derive(Default)]
struct Defaults {
    /// The lines of those that have a name.
    named: HashMap<String, Vec<Line>>,
    /// The lines of the last one, which counts for those that name none.
    last: Vec<Line>,
}

impl Defaults {
    fn add(&mut self, section: Section, notes: &mut Notes) -> Result<(), String> {
        let name = match section
            .arguments
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()[..]
        {
            [] | ["from", _] => "",
            [name, ..] => name,
        }
        .to_owned();
        let mut lines = match from(&section) {
            Some(_) => inherited::inherited(self.of(&section)?, &section.lines, notes),
            None => Vec::new(),
        };
        lines.extend(section.lines);
        if !name.is_empty() {
            self.named.insert(name, lines.clone());
        }
        self.last = lines;
        Ok(())
    }

    /// The lines that count for a section.
    fn of(&self, section: &Section) -> Result<Vec<Line>, String> {
        let Some(name) = from(section) else {
            return Ok(self.last.clone());
        };
        let found = self.named.get(name).cloned();
        found.ok_or_else(|| {
            format!(
                "{}: there is no section `defaults {name}` before it",
                section.from.place
            )
        })
    }
}

/// The name of the defaults that a section asks for.
fn from(section: &Section) -> Option<&str> {
    let place = section.arguments.iter().position(|word| word == "from")?;
    section.arguments.get(place + 1).map(String::as_str)
}
