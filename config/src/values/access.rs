//! Who may connect: networks, addresses, clients of unix sockets, and files with lists of them.

use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;
use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::raw::read::string;
use crate::values::network;

/// Entries of a list that is read from a file, at most: 1,048,576.
pub const LIST_ENTRIES_MAX: usize = 1 << 20;

/// The largest file with a list, in bytes: 48 MiB, which is room for [`LIST_ENTRIES_MAX`] networks of IPv6.
pub const LIST_BYTES_MAX: usize = LIST_ENTRIES_MAX * 48;

/// What begins the path of a file.
const FILE: &str = "file:";

/// The clients of unix sockets, which have no address.
const UNIX: &str = "unix";

const EXPECTED: &str = "a network such as \"10.0.0.0/8\", an address, \"unix\" or \"file:/path\"";

/// Clients that are let in, or kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clients {
    /// Those with an address in this network; of IPv4 where it was written as IPv4 in IPv6. No bit is set behind its prefix.
    Network(IpNet),
    /// Those of unix sockets.
    Unix,
}

/// An entry of `allow` or `deny`; displayed as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccessEntry {
    /// These clients.
    Clients(Clients),
    /// Those that a file lists, by its absolute path.
    File(PathBuf),
}

/// A line of a file that is no entry of a list, or one too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ListProblem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to write.
    pub reason: String,
}

/// The clients that the content of a file lists: one entry a line, with comments after `#`.
///
/// # Errors
/// The first line that is no entry, or the one after [`LIST_ENTRIES_MAX`] entries.
pub fn parse_list(bytes: &[u8]) -> Result<Vec<Clients>, ListProblem> {
    let mut list = Vec::new();
    for (index, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let problem = |reason| ListProblem {
            line: index + 1,
            reason,
        };
        let no_text = |_| problem("it is not UTF-8 text".to_owned());
        let line = str::from_utf8(bytes).map_err(no_text)?;
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        if list.len() == LIST_ENTRIES_MAX {
            let reason = format!("a list has at most {LIST_ENTRIES_MAX} entries");
            return Err(problem(reason));
        }
        let clients = parse_clients(entry).map_err(|advice| {
            let shown: String = entry.chars().take(64).collect();
            problem(format!("{shown:?} is no network or address; {advice}"))
        })?;
        list.push(clients);
    }
    Ok(list)
}

/// Reads a value of `allow` or `deny`.
pub(crate) fn access_entry(value: &DeValue<'_>) -> Result<AccessEntry, Refusal> {
    let written = string(value, EXPECTED)?;
    if let Some(path) = written.strip_prefix(FILE) {
        let is_path = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
        return if is_path {
            Ok(AccessEntry::File(path.into()))
        } else {
            let advice = "write an absolute path, as in \"file:/etc/corelane/deny.txt\"";
            Err(Refusal::new(EXPECTED, value).advise(advice.to_owned()))
        };
    }
    let clients =
        parse_clients(written).map_err(|advice| Refusal::new(EXPECTED, value).advise(advice))?;
    Ok(AccessEntry::Clients(clients))
}

/// Clients as they are written, or what to write instead.
fn parse_clients(text: &str) -> Result<Clients, String> {
    if text == UNIX {
        return Ok(Clients::Unix);
    }
    network::parse(text).map(Clients::Network)
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str(UNIX),
        }
    }
}

impl fmt::Display for AccessEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients(clients) => clients.fmt(f),
            Self::File(path) => write!(f, "{FILE}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn a_list_has_an_entry_a_line() {
        let text = "\u{feff}# all of them\n\n 10.0.0.0/8 # private\r\n192.0.2.7\n2001:db8::/32\n::1\nunix\n#";
        let list = parse_list(text.as_bytes()).expect("it is one");
        let written: Vec<_> = list.iter().map(Clients::to_string).collect();
        assert_eq!(
            written,
            ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "unix"]
        );
        assert_eq!(parse_list(b"").expect("an empty one"), []);
    }

    #[test]
    fn a_bad_line_is_told_by_its_number() {
        let problem = |text: &[u8]| parse_list(text).expect_err("it is none").to_string();
        assert_eq!(
            problem(b"# x\n10.0.0.1/8\n"),
            "line 2: \"10.0.0.1/8\" is no network or address; it has bits behind its prefix: did you mean 10.0.0.0/8, or \
             10.0.0.1 alone?"
        );
        assert_eq!(
            problem(b"1.2.3.4 5.6.7.8"),
            "line 1: \"1.2.3.4 5.6.7.8\" is no network or address; write a network as in 10.0.0.0/8 or 2001:db8::/32"
        );
        assert_eq!(problem(b"\n\xff"), "line 2: it is not UTF-8 text");
        assert!(problem("x".repeat(1000).as_bytes()).len() < 200);
    }

    #[test]
    fn lists_are_bounded() {
        let text = "::\n".repeat(LIST_ENTRIES_MAX + 1);
        let problem = parse_list(text.as_bytes()).expect_err("too many");
        assert_eq!(problem.line, LIST_ENTRIES_MAX + 1);
    }

    #[test]
    fn addresses_of_ipv4_in_ipv6_are_of_ipv4() {
        for (written, meant) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            let clients = parse_clients(written).map(|clients| clients.to_string());
            assert_eq!(clients.as_deref(), Ok(meant));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_parses_back(bits in any::<u128>(), four in any::<bool>(), prefix in 0_u8..=128) {
            let network = if four {
                IpNet::new((bits as u32).to_be_bytes().into(), prefix.min(32))
            } else {
                IpNet::new(Ipv6Addr::from(bits).into(), prefix)
            };
            let network = network.expect("a prefix").trunc();
            let clients = parse_clients(&network.to_string()).expect("it is one");
            prop_assert_eq!(parse_clients(&clients.to_string()), Ok(clients));
        }

        #[test]
        fn any_bytes_are_a_list_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_list(&bytes);
        }
    }
}
