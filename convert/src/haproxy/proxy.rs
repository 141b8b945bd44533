//! A section `frontend`, `backend` or `listen`, with what it has of its defaults.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Said;
use super::inherited::{self, asks};
use super::section::{Line, Section};
use super::time;
use super::useless;

/// What a proxy of HAProxy's says.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) from: Origin,
    pub(super) mode: Option<Said<String>>,
    /// `timeout NAME`.
    pub(super) times: HashMap<String, Said<Duration>>,
    /// `maxconn` and other words with a number.
    pub(super) numbers: HashMap<&'static str, Said<u64>>,
    /// The words of `option NAME`, those that were taken back left out.
    pub(super) options: HashMap<String, Line>,
    /// The last option that says what a check is, such as `httpchk`.
    pub(super) check: Option<Line>,
    /// It has rules `http-check` itself, and `option httpchk` only by default.
    pub(super) has_bare_rules: bool,
    /// The last line of each word that counts once, such as `balance`.
    pub(super) last: HashMap<&'static str, Line>,
    /// The lines of each word that adds something, such as `bind`.
    pub(super) lines: HashMap<&'static str, Vec<Line>>,
    /// The lines of servers and of `default-server`, which counts for those after it.
    pub(super) servers: Vec<Line>,
    /// The lines of a section of HTTP that are none of the above.
    pub(super) http: Vec<Line>,
    pub(super) is_disabled: bool,
    /// The `stick-table` of every section, by the section's name.
    pub(super) tables: Rc<HashMap<String, Line>>,
}

/// Words with a number.
const NUMBERS: [&str; 9] = [
    "maxconn",
    "backlog",
    "fullconn",
    "clitcpka-cnt",
    "clitcpka-idle",
    "clitcpka-intvl",
    "srvtcpka-cnt",
    "srvtcpka-idle",
    "srvtcpka-intvl",
];

/// Words of which the last line counts.
const ONCE: [&str; 6] = [
    "balance",
    "default_backend",
    "dispatch",
    "rate-limit",
    "source",
    "stick-table",
];

/// Words of which each line adds something.
const ADDING: [&str; 11] = [
    "acl",
    "bind",
    "default-server",
    "http-check",
    "server",
    "server-template",
    "stats",
    "stick",
    "tcp-check",
    "tcp-request",
    "use_backend",
];

/// Options that say what a check is.
const CHECKS: [&str; 9] = [
    "external-check",
    "httpchk",
    "ldap-check",
    "mysql-check",
    "pgsql-check",
    "redis-check",
    "smtpchk",
    "ssl-hello-chk",
    "tcp-check",
];

/// Has each section know the tables of all.
pub(super) fn share_tables(proxies: &mut [Proxy]) {
    let table = |proxy: &Proxy| {
        let line = proxy.last.get("stick-table")?;
        Some((proxy.name.clone(), line.clone()))
    };
    let tables: Rc<HashMap<_, _>> = Rc::new(proxies.iter().filter_map(table).collect());
    for proxy in proxies {
        proxy.tables = tables.clone();
    }
}

impl Proxy {
    /// Whether it accepts connections.
    pub(super) fn is_frontend(&self) -> bool {
        self.kind != "backend"
    }

    /// Whether it has servers.
    pub(super) fn is_backend(&self) -> bool {
        self.kind != "frontend"
    }

    /// Whether it is one that forwards TCP.
    pub(super) fn is_tcp(&self) -> bool {
        self.mode.as_ref().is_none_or(|mode| mode.value == "tcp")
    }

    /// The lines of a word that adds something.
    pub(super) fn all(&self, word: &str) -> &[Line] {
        self.lines.get(word).map_or(&[], Vec::as_slice)
    }

    /// Reads a section, after the lines that count for it by default.
    ///
    /// # Errors
    /// What isn't as it must be, with its place.
    pub(super) fn read(
        section: &Section,
        inherited: &[Line],
        notes: &mut Notes,
    ) -> Result<Self, String> {
        if section.name().is_empty() {
            return Err(format!("{}: a name is missing", section.from.place));
        }
        let mut proxy = Self {
            kind: section.kind,
            name: section.name().to_owned(),
            from: section.from.clone(),
            mode: None,
            times: HashMap::new(),
            numbers: HashMap::new(),
            options: HashMap::new(),
            check: None,
            has_bare_rules: false,
            last: HashMap::new(),
            lines: HashMap::new(),
            servers: Vec::new(),
            http: Vec::new(),
            is_disabled: false,
            tables: Rc::default(),
        };
        let mut lines = inherited.iter().chain(&section.lines);
        if let Some(line) = lines.rfind(|line| line.words[0] == "mode") {
            let mode = line.words.get(1).cloned().unwrap_or_default();
            proxy.mode = Some(Said::new(mode, &line.from));
        }
        // A section of HTTP is one loss, and not one for each of its lines.
        let mut unheard = Notes::default();
        let notes = if proxy.is_tcp() { notes } else { &mut unheard };
        let own = &section.lines;
        proxy.has_bare_rules = own.iter().any(|line| line.words[0] == "http-check")
            && !asks(own, "httpchk")
            && asks(inherited, "httpchk");
        let inherited = inherited::inherited(inherited.to_vec(), own, notes);
        for line in inherited.iter().chain(own) {
            proxy.line(line, notes)?;
        }
        Ok(proxy)
    }

    fn line(&mut self, line: &Line, notes: &mut Notes) -> Result<(), String> {
        let from = &line.from;
        let wrong = |reason: &str| Err(format!("{}: {reason}", from.place));
        let words = line.words();
        let has_arguments = words.len() > 1;
        match words[..] {
            ["mode", _] => {}
            ["disabled"] => self.is_disabled = true,
            ["enabled"] => self.is_disabled = false,
            ["no", "option", name, ..] => {
                self.options.remove(name);
                self.check.take_if(|check| check.words[1] == name);
            }
            ["option", name, ..] => {
                if CHECKS.contains(&name) {
                    self.check = Some(line.clone());
                }
                self.options.insert(name.to_owned(), line.clone());
            }
            ["timeout", name, text] => {
                let Some(time) = time::parse(text) else {
                    return wrong("this is no time; write a number with us, ms, s, m, h or d");
                };
                self.times.insert(name.to_owned(), Said::new(time, from));
            }
            [word, text] if NUMBERS.contains(&word) => {
                // Times of keepalive are numbers of seconds, with a unit or without.
                let seconds = || time::parse(text).map(|time| time.as_secs());
                let Some(number) = text.parse().ok().or_else(seconds) else {
                    return wrong("a number is expected");
                };
                if let Some(word) = NUMBERS.iter().find(|known| **known == word) {
                    self.numbers.insert(word, Said::new(number, from));
                }
            }
            [word, ..] if ONCE.contains(&word) => {
                if !has_arguments {
                    return wrong("something is missing after this word");
                }
                if let Some(word) = ONCE.iter().find(|known| **known == word) {
                    self.last.insert(word, line.clone());
                }
            }
            [word, ..] if ADDING.contains(&word) => {
                let needed = match word {
                    "server" => 3,
                    "server-template" => 4,
                    _ => 2,
                };
                if words.len() < needed {
                    return wrong("something is missing after this word");
                }
                if let Some(word) = ADDING.iter().find(|known| **known == word) {
                    self.lines.entry(word).or_default().push(line.clone());
                }
                if matches!(word, "default-server" | "server" | "server-template") {
                    self.servers.push(line.clone());
                }
            }
            _ if self.is_tcp() => useless::line(&words, from, notes),
            _ => self.http.push(line.clone()),
        }
        Ok(())
    }
}
