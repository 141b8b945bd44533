//! Conditions: `acl` lines, and `if` and `unless`.

use std::collections::HashMap;
use std::path::Path;

use super::super::access;
use super::super::input::Surroundings;
use super::super::routing::Test;
use super::section::Line;

/// The most entries that the files of conditions may have together.
const ENTRIES_MAX: usize = 10_000;

/// What an expression asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// What a route can ask for.
    Route(Test),
    /// That the client speaks TLS, or that it has said something.
    Hello,
    /// Nothing: everybody suits.
    Everybody,
    /// What nobody has.
    Nobody,
    /// No server of these backends is up.
    AllDown(String),
    /// More than so many connections of one source are open.
    OpenOfSource(u64),
    /// More than so many connections of one source have come lately.
    RateOfSource(u64),
}

/// A part of a condition: one of what is asked for.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) any: Vec<Asked>,
    pub(super) is_negated: bool,
}

/// A condition: one of these, of which each has all of its terms.
pub(super) type Condition = Vec<Vec<Term>>;

/// The named expressions of a proxy. Several lines of one name mean that one of them is enough.
pub(super) struct Acls<'a> {
    named: HashMap<&'a str, Vec<Result<Asked, String>>>,
    surroundings: &'a dyn Surroundings,
}

impl<'a> Acls<'a> {
    pub(super) fn new(lines: &'a [Line], surroundings: &'a dyn Surroundings) -> Self {
        let mut named: HashMap<&str, Vec<_>> = HashMap::new();
        for line in lines {
            let words = line.words();
            let asked = expression(&words[2..], surroundings);
            named.entry(line.words[1].as_str()).or_default().push(asked);
        }
        Self {
            named,
            surroundings,
        }
    }

    /// What `if …` or `unless …` at the end of a line asks for; of no words at all, nothing.
    ///
    /// # Errors
    /// What can't be asked for here.
    pub(super) fn condition(&self, words: &[&str]) -> Result<Condition, String> {
        let condition = match words {
            [] => return Ok(vec![Vec::new()]),
            ["if", rest @ ..] => self.disjunction(rest)?,
            ["unless", rest @ ..] => match &self.disjunction(rest)?[..] {
                [terms] if terms.len() > 1 => {
                    // Not all of them: one of them doesn't suit.
                    terms.iter().map(|term| vec![term.clone().negated()]).collect()
                }
                one_each if one_each.iter().all(|terms| terms.len() == 1) => {
                    vec![one_each.iter().map(|terms| terms[0].clone().negated()).collect()]
                }
                _ => return Err("`unless` with both `or` and several conditions can't be turned around; write it as `if`".to_owned()),
            },
            [word, ..] => return Err(format!("`{word}` is neither `if` nor `unless`")),
        };
        Ok(condition)
    }

    fn disjunction(&self, words: &[&str]) -> Result<Condition, String> {
        let mut all = vec![Vec::new()];
        let mut rest = words;
        while let Some((&word, after)) = rest.split_first() {
            rest = after;
            if matches!(word, "or" | "||") {
                all.push(Vec::new());
                continue;
            }
            let mut is_negated = false;
            let mut name = word;
            while let Some(positive) = name.strip_prefix('!') {
                is_negated = !is_negated;
                name = positive;
                if name.is_empty() {
                    let (&next, after) = rest.split_first().ok_or("a condition ends with `!`")?;
                    (name, rest) = (next, after);
                }
            }
            let any = if name == "{" {
                let end = rest
                    .iter()
                    .position(|word| *word == "}")
                    .ok_or("a `}` is missing")?;
                let asked = expression(&rest[..end], self.surroundings)?;
                rest = &rest[end + 1..];
                vec![asked]
            } else {
                self.named(name)?
            };
            let term = Term { any, is_negated };
            if let Some(last) = all.last_mut() {
                last.push(term);
            }
        }
        if all.iter().any(Vec::is_empty) {
            return Err("a condition is missing".to_owned());
        }
        Ok(all)
    }

    fn named(&self, name: &str) -> Result<Vec<Asked>, String> {
        if let Some(found) = self.named.get(name) {
            return found.iter().cloned().collect();
        }
        let local = || {
            ["127.0.0.0/8", "::1"]
                .iter()
                .filter_map(|text| access::network(text))
                .collect()
        };
        Ok(vec![match name {
            "TRUE" | "WAIT_END" => Asked::Everybody,
            "FALSE" => Asked::Nobody,
            "LOCALHOST" => Asked::Route(Test::Source(local())),
            "REQ_CONTENT" => Asked::Hello,
            _ => {
                return Err(format!(
                    "the condition `{name}` is not defined, or asks for HTTP or RDP, which corelane doesn't read"
                ));
            }
        }])
    }
}

