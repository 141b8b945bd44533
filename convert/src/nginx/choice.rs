//! Variables by which a server is chosen: `map`, `geo`, `split_clients` and `set` become branches, each with what it asks of a
//! connection, of which the first that suits decides.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::super::access::{network, written};
use super::super::origin::Origin;
use super::branch::{Branch, Condition, To};
use super::cases::Cases;
use super::directive::Directive;

/// Variables that are made of variables.
const DEPTH_MAX: usize = 8;

/// Branches of one choice.
const BRANCHES_MAX: usize = 10_000;

/// All that defines variables.
#[derive(Debug, Default)]
pub(super) struct Variables<'d>(HashMap<&'d str, &'d Directive>);

/// The branches, and what differs a little.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The last one has no conditions.
    pub(super) branches: Vec<Branch>,
    /// Differences, with what they are about.
    pub(super) losses: Vec<(Origin, String)>,
}

impl<'d> Variables<'d> {
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
            self.0.insert(name, directive);
        }
    }

    /// The branches of a text with variables in it, or why there are none.
    pub(super) fn choose(&self, text: &str, from: &Origin) -> Result<Choice, String> {
        let mut choice = Choice::default();
        choice.branches = self.branches(text, from, &mut choice.losses, 0)?;
        Ok(choice)
    }

    fn branches(
        &self,
        text: &str,
        from: &Origin,
        losses: &mut Vec<(Origin, String)>,
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
        let Some(definition) = self.0.get(name) else {
            return Err(no_definition(name));
        };
        let own = match definition.name.as_str() {
            "map" => self.map(definition, losses, depth)?,
            "geo" => geo(definition)?,
            "split_clients" => split(definition, losses)?,
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
                    let inner = self.branches(&around(&value), &branch.from, losses, depth + 1)?;
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
        losses: &mut Vec<(Origin, String)>,
        depth: usize,
    ) -> Result<Vec<Branch>, String> {
        let source = map.value();
        let Some(("", name, "")) = variable(source)? else {
            return Err(format!(
                "`map` goes by {source:?}, which is more than one variable"
            ));
        };
        let cases = Cases::new(map);
        let subject = match name {
            "ssl_preread_server_name" => return cases.by_name(losses),
            "ssl_preread_alpn_protocols" => return cases.by_protocol(losses),
            "ssl_preread_protocol" => return cases.by_version(losses),
            "server_port" => "port",
            "remote_addr" | "binary_remote_addr" | "proxy_protocol_addr" => "source",
            "realip_remote_addr" => "peer",
            _ if self.0.contains_key(name) => {
                // What the other variable can be is known, so this one is looked up for each.
                let mut branches = self.branches(source, &map.from, losses, depth + 1)?;
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
                return Ok(branches);
            }
            _ => return Err(no_definition(name)),
        };
        cases.by_value(subject)
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

/// What both ask for; nothing if no connection can be both.
fn both(outer: &[Condition], inner: &[Condition]) -> Option<Vec<Condition>> {
    let mut all = outer.to_vec();
    for (key, values) in inner {
        let Some((_, found)) = all.iter_mut().find(|(other, _)| other == key) else {
            all.push((key, values.clone()));
            continue;
        };
        if found == &["*"] {
            found.clone_from(values);
        } else if values != &["*"] {
            found.retain(|value| values.contains(value));
            if found.is_empty() {
                return None;
            }
        }
    }
    Some(all)
}

/// The branches of a `geo`: the longest prefix decides, so it comes first.
fn geo(geo: &Directive) -> Result<Vec<Branch>, String> {
    let key = match geo.arguments.len() {
        0 | 1 => "source",
        _ => match geo.value() {
            "$remote_addr" | "$proxy_protocol_addr" => "source",
            "$realip_remote_addr" => "peer",
            other => return Err(format!("`geo` goes by `{other}`, of which no route knows")),
        },
    };
    let mut rest = Branch::new(Vec::new(), "", &geo.from);
    let mut nets = Vec::new();
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
                nets.push((
                    net,
                    Branch::new(vec![(key, vec![written(&net)])], to, &case.from),
                ));
            }
        }
    }
    nets.sort_by_key(|(net, _)| Reverse(net.prefix_len()));
    let mut branches: Vec<_> = nets.into_iter().map(|(_, branch)| branch).collect();
    branches.push(rest);
    Ok(branches)
}

/// The branches of a `split_clients`: one, by weight.
fn split(split: &Directive, losses: &mut Vec<(Origin, String)>) -> Result<Vec<Branch>, String> {
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
    losses.push((split.from.clone(), why.to_owned()));
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
