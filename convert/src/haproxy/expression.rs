//! An expression of a condition: what is asked of a connection.

use super::super::access;
use super::super::input::Surroundings;
use super::super::routing::Test;
use super::entries;

/// What an expression asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// What a route can ask for.
    Route(Test),
    /// The same of fewer than it means, and why.
    Nearly(Test, String),
    /// That the client says a ClientHello.
    Hello,
    /// That it says something.
    Said,
    /// That it says nothing.
    Silent,
    /// Nothing: everybody suits.
    Everybody,
    /// What nobody has.
    Nobody,
    /// No server of these backends is up.
    AllDown(String),
    /// More than so many connections of one source are open.
    OpenOfSource(u64, Counted),
    /// More than so many connections of one source have come lately.
    RateOfSource(u64, Counted),
}

/// Where a limit of sources has its numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counted {
    /// In what a counter tracks (`0` of `sc0`).
    pub(super) counter: Option<String>,
    /// In the table of this section; else in that of the counter, or of the section itself.
    pub(super) table: Option<String>,
}

/// An expression: what it is about, flags, and values.
pub(super) fn read(words: &[&str], surroundings: &dyn Surroundings) -> Result<Asked, String> {
    let (&subject, rest) = words.split_first().ok_or("an expression is missing")?;
    let (mut flags, mut values): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = rest.iter();
    while let Some(&word) = rest.next() {
        match word {
            "-f" => {
                let path = rest.next().ok_or("-f needs a file")?;
                values.extend(entries::lines(path, surroundings)?);
            }
            "-m" => flags.push(rest.next().ok_or("-m needs a method")?),
            "-u" => drop(rest.next()),
            "-i" | "-n" | "-M" => {}
            "--" => values.extend(rest.by_ref().map(|value| (*value).to_owned())),
            value => values.push(value.to_owned()),
        }
    }
    let mut converters = converters(subject).into_iter();
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
        "req.ssl_alpn" => match flags[..] {
            [] | ["str"] => Ok(Asked::Route(Test::Alpn(values))),
            [method, ..] => Err(format!(
                "protocols are compared as a whole, and not by `-m {method}`"
            )),
        },
        "dst_port" | "fc_dst_port" => ports(&values).map(|ports| Asked::Route(Test::Port(ports))),
        "req.ssl_hello_type" | "req_ssl_hello_type" => match operands(&values)[..] {
            ["1"] | ["eq", "1"] => Ok(Asked::Hello),
            _ => Err(
                "corelane knows a ClientHello (`req.ssl_hello_type 1`), and no other type"
                    .to_owned(),
            ),
        },
        "req.ssl_ver" | "req_ssl_ver" => match is_any_version(&values) {
            true => Ok(Asked::Hello),
            false => Err("corelane doesn't go by the version of TLS".to_owned()),
        },
        "req.len" | "req_len" => match operands(&values)[..] {
            ["gt", "0"] | ["ge", "1"] => Ok(Asked::Said),
            ["0"] | ["eq" | "le", "0"] | ["lt", "1"] => Ok(Asked::Silent),
            _ => Err("corelane doesn't go by how much a client says".to_owned()),
        },
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
                .map(|limit| Asked::OpenOfSource(limit, counted(function, argument)))
                .ok_or_else(|| "a limit is expected, as in `gt 10`".to_owned())
        }
        "src_conn_rate" | "sc0_conn_rate" | "sc1_conn_rate" | "sc2_conn_rate" | "sc_conn_rate" => {
            limit(&values)
                .map(|limit| Asked::RateOfSource(limit, counted(function, argument)))
                .ok_or_else(|| "a limit is expected, as in `gt 10`".to_owned())
        }
        _ => Err(format!(
            "corelane can't ask for `{function}`; routes ask for sni, alpn, source and port"
        )),
    }
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
        [method @ ("end" | "dom")] => return Ok(ending(method, values)),
        ["found"] => vec!["*".to_owned()],
        [method, ..] => {
            return Err(format!(
                "names are compared as a whole or by their ends, and not by `-m {method}`"
            ));
        }
    };
    Ok(Asked::Route(Test::Sni(names)))
}

/// The names that end with one of these, or that have it between dots (`dom`). Routes ask for a name, or for all names below one.
pub(super) fn ending(method: &str, values: &[String]) -> Asked {
    let mut names = Vec::new();
    let mut others = None;
    for value in values {
        let value = value.to_ascii_lowercase();
        match (method, value.strip_prefix('.')) {
            ("end", Some(_)) => names.push(format!("*{value}")),
            ("end", None) => {
                others.get_or_insert_with(|| format!("names that end with `{value}`, such as `other{value}`, are not meant here, but {value} and the names below it"));
                names.extend([value.clone(), format!("*.{value}")]);
            }
            _ => {
                let value = value.trim_matches('.');
                others.get_or_insert_with(|| format!("names with `{value}` before their end, such as `{value}.example.net`, are not meant here, but {value} and the names below it"));
                names.extend([value.to_owned(), format!("*.{value}")]);
            }
        }
    }
    match others {
        None => Asked::Route(Test::Sni(names)),
        Some(why) => Asked::Nearly(Test::Sni(names), why),
    }
}