impl Term {
    fn negated(self) -> Self {
        let is_negated = !self.is_negated;
        Self { is_negated, ..self }
    }
}

/// An expression: what it is about, flags, and values.
fn expression(words: &[&str], surroundings: &dyn Surroundings) -> Result<Asked, String> {
    let (&subject, rest) = words.split_first().ok_or("an expression is missing")?;
    let (mut flags, mut values): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = rest.iter();
    while let Some(&word) = rest.next() {
        match word {
            "-f" => {
                let path = rest.next().ok_or("-f needs a file")?;
                values.extend(entries(path, surroundings)?);
            }
            "-m" => flags.push(rest.next().ok_or("-m needs a method")?),
            "-u" => drop(rest.next()),
            "-i" | "-n" | "-M" => {}
            "--" => values.extend(rest.by_ref().map(|value| (*value).to_owned())),
            value => values.push(value.to_owned()),
        }
    }
    let mut converters = subject.split(',');
    let fetched = converters.next().unwrap_or_default();
    if let Some(converter) = converters.find(|converter| !matches!(*converter, "lower" | "upper")) {
        return Err(format!("corelane has no converter `{converter}`"));
    }
    let (function, argument) = match fetched.split_once('(') {
        Some((function, argument)) => (function, argument.trim_end_matches(')')),
        None => (fetched, ""),
    };
    match function {
        "always_true" => Ok(Asked::Everybody),
        "always_false" => Ok(Asked::Nobody),
        "src" => networks(&values).map(|networks| Asked::Route(Test::Source(networks))),
        "req.ssl_sni" | "req_ssl_sni" => sni(&flags, &values),
        "req.ssl_alpn" => Ok(Asked::Route(Test::Alpn(values))),
        "dst_port" | "fc_dst_port" => ports(&values).map(|ports| Asked::Route(Test::Port(ports))),
        "req.ssl_hello_type" | "req_ssl_hello_type" | "req.ssl_ver" | "req_ssl_ver" | "req.len"
        | "req_len" | "req_proto_tls" => Ok(Asked::Hello),
        "nbsrv" => match (&values[..], limit(&values)) {
            ([zero], _) if zero == "0" => Ok(Asked::AllDown(argument.to_owned())),
            ([operator, _], _)
                if matches!(operator.as_str(), "lt" | "le" | "eq") && is_none(&values) =>
            {
                Ok(Asked::AllDown(argument.to_owned()))
            }
            _ => Err("corelane asks whether any server is up, and not how many".to_owned()),
        },
        "src_conn_cur" | "sc0_conn_cur" | "sc1_conn_cur" | "sc2_conn_cur" | "sc_conn_cur" => {
            limit(&values)
                .map(Asked::OpenOfSource)
                .ok_or_else(|| "a limit is expected, as in `gt 10`".to_owned())
        }
        "src_conn_rate" | "sc0_conn_rate" | "sc1_conn_rate" | "sc2_conn_rate" | "sc_conn_rate" => {
            limit(&values)
                .map(Asked::RateOfSource)
                .ok_or_else(|| "a limit is expected, as in `gt 10`".to_owned())
        }
        _ => Err(format!(
            "corelane can't ask for `{function}`; routes ask for sni, alpn, source and port"
        )),
    }
}

/// The lines of a file, those that are comments or empty left out.
fn entries(path: &str, surroundings: &dyn Surroundings) -> Result<Vec<String>, String> {
    let input = surroundings
        .read(Path::new(path), Path::new(""))
        .map_err(|reason| format!("the file {path} is not read: {reason}"))?;
    let text = input.text()?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries: Vec<_> = lines.take(ENTRIES_MAX + 1).map(str::to_owned).collect();
    if entries.len() > ENTRIES_MAX {
        return Err(format!(
            "the file {path} has more than {ENTRIES_MAX} entries"
        ));
    }
    Ok(entries)
}

/// The pairs of a map's file.
///
/// # Errors
/// Why it can't be read.
pub(super) fn map(
    path: &str,
    surroundings: &dyn Surroundings,
) -> Result<Vec<(String, String)>, String> {
    let pairs = entries(path, surroundings)?.into_iter().filter_map(|line| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        Some((key.to_owned(), value.trim().to_owned()))
    });
    Ok(pairs.collect())
}

fn networks(values: &[String]) -> Result<Vec<ipnet::IpNet>, String> {
    let network = |text: &String| {
        access::network(text)
            .ok_or_else(|| format!("{text} is no network; names of hosts are not asked for"))
    };
    match values {
        [] => Err("a network is missing".to_owned()),
        _ => values.iter().map(network).collect(),
    }
}

