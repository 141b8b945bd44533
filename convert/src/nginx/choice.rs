//! Variables by which a server is chosen: `map`, `geo`, `split_clients` and `set` become branches, each with what it asks of a
//! connection, of which the first that suits decides.

use std::cmp::Reverse;
use std::collections::HashMap;

use ipnet::IpNet;

use super::super::access::{network, written};
use super::super::intersection::both;
use super::super::origin::Origin;
use super::branch::{Branch, To};
use super::cases::{Cases, Differences};
use super::directive::Directive;

/// Variables that are made of variables.
const DEPTH_MAX: usize = 8;

/// Branches of one choice.
const BRANCHES_MAX: usize = 10_000;

/// All that defines variables.
#[derive(Debug)]
pub(super) struct Variables<'d> {
    definitions: HashMap<&'d str, &'d Directive>,
    heard: Heard,
}

/// What nginx hears of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    /// Whether ClientHellos are read (`ssl_preread`).
    pub(super) tls: bool,
    /// Whether a header announces a client.
    pub(super) header: bool,
    /// Whether who is announced is believed.
    pub(super) is_believed: bool,
}

/// The branches, and what differs a little.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The last one has no conditions.
    pub(super) branches: Vec<Branch>,
    /// What differs.
    pub(super) differences: Differences,
}

impl<'d> Variables<'d> {
    /// Variables that nothing defines yet.
    pub(super) fn new(heard: Heard) -> Self {
        let definitions = HashMap::new();
        Self { definitions, heard }
    }

    /// Notes what these directives define.
    pub(super) fn add_all(&mut self, directives: &'d [Directive]) {
        for directive in directives {
            self.add(directive);
        }
    }

    /// Notes what a directive defines, if it defines a variable.
    fn add(&mut self, directive: &'d Directive) {
        let place = match directive.name.as_str() {
            "map" | "split_clients" => 1,
            "geo" => directive.arguments.len().saturating_sub(1),
            "set" => 0,
            _ => return,
        };
        if let Some(name) = directive
            .argument(place)
            .and_then(|text| text.strip_prefix('$'))
        {
            self.definitions.insert(name, directive);
        }
    }

    /// The branches of a text with variables in it, or why there are none.
    pub(super) fn choose(&self, text: &str, from: &Origin) -> Result<Choice, String> {
        let mut choice = Choice::default();
        choice.branches = self.branches(text, from, &mut choice.differences, 0)?;
        Ok(choice)
    }

    fn branches(
        &self,
        text: &str,
        from: &Origin,
        differences: &mut Differences,
        depth: usize,
    ) -> Result<Vec<Branch>, String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "variables are made of variables more than {DEPTH_MAX} deep"
            ));
        }
        let Some((before, name, after)) = variable(text)? else {
            return Ok(vec![Branch {
                conditions: Vec::new(),
                to: To::Value(text.to_owned()),
                from: from.clone(),
            }]);
        };
        let Some(definition) = self.definitions.get(name) else {
            return Err(no_definition(name));
        };
        let own = match definition.name.as_str() {
            "map" => self.map(definition, differences, depth)?,
            "geo" => self.geo(definition, differences)?,
            "split_clients" => split(definition, differences)?,
            _ => vec![Branch {
                conditions: Vec::new(),
                to: To::Value(definition.argument(1).unwrap_or_default().to_owned()),
                from: definition.from.clone(),
            }],
        };
        let mut branches = Vec::new();
        for branch in own {
            let around = |value: &str| format!("{before}{value}{after}");
            match branch.to {
                To::Split(parts) => {
                    let parts = parts
                        .into_iter()
                        .map(|(value, weight)| (around(&value), weight));
                    let to = To::Split(parts.collect());
                    branches.push(Branch { to, ..branch });
                }
                To::Value(value) => {
                    let inner =
                        self.branches(&around(&value), &branch.from, differences, depth + 1)?;
                    for below in inner {
                        if let Some(conditions) = both(&branch.conditions, &below.conditions) {
                            branches.push(Branch {
                                conditions,
                                ..below
                            });
                        }
                    }
                }
            }
            if branches.len() > BRANCHES_MAX {
                return Err(format!("it leads to more than {BRANCHES_MAX} cases"));
            }
        }
        Ok(branches)
    }

    /// The branches of a `map`, whose values may be variables.
    fn map(
        &self,
        map: &Directive,
        differences: &mut Differences,
        depth: usize,
    ) -> Result<Vec<Branch>, String> {
        let source = map.value();
        let Some(("", name, "")) = variable(source)? else {
            return Err(format!(
                "`map` goes by {source:?}, which is more than one variable"
            ));
        };
        let cases = Cases::new(map);
        match name {
            "ssl_preread_server_name" | "ssl_preread_alpn_protocols" | "ssl_preread_protocol"
                if !self.heard.tls =>
            {
                let why = "without `ssl_preread` nginx knows nothing of what clients of TLS ask for, so that all of them go as those that ask for nothing";
                differences.remark(&map.from, why);
                cases.empty()
            }
            "ssl_preread_server_name" => cases.by_name(differences),
            "ssl_preread_alpn_protocols" => cases.by_protocol(differences),
            "ssl_preread_protocol" => cases.by_version(differences),
            "server_port" => cases.by_value("port", differences),
            "binary_remote_addr" => {
                let why = "`map` compares texts, and this address is none; `geo` goes by networks";
                differences.remark(&map.from, why);
                Ok(vec![cases.rest()])
            }
            _ if self.definitions.contains_key(name) => {
                // What the other variable can be is known, so this one is looked up for each.
                let mut branches = self.branches(source, &map.from, differences, depth + 1)?;
                for branch in &mut branches {
                    let To::Value(value) = &branch.to else {
                        return Err("`map` goes by what `split_clients` chooses".to_owned());
                    };
                    let found = cases.look_up(value)?;
                    // What it goes by is known here, too.
                    if found != source {
                        branch.to = To::Value(found);
                    }
                }
                Ok(branches)
            }
            _ => match self.address(name) {
                Some(Some(key)) => cases.by_value(key, differences),
                Some(None) => {
                    differences.remark(
                        &map.from,
                        "without a header of the PROXY protocol it is empty",
                    );
                    cases.empty()
                }
                None => Err(no_definition(name)),
            },
        }
    }

    /// The key of a route that goes by the address that a variable has; nothing within if there is none in it.
    fn address(&self, name: &str) -> Option<Option<&'static str>> {
        let Heard {
            header,
            is_believed,
            ..
        } = self.heard;
        Some(match name {
            "remote_addr" if header && !is_believed => Some("peer"),
            "remote_addr" => Some("source"),
            "proxy_protocol_addr" => header.then_some("source"),
            "realip_remote_addr" => Some("peer"),
            _ => return None,
        })
    }

    /// The branches of a `geo`: the longest prefix decides, so it comes first.
    fn geo(&self, geo: &Directive, differences: &mut Differences) -> Result<Vec<Branch>, String> {
        let by = match geo.arguments.len() {
            0 | 1 => "$remote_addr",
            _ => geo.value(),
        };
        let name = by.trim_start_matches('$').trim_matches(['{', '}']);
        let key = match self.address(name) {
            Some(Some(key)) => key,
            Some(None) => {
                return Err(format!(
                    "`geo` goes by `{by}`, which is empty without a header of the PROXY protocol"
                ));
            }
            None => return Err(format!("`geo` goes by `{by}`, of which no route knows")),
        };
        networks(geo, key, differences)
    }
}

