//! What files and pages say: lists of servers in JSON or TOML, and Consul's health API.
//!
//! Both are read by serde within the bound of who read the bytes; nothing that they say panics.

use std::num::{NonZeroU16, NonZeroU64};

use proxy_config::discovered_address;
use serde::Deserialize;

use super::failure::{Failure, Reason};
use super::found::{Found, WEIGHT_MAX, checked, weight};

/// Bytes of a list; a longer one is refused before it is read. A thousand servers of Consul with their checks and tags take
/// about two.
pub(super) const LIST_BYTES_MAX: usize = 8 << 20;

/// `{ "servers": [ … ] }`, or in JSON the array alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Array(Vec<Entry>),
    Table(Table),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    servers: Vec<Entry>,
}

/// As in `servers` of the configuration.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Address(String),
    Server(Server),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    address: String,
    #[serde(default = "one")]
    weight: NonZeroU16,
    #[serde(default)]
    backup: bool,
    max_connections: Option<NonZeroU64>,
}

fn one() -> NonZeroU16 {
    NonZeroU16::MIN
}

/// The servers of a list in JSON.
pub(super) fn json(bytes: &[u8]) -> Result<Vec<Found>, Failure> {
    let list = serde_json::from_slice(bytes).map_err(|error| not_understood(&error))?;
    let (List::Array(servers) | List::Table(Table { servers })) = list;
    listed(servers)
}

/// The servers of a list in TOML.
pub(super) fn toml(bytes: &[u8]) -> Result<Vec<Found>, Failure> {
    let table: Table = toml::from_slice(bytes).map_err(|error| not_understood(&error))?;
    listed(table.servers)
}

fn not_understood(error: &dyn std::fmt::Display) -> Failure {
    let expected = "a list of servers such as {\"servers\": [\"10.0.0.1:80\", {\"address\": \"10.0.0.2:80\", \"weight\": 2}]}";
    Failure::new(Reason::Format, format!("it is not {expected}: {error}"))
}

fn listed(servers: Vec<Entry>) -> Result<Vec<Found>, Failure> {
    let found = servers.into_iter().map(|entry| {
        let server = match entry {
            Entry::Address(address) => return Ok(Found::at(self::address(&address)?)),
            Entry::Server(server) => server,
        };
        let Server {
            address,
            weight,
            backup,
            max_connections,
        } = server;
        if weight.get() > WEIGHT_MAX {
            let detail = format!("{address} has the weight {weight}; the highest is {WEIGHT_MAX}");
            return Err(Failure::new(Reason::Format, detail));
        }
        Ok(Found {
            address: self::address(&address)?,
            backup,
            weight,
            max_connections,
        })
    });
    checked(found.collect::<Result<_, _>>()?)
}

fn address(text: &str) -> Result<std::net::SocketAddr, Failure> {
    discovered_address(text)
        .map_err(|why| Failure::new(Reason::Address, format!("{text:?} is no server: {why}")))
}

/// An entry of Consul's `/v1/health/service/NAME`; it has much more.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    node: Node,
    service: Service,
    #[serde(default)]
    checks: Vec<Check>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    address: String,
    port: u16,
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u64,
    warning: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    status: String,
}