/// A fetch and its converters: what stands between commas, of which those in parentheses are none.
fn converters(subject: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let is_comma = |character: char| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    };
    subject.split(is_comma).collect()
}

fn operands(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

/// Whether a comparison holds for each version that TLS has had, of which the first one is 3.1.
fn is_any_version(values: &[String]) -> bool {
    matches!(
        operands(values)[..],
        ["ge", "3" | "3.0" | "3.1"] | ["gt", "3" | "3.0"]
    )
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

/// Where a fetch looks: `src_conn_cur(TABLE)`, `sc0_conn_cur(TABLE)` or `sc_conn_cur(0,TABLE)`.
fn counted(function: &str, argument: &str) -> Counted {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let (prefix, _) = function.split_once('_').unwrap_or((function, ""));
    match prefix.strip_prefix("sc") {
        Some("") => {
            let (counter, table) = argument.split_once(',').unwrap_or((argument, ""));
            Counted {
                counter: given(counter),
                table: given(table),
            }
        }
        Some(counter) => Counted {
            counter: given(counter),
            table: given(argument),
        },
        None => Counted {
            counter: None,
            table: given(argument),
        },
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
        read(&words, &Nowhere)
    }

    fn at(counter: Option<&str>, table: Option<&str>) -> Counted {
        Counted {
            counter: counter.map(ToOwned::to_owned),
            table: table.map(ToOwned::to_owned),
        }
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
        for (text, names) in [
            (
                "req.ssl_sni -m end example.com",
                ["example.com", "*.example.com"],
            ),
            ("req.ssl_sni -m dom .Corp.", ["corp", "*.corp"]),
        ] {
            let found = asked(text);
            let Ok(Asked::Nearly(test, why)) = &found else {
                panic!("{text}: {found:?}");
            };
            assert_eq!(Asked::Route(test.clone()), sni(&names));
            assert!(why.contains(names[0]), "{why}");
        }
        for (text, expected) in [
            ("req.ssl_hello_type 1", Asked::Hello),
            ("req.ssl_ver gt 3.0", Asked::Hello),
            ("req.len gt 0", Asked::Said),
            ("req.len 0", Asked::Silent),
            ("req_len lt 1", Asked::Silent),
        ] {
            assert_eq!(asked(text), Ok(expected), "{text}");
        }
        assert_eq!(asked("req.ssl_sni -m found"), Ok(sni(&["*"])));
        assert_eq!(
            asked("dst_port eq 443 8000:8010"),
            Ok(Asked::Route(Test::Port(vec![(443, 443), (8000, 8010)])))
        );
        assert_eq!(
            asked("nbsrv(main) lt 1"),
            Ok(Asked::AllDown("main".to_owned()))
        );
        assert_eq!(
            asked("sc0_conn_rate gt 20"),
            Ok(Asked::RateOfSource(20, at(Some("0"), None)))
        );
        assert_eq!(
            asked("sc_conn_cur(1) gt 2"),
            Ok(Asked::OpenOfSource(2, at(Some("1"), None)))
        );
        assert_eq!(
            asked("sc_conn_rate(2,abuse) gt 2"),
            Ok(Asked::RateOfSource(2, at(Some("2"), Some("abuse"))))
        );
        assert_eq!(
            asked("sc0_conn_rate(abuse) gt 2"),
            Ok(Asked::RateOfSource(2, at(Some("0"), Some("abuse"))))
        );
        assert_eq!(
            asked("src_conn_rate(abuse) gt 2"),
            Ok(Asked::RateOfSource(2, at(None, Some("abuse"))))
        );
        assert_eq!(
            asked("src_conn_cur ge 10"),
            Ok(Asked::OpenOfSource(9, at(None, None)))
        );
        for text in [
            "req.ssl_sni -m reg ^a",
            "src here",
            "src",
            "nbsrv(a) lt 2",
            "hdr(host) a",
            "dst_port ge 80",
            "src_conn_cur 3",
            "src,ipmask(24) 10.0.0.0",
            "req.ssl_alpn -m reg ^imap",
            "req.ssl_alpn -m sub ima",
            "req.ssl_hello_type 0",
            "req.ssl_hello_type gt 1",
            "req.ssl_ver lt 3.3",
            "req.ssl_ver ge 3.2",
            "req.len gt 10",
        ] {
            assert!(asked(text).is_err(), "{text}");
        }
        let why = asked("payload(0,7),lower -m bin 5353").expect_err("a payload");
        assert!(why.contains("can't ask for `payload`"), "{why}");
    }
}