/// The first variable of a text, with what stands before and after it.
fn variable(text: &str) -> Result<Option<(&str, &str, &str)>, String> {
    let Some((before, rest)) = text.split_once('$') else {
        return Ok(None);
    };
    let (name, after) = match rest.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or("`${` has no `}`")?,
        None => {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            rest.split_at(rest.bytes().take_while(is_part).count())
        }
    };
    match name {
        "" => Err(format!("{text:?} has a `$` without a name")),
        _ => Ok(Some((before, name, after))),
    }
}

fn no_definition(name: &str) -> String {
    match name {
        "ssl_preread_server_name" => "the server would be whatever name the client asks for; write a route for each name (`sni`)".to_owned(),
        "hostname" | "server_addr" | "remote_addr" | "binary_remote_addr" | "remote_port" | "server_port" => {
            format!("a server is not made of `${name}` here; write the servers that there are")
        }
        _ => format!("`${name}` is not known by what corelane hears of a connection; route by `sni`, `alpn`, `source`, `peer` or `port`"),
    }
}

/// The branches of a `geo` by a key.
fn networks(
    geo: &Directive,
    key: &'static str,
    differences: &mut Differences,
) -> Result<Vec<Branch>, String> {
    let mut rest = Branch::new(Vec::new(), "", &geo.from);
    let mut nets: HashMap<IpNet, Branch> = HashMap::new();
    for case in geo.inner() {
        let to = case.value();
        match case.name.as_str() {
            "default" if !to.contains('$') => rest = Branch::new(Vec::new(), to, &case.from),
            "ranges" => return Err("`geo` with ranges of addresses; write networks".to_owned()),
            _ if to.contains('$') => {
                return Err(format!(
                    "`geo` has no variables as values, so {to:?} is nothing"
                ));
            }
            "delete" | "proxy" | "proxy_recursive" => {
                return Err(format!("`{}` in `geo`", case.name));
            }
            name => {
                let net = network(name).ok_or_else(|| format!("{name:?} is no network"))?;
                let branch = Branch::new(vec![(key, vec![written(&net)])], to, &case.from);
                if let Some(first) = nets.insert(net, branch) {
                    let why = "the same network comes again, and the last one counts";
                    differences.remark(&first.from, why);
                }
            }
        }
    }
    let mut nets: Vec<_> = nets.into_iter().collect();
    nets.sort_by_key(|(net, branch)| (Reverse(net.prefix_len()), branch.from.place.line, *net));
    let mut branches: Vec<_> = nets.into_iter().map(|(_, branch)| branch).collect();
    branches.push(rest);
    Ok(branches)
}

/// The branches of a `split_clients`: one, by weight.
fn split(split: &Directive, differences: &mut Differences) -> Result<Vec<Branch>, String> {
    const WHOLE: u64 = 10_000;
    let mut left = WHOLE;
    let mut parts = Vec::new();
    for case in split.inner() {
        let weight = match case.name.strip_suffix('%') {
            None if case.name == "*" => left,
            percent => percent
                .and_then(hundredths)
                .ok_or_else(|| format!("{:?} is no share", case.name))?,
        };
        left = left
            .checked_sub(weight)
            .ok_or("the shares are more than 100%")?;
        parts.push((case.value().to_owned(), weight));
    }
    if left > 0 {
        parts.push((String::new(), left));
    }
    if parts.iter().any(|(value, _)| value.contains('$')) {
        return Err("`split_clients` leads to variables".to_owned());
    }
    let why = "clients go by turn, in these shares; nginx decides by a hash of this text, so that the same client goes the same way";
    differences.lose(&split.from, why);
    Ok(vec![Branch {
        conditions: Vec::new(),
        to: To::Split(parts),
        from: split.from.clone(),
    }])
}

/// A percentage with up to two decimals, in hundredths of a percent.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    let part: u64 = format!("{part:0<2}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(part)
}
