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
        read(&words, &Nowhere)
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
}
