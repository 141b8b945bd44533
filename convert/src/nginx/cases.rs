//! The cases of a `map`, by what it goes by.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::super::origin::Origin;
use super::branch::Branch;
use super::directive::Directive;

/// What differs, each with what it is about.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) losses: Vec<(Origin, String)>,
    pub(super) remarks: Vec<(Origin, String)>,
}

impl Differences {
    pub(super) fn lose(&mut self, from: &Origin, why: impl Into<String>) {
        self.losses.push((from.clone(), why.into()));
    }

    pub(super) fn remark(&mut self, from: &Origin, why: impl Into<String>) {
        self.remarks.push((from.clone(), why.into()));
    }
}

/// The cases of a `map`.
pub(super) struct Cases<'d> {
    map: &'d Directive,
    default: (&'d str, &'d Origin),
    has_hostnames: bool,
    /// Keys and their values, without `default` and parameters.
    all: Vec<(&'d str, &'d str, &'d Origin)>,
}

impl<'d> Cases<'d> {
    pub(super) fn new(map: &'d Directive) -> Self {
        let mut cases = Self {
            map,
            default: ("", &map.from),
            has_hostnames: false,
            all: Vec::new(),
        };
        for case in map.inner() {
            match (case.name.as_str(), case.arguments.as_slice()) {
                ("hostnames", []) => cases.has_hostnames = true,
                ("volatile", []) => {}
                ("default", [value]) => cases.default = (&value.text, &case.from),
                (key, [value]) => {
                    let key = key.strip_prefix('\\').unwrap_or(key);
                    cases.all.push((key, &value.text, &case.from));
                }
                _ => {}
            }
        }
        cases
    }

    /// The branch of all that no key means.
    pub(super) fn rest(&self) -> Branch {
        Branch::new(Vec::new(), self.default.0, self.default.1)
    }

    /// The one branch where what the map goes by is always empty.
    pub(super) fn empty(&self) -> Result<Vec<Branch>, String> {
        let found = self.all.iter().find(|(key, ..)| key.is_empty());
        Ok(vec![found.map_or(self.rest(), |&(_, to, from)| {
            Branch::new(Vec::new(), to, from)
        })])
    }

    /// Values that must be equal, as texts.
    pub(super) fn by_value(
        &self,
        key: &'static str,
        differences: &mut Differences,
    ) -> Result<Vec<Branch>, String> {
        let mut branches = Vec::new();
        for &(value, to, from) in &self.all {
            if value.starts_with('~') {
                return Err(format!(
                    "the regular expression {value:?} is of no help here: a route has `{key}` with its values"
                ));
            }
            let value = value.to_ascii_lowercase();
            if value == "unix:" {
                differences.lose(from, "a route knows nothing of clients of unix sockets");
            } else if can_be(key, &value) {
                branches.push(Branch::new(vec![(key, vec![value])], to, from));
            } else {
                let why = match key {
                    "port" => "`map` compares texts, and no port is this one",
                    _ => {
                        "`map` compares texts, and no client's address is this one; `geo` goes by networks"
                    }
                };
                differences.remark(from, why);
            }
        }
        branches.push(self.rest());
        Ok(branches)
    }

    /// Server names: exact ones, then wildcards, the longest first, then regular expressions, as nginx has it.
    pub(super) fn by_name(&self, differences: &mut Differences) -> Result<Vec<Branch>, String> {
        let (mut exact, mut wild, mut regular) = (Vec::new(), Vec::new(), Vec::new());
        let mut nameless = None;
        for &(key, to, from) in &self.all {
            let names = |names: &[&str]| {
                let names = names.iter().map(|name| name.to_ascii_lowercase());
                Branch::new(vec![("sni", names.collect())], to, from)
            };
            if key.is_empty() {
                nameless = Some(Branch::new(Vec::new(), to, from));
            } else if let Some(expression) = key.strip_prefix('~') {
                match name_of(expression) {
                    Some(name) => regular.push(names(&[&name])),
                    None => differences.lose(from, "a route has no regular expressions; write the names, or \"*.example.com\" for all below one"),
                }
            } else if let (Some(below), true) = (key.strip_prefix('.'), self.has_hostnames) {
                wild.push((key.len(), names(&[below, &format!("*.{below}")])));
            } else if key.starts_with("*.") && self.has_hostnames {
                wild.push((key.len(), names(&[key])));
            } else if key.ends_with(".*") && self.has_hostnames {
                differences.lose(
                    from,
                    "a name with any end is not known here; write the names",
                );
            } else if key.starts_with('.') || key.contains('*') {
                let why = "without `hostnames` this is a name as it stands there, which no client asks for";
                differences.remark(from, why);
            } else {
                exact.push(names(&[key]));
            }
        }
        wild.sort_by_key(|(length, _)| Reverse(*length));
        let mut branches = exact;
        branches.extend(wild.into_iter().map(|(_, branch)| branch));
        branches.append(&mut regular);
        let rest = self.rest();
        match nameless {
            // Without the name they are those that no route with names takes.
            Some(nameless) if nameless.to != rest.to => {
                let conditions = vec![("sni", vec!["*".to_owned()])];
                branches.push(Branch { conditions, ..rest });
                branches.push(nameless);
            }
            _ => branches.push(rest),
        }
        Ok(branches)
    }

