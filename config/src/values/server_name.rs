//! Names of servers, as clients ask for them under TLS.

use std::net::IpAddr;

use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::raw::read::string;
use crate::values::address::is_host;

const EXPECTED: &str = "a server name such as \"a.example\", \"*.example\" or \"*\"";

/// Reads a name, or the end of names behind `*.`, in lower case and without a dot at its end.
pub(crate) fn server_name(value: &DeValue<'_>) -> Result<String, Refusal> {
    let written = string(value, EXPECTED)?;
    parse(written).map_err(|advice| Refusal::new(EXPECTED, value).advise(advice.to_owned()))
}

fn parse(written: &str) -> Result<String, &'static str> {
    if !written.is_ascii() {
        return Err("write it as clients send it, in Punycode (\"xn--…\")");
    }
    let lower = written.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    if lower == "*" || name.parse::<IpAddr>().is_ok() {
        return Ok(name.to_owned());
    }
    let host = name.strip_prefix("*.").unwrap_or(name);
    if host.contains('*') {
        return Err("a star stands alone, or for all that is before a dot at the beginning");
    }
    if !is_host(host) {
        return Err("write a name without a port, a scheme or a path");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_clients_send_them() {
        for (written, name) in [
            ("A.Example.", "a.example"),
            ("*.B.example", "*.b.example"),
            ("*", "*"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(parse(written), Ok(name.to_owned()));
        }
        for written in [
            "",
            ".",
            "*.",
            "a.*",
            "a*.example",
            "*.*.a",
            "a:80",
            "https://a",
            "a/b",
            "bücher.example",
            "a b",
        ] {
            assert!(parse(written).is_err(), "{written}");
        }
    }
}