fn sni(flags: &[&str], values: &[String]) -> Result<Asked, String> {
    let names = match flags {
        [] | ["str"] => values
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect(),
        ["end" | "dom"] => values.iter().flat_map(|suffix| suffixes(suffix)).collect(),
        ["found"] => vec!["*".to_owned()],
        [method, ..] => {
            return Err(format!(
                "names are compared as a whole or by their ends, and not by `-m {method}`"
            ));
        }
    };
    Ok(Asked::Route(Test::Sni(names)))
}

/// The names that end with a text.
pub(super) fn suffixes(suffix: &str) -> Vec<String> {
    let suffix = suffix.to_ascii_lowercase();
    match suffix.strip_prefix('.') {
        Some(_) => vec![format!("*{suffix}")],
        None => vec![suffix.clone(), format!("*.{suffix}")],
    }
}

fn ports(values: &[String]) -> Result<Vec<(u16, u16)>, String> {
    let values = match values {
        [operator, rest @ ..] if operator == "eq" => rest,
        values => values,
    };
    let port = |text: &String| {
        let (low, high) = text.split_once([':', '-']).unwrap_or((text, text));
        match (low.parse(), high.parse()) {
            (Ok(low), Ok(high)) if low <= high && low > 0 => Ok((low, high)),
            _ => Err(format!(
                "{text} is no port; routes ask for ports and ranges of them"
            )),
        }
    };
    match values {
        [] => Err("a port is missing".to_owned()),
        _ => values.iter().map(port).collect(),
    }
}

/// How many there may be where more than that are asked for.
fn limit(values: &[String]) -> Option<u64> {
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    match values[..] {
        ["gt", number] => number.parse().ok(),
        ["ge", number] => number.parse::<u64>().ok()?.checked_sub(1),
        _ => None,
    }
}

/// Whether a comparison asks for none.
fn is_none(values: &[String]) -> bool {
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    matches!(values[..], ["lt", "1"] | ["le", "0"] | ["eq", "0"])
}

#[cfg(test)]
mod tests {
    use super::super::super::input::Nowhere;
    use super::*;

    fn asked(text: &str) -> Result<Asked, String> {
        let words: Vec<_> = text.split(' ').collect();
        expression(&words, &Nowhere)
    }

    #[test]
    fn expressions_are_what_routes_ask_for_or_say_why_not() {
        let sni = |names: &[&str]| {
            Asked::Route(Test::Sni(
                names.iter().map(|name| (*name).to_owned()).collect(),
            ))
        };
        assert_eq!(
            asked("req.ssl_sni -i A.example.com"),
            Ok(sni(&["a.example.com"]))
        );
        assert_eq!(
            asked("req_ssl_sni,lower -m end .example.com"),
            Ok(sni(&["*.example.com"]))
        );
        assert_eq!(asked("req.ssl_sni -m found"), Ok(sni(&["*"])));
        assert_eq!(
            asked("dst_port eq 443 8000:8010"),
            Ok(Asked::Route(Test::Port(vec![(443, 443), (8000, 8010)])))
        );
        assert_eq!(
            asked("nbsrv(main) lt 1"),
            Ok(Asked::AllDown("main".to_owned()))
        );
        assert_eq!(asked("sc0_conn_rate gt 20"), Ok(Asked::RateOfSource(20)));
        assert_eq!(asked("src_conn_cur ge 10"), Ok(Asked::OpenOfSource(9)));
        for text in [
            "req.ssl_sni -m reg ^a",
            "src here",
            "src",
            "nbsrv(a) lt 2",
            "hdr(host) a",
            "dst_port ge 80",
            "src_conn_cur 3",
            "src,ipmask(24) 10.0.0.0",
        ] {
            assert!(asked(text).is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_are_read_with_their_negations() {
        let acls = Acls::new(&[], &Nowhere);
        let shown = |text: &str| {
            let words: Vec<_> = text.split(' ').collect();
            acls.condition(&words).map(|all| {
                let terms = all
                    .iter()
                    .map(|terms| terms.iter().map(|term| term.is_negated).collect::<Vec<_>>());
                terms.collect::<Vec<_>>()
            })
        };
        assert_eq!(
            shown("if LOCALHOST !FALSE or ! TRUE"),
            Ok(vec![vec![false, true], vec![true]])
        );
        assert_eq!(
            shown("unless LOCALHOST or !FALSE"),
            Ok(vec![vec![true, false]])
        );
        assert_eq!(
            shown("unless LOCALHOST FALSE"),
            Ok(vec![vec![true], vec![true]])
        );
        assert_eq!(shown("if !{ src 10.0.0.1 }"), Ok(vec![vec![true]]));
        for text in [
            "if",
            "unless",
            "if {",
            "if !",
            "if a",
            "when TRUE",
            "unless TRUE FALSE or TRUE",
            "if TRUE or",
        ] {
            assert!(shown(text).is_err(), "{text}");
        }
    }
}