    /// Protocols: nginx compares the whole list that the client offers, here it is enough that the protocol is in it.
    pub(super) fn by_protocol(&self, differences: &mut Differences) -> Result<Vec<Branch>, String> {
        let mut branches = Vec::new();
        for &(key, to, from) in &self.all {
            let found = match key.strip_prefix('~') {
                Some(expression) => protocol_of(expression),
                None if key.is_empty() || key.contains(',') => None,
                None => {
                    let why = "the route takes clients that offer this protocol among others, too";
                    differences.lose(from, why);
                    Some(key)
                }
            };
            match found {
                Some(protocol) => {
                    branches.push(Branch::new(
                        vec![("alpn", vec![protocol.to_owned()])],
                        to,
                        from,
                    ));
                }
                None => {
                    let why = "a route asks for single protocols (`alpn`), not for a list or an expression";
                    differences.lose(from, why);
                }
            }
        }
        branches.push(self.rest());
        Ok(branches)
    }

    /// TLS or not: of its versions nothing is known.
    pub(super) fn by_version(&self, differences: &mut Differences) -> Result<Vec<Branch>, String> {
        let plain = self.all.iter().find(|(key, ..)| key.is_empty());
        let mut tls = self.all.iter().filter(|(key, ..)| !key.is_empty());
        let (to, from) = tls.next().map_or(self.default, |&(_, to, from)| (to, from));
        if tls.any(|(_, other, _)| *other != to) {
            return Err("a route does not go by the version of TLS".to_owned());
        }
        let rest = plain.map_or(self.rest(), |&(_, to, from)| {
            Branch::new(Vec::new(), to, from)
        });
        let why =
            "clients of TLS that ask for no server name and offer no protocol are taken for others";
        differences.lose(&self.map.from, why);
        let tls = |key| Branch::new(vec![(key, vec!["*".to_owned()])], to, from);
        Ok(vec![tls("sni"), rest])
    }

    /// The value of the wildcard that a name is below: the longest one, those of its end before those of its begin.
    fn by_wildcard(&self, name: &str) -> Option<&'d str> {
        if !self.has_hostnames {
            return None;
        }
        let longest = |is_below: &dyn Fn(&str) -> bool| {
            let found = self
                .all
                .iter()
                .filter(|(key, ..)| is_below(&key.to_ascii_lowercase()));
            found
                .max_by_key(|(key, ..)| key.len())
                .map(|(_, to, _)| *to)
        };
        let by_end = |key: &str| match key.strip_prefix('*') {
            Some(end) => end.starts_with('.') && name.len() > end.len() && name.ends_with(end),
            None => key
                .strip_prefix('.')
                .is_some_and(|below| name == below || name.ends_with(key)),
        };
        let by_begin = |key: &str| {
            key.strip_suffix('*').is_some_and(|begin| {
                begin.ends_with('.') && name.len() > begin.len() && name.starts_with(begin)
            })
        };
        longest(&by_end).or_else(|| longest(&by_begin))
    }

    /// The value of a case that is known.
    pub(super) fn look_up(&self, value: &str) -> Result<String, String> {
        let exact = self
            .all
            .iter()
            .find(|(key, ..)| key.eq_ignore_ascii_case(value));
        if let Some((_, to, _)) = exact {
            return Ok((*to).to_owned());
        }
        if let Some(to) = self.by_wildcard(&value.to_ascii_lowercase()) {
            return Ok(to.to_owned());
        }
        if value.is_empty() {
            return Ok(self.default.0.to_owned());
        }
        match self.all.iter().find(|(key, ..)| key.starts_with('~')) {
            Some((key, ..)) => Err(format!("the regular expression {key:?} is of no help here")),
            None => Ok(self.default.0.to_owned()),
        }
    }
}

/// Whether a text can be what nginx has as an address or as a port.
fn can_be(key: &str, text: &str) -> bool {
    match key {
        "port" => text
            .parse::<u16>()
            .is_ok_and(|port| port > 0 && port.to_string() == text),
        _ => text
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_string() == text),
    }
}

/// The name, or the wildcard, that a regular expression stands for.
fn name_of(expression: &str) -> Option<String> {
    let expression = expression.strip_prefix('*').unwrap_or(expression);
    let body = expression.strip_suffix('$')?;
    let (is_anchored, body) = match body.strip_prefix('^') {
        Some(body) => (true, body),
        None => (false, body),
    };
    let any = [".*\\.", ".+\\.", "(.*)\\.", "(.+)\\."];
    let below = any.iter().find_map(|any| body.strip_prefix(any));
    let (is_wild, literal) = match (below, is_anchored) {
        (Some(below), _) => (true, below),
        (None, true) => (false, body),
        (None, false) => (true, body.strip_prefix("\\.")?),
    };
    let name = literal.replace("\\.", "\0");
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == 0;
    if name.is_empty() || !name.bytes().all(is_plain) {
        return None;
    }
    let name = name.replace('\0', ".");
    Some(if is_wild { format!("*.{name}") } else { name })
}

/// The one protocol that a regular expression looks for.
fn protocol_of(expression: &str) -> Option<&str> {
    let body = expression.strip_prefix('*').unwrap_or(expression);
    let body = body.strip_prefix("\\b").unwrap_or(body);
    let body = body.strip_suffix("\\b").unwrap_or(body);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-/_".contains(&byte);
    (!body.is_empty() && body.bytes().all(is_plain)).then_some(body)
}