/// The servers of Consul's answer: those of which no check is critical, by the weight of their worst check.
pub(super) fn consul(bytes: &[u8]) -> Result<Vec<Found>, Failure> {
    let instances: Vec<Instance> = serde_json::from_slice(bytes).map_err(|error| {
        Failure::new(
            Reason::Format,
            format!("it is no answer of Consul's: {error}"),
        )
    })?;
    let mut found = Vec::new();
    for Instance {
        node,
        service,
        checks,
    } in instances
    {
        let has = |status: &str| checks.iter().any(|check| check.status == status);
        if has("critical") || has("maintenance") {
            continue;
        }
        let weights = service.weights.unwrap_or(Weights {
            passing: 1,
            warning: 1,
        });
        let ip = if service.address.is_empty() {
            node.address
        } else {
            service.address
        };
        let text = match ip.parse::<std::net::Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]:{}", service.port),
            Err(_) => format!("{ip}:{}", service.port),
        };
        found.push(Found {
            weight: weight(if has("warning") {
                weights.warning
            } else {
                weights.passing
            }),
            ..Found::at(address(&text)?)
        });
    }
    checked(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(found: Result<Vec<Found>, Failure>) -> Result<String, Reason> {
        let found = found.map_err(|failure| failure.reason)?;
        let shown = found
            .iter()
            .map(|one| format!("{}*{}", one.address, one.weight));
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_list_is_what_servers_are_in_the_configuration() {
        for text in [
            r#"["10.0.0.2:80", {"address": "10.0.0.1:80", "weight": 3}]"#,
            r#"{"servers": [{"address": "10.0.0.1:80", "weight": 3}, {"address": "10.0.0.2:80"}]}"#,
        ] {
            assert_eq!(
                shown(json(text.as_bytes())),
                Ok("10.0.0.1:80*3 10.0.0.2:80*1".to_owned())
            );
        }
        let text = "servers = [\"[2001:db8::1]:80\"]";
        assert_eq!(
            shown(toml(text.as_bytes())),
            Ok("[2001:db8::1]:80*1".to_owned())
        );
        let text = r#"[{"address": "10.0.0.1:80", "backup": true, "max_connections": 7}]"#;
        let found = json(text.as_bytes()).expect("a list");
        let max = found[0].max_connections.map(NonZeroU64::get);
        assert_eq!((found[0].backup, max), (true, Some(7)));
        let text = "[[servers]]\naddress = \"10.0.0.1:80\"\nweight = 256";
        assert_eq!(
            shown(toml(text.as_bytes())),
            Ok("10.0.0.1:80*256".to_owned())
        );
    }

    #[test]
    fn what_is_no_list_says_why() {
        for (text, reason) in [
            ("", Reason::Format),
            ("{}", Reason::Format),
            ("<html>", Reason::Format),
            (r#"["10.0.0.1:80""#, Reason::Format),
            (r#"[{"address": "10.0.0.1:80", "wait": 1}]"#, Reason::Format),
            (
                r#"[{"address": "10.0.0.1:80", "weight": 0}]"#,
                Reason::Format,
            ),
            (
                r#"[{"address": "10.0.0.1:80", "weight": 257}]"#,
                Reason::Format,
            ),
            (
                r#"[{"address": "10.0.0.1:80", "max_connections": 0}]"#,
                Reason::Format,
            ),
            (r#"["db.example:80"]"#, Reason::Address),
            (r#"["10.0.0.1:0"]"#, Reason::Address),
            (r#"["unix:/run/a"]"#, Reason::Address),
            ("[]", Reason::Empty),
        ] {
            assert_eq!(shown(json(text.as_bytes())), Err(reason), "{text}");
        }
        assert_eq!(shown(toml(b"\xff")), Err(Reason::Format));
        assert_eq!(shown(toml(b"servers = []")), Err(Reason::Empty));
        let deep = "[".repeat(100_000);
        assert_eq!(shown(json(deep.as_bytes())), Err(Reason::Format));
    }

    #[test]
    fn consul_s_instances_go_by_their_worst_check() {
        let instance = |address: &str, status: &str| {
            format!(
                r#"{{"Node": {{"Node": "n", "Address": "10.0.0.9"}}, "Service": {{"ID": "w", "Address": "{address}",
                "Port": 80, "Weights": {{"Passing": 10, "Warning": 2}}, "Tags": []}},
                "Checks": [{{"Status": "passing"}}, {{"Status": "{status}", "Output": "x"}}]}}"#
            )
        };
        let text = [
            ("10.0.0.1", "passing"),
            ("", "warning"),
            ("10.0.0.3", "critical"),
            ("2001:db8::1", "passing"),
        ]
        .map(|(address, status)| instance(address, status));
        let text = format!("[{}]", text.join(","));
        assert_eq!(
            shown(consul(text.as_bytes())),
            Ok("10.0.0.1:80*10 10.0.0.9:80*2 [2001:db8::1]:80*10".to_owned())
        );
        let all_down = format!("[{}]", instance("10.0.0.1", "critical"));
        assert_eq!(shown(consul(all_down.as_bytes())), Err(Reason::Empty));
        let named = format!("[{}]", instance("db.example", "passing"));
        assert_eq!(shown(consul(named.as_bytes())), Err(Reason::Address));
        assert_eq!(shown(consul(b"{}")), Err(Reason::Format));
    }

    proptest! {
        /// Whatever a source says, it is read or refused, and what is read is a set that may be used.
        #[test]
        fn nothing_that_a_source_says_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in "[\\[\\]{}\":,0-9a-z. ]{0,80}",
            weight in any::<i64>(),
            port in any::<u32>(),
        ) {
            let whole = format!(r#"[{{"address": "10.0.0.1:{port}", "weight": {weight}}}]"#);
            let service = format!(
                r#"[{{"Node": {{"Address": "{text}"}}, "Service": {{"Port": {port}, "Weights": {{"Passing": {weight}, "Warning": 0}}}}}}]"#
            );
            for bytes in [&bytes[..], text.as_bytes(), whole.as_bytes(), service.as_bytes()] {
                for found in [json(bytes), toml(bytes), consul(bytes)].into_iter().flatten() {
                    prop_assert!(!found.is_empty());
                    prop_assert!(found.iter().all(|one| one.address.port() != 0 && one.weight.get() <= WEIGHT_MAX));
                }
            }
        }
    }
}
