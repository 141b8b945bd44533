//! Filter chains: what each asks of a connection, and where it leads. Envoy takes the most specific one, so they are put in order.

use std::cmp::Reverse;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Route};
use super::super::tree::View;
use super::super::value::{Item, Value};
use super::Clusters;
use super::values::{extension, network, number};

/// Names and protocols of all chains of a listener together.
const CASES_MAX: usize = 10_000;

/// A chain, or a part of it, with one name at most.
pub(super) struct Case {
    rank: Rank,
    pub(super) conditions: Vec<(&'static str, Vec<String>)>,
    pub(super) to: To,
    pub(super) from: Origin,
}

/// How specific a chain is, in Envoy's order: the port, the name, TLS, the protocol, who has connected, and the client.
type Rank = (bool, usize, bool, bool, u8, u8);

/// Where a chain leads.
#[derive(Clone, PartialEq)]
pub(super) enum To {
    Upstream(String),
    Split(Vec<(String, u64)>),
    /// It is left out, and its clients are refused.
    Reject,
}

/// The clusters whose servers a listener chooses by the client's address.
pub(super) fn hashed<'n>(listener: &View<'n>) -> Vec<&'n str> {
    let mut hashed = Vec::new();
    for proxy in chains(listener).iter().filter_map(tcp_proxy) {
        let goes_by_source = |policy: &View<'_>| policy.view("source_ip").is_some();
        if proxy.items_of("hash_policy").iter().any(goes_by_source) {
            hashed.extend(proxy.text_of("cluster"));
            let weighted = proxy.view("weighted_clusters");
            let weighted = weighted.map_or_else(Vec::new, |weighted| weighted.items_of("clusters"));
            hashed.extend(
                weighted
                    .iter()
                    .filter_map(|cluster| cluster.text_of("name")),
            );
        }
    }
    hashed
}

/// The filter chains of a listener, the default one last.
pub(super) fn chains<'n>(listener: &View<'n>) -> Vec<View<'n>> {
    let mut chains = listener.items_of("filter_chains");
    chains.extend(listener.view("default_filter_chain"));
    chains
}

/// The configuration of tcp_proxy, if a chain ends with it.
pub(super) fn tcp_proxy<'n>(chain: &View<'n>) -> Option<View<'n>> {
    let (kind, config) = extension(chain.items_of("filters").last()?);
    matches!(kind.as_str(), "TcpProxy" | "tcp_proxy").then_some(config)
}

/// Where a chain leads, or why it can't.
pub(super) fn target(chain: &View<'_>, clusters: &Clusters) -> Result<To, String> {
    if let Some(socket) = chain.view("transport_socket") {
        let (kind, _) = extension(&socket);
        if kind != "RawBuffer" {
            return Err("it ends TLS, which is not done here; let the servers end it, and route by its name (`sni`)".to_owned());
        }
    }
    let Some(proxy) = tcp_proxy(chain) else {
        let filters = chain.items_of("filters");
        let kind = filters
            .last()
            .map_or_else(|| "nothing".to_owned(), |filter| extension(filter).0);
        return Err(format!(
            "it leads to {kind}, not to tcp_proxy; corelane forwards TCP"
        ));
    };
    if proxy.view("tunneling_config").is_some() {
        return Err("it sends TCP by HTTP (`tunneling_config`)".to_owned());
    }
    if let Some(cluster) = proxy.text_of("cluster") {
        return Ok(To::Upstream(clusters.upstream(cluster)?.to_owned()));
    }
    let Some(weighted) = proxy.view("weighted_clusters") else {
        return Err("it names no cluster".to_owned());
    };
    let weights = weighted.items_of("clusters").into_iter().map(|cluster| {
        let name = cluster.text_of("name").unwrap_or_default();
        let weight = cluster.view("weight").and_then(|weight| number(&weight));
        Ok((
            clusters.upstream(name)?.to_owned(),
            weight.unwrap_or_default(),
        ))
    });
    Ok(To::Split(weights.collect::<Result<_, String>>()?))
}

/// The cases of a chain: one for each name, since names differ in how specific they are.
pub(super) fn cases(
    chain: &View<'_>,
    to: &To,
    is_default: bool,
    notes: &mut Notes,
) -> Result<Vec<Case>, String> {
    let matched = chain.view("filter_chain_match").filter(|_| !is_default);
    let Some(matched) = matched else {
        let rank = (false, 0, false, false, 0, 0);
        let (to, from) = (to.clone(), chain.from());
        return Ok(vec![Case {
            rank,
            conditions: Vec::new(),
            to,
            from,
        }]);
    };
    let from = matched.from();
    let mut conditions: Vec<(&'static str, Vec<String>)> = Vec::new();
    let texts = |key: &str| {
        let items = matched.items_of(key);
        items
            .iter()
            .filter_map(|item| item.text().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let mut rank: Rank = (false, 0, false, false, 0, 0);
    if let Some(port) = matched.text_of("destination_port") {
        conditions.push(("port", vec![port.to_owned()]));
        rank.0 = true;
    }
    let protocols = texts("application_protocols");
    rank.3 = !protocols.is_empty();
    if rank.3 {
        conditions.push(("alpn", protocols));
    }
    for (key, name) in [
        ("direct_source_prefix_ranges", "peer"),
        ("source_prefix_ranges", "source"),
    ] {
        let ranges = matched.items_of(key);
        let nets: Option<Vec<_>> = ranges.iter().map(network).collect();
        let Some(nets) = nets else {
            return Err(format!("`{key}` has no networks"));
        };
        if let Some(longest) = nets.iter().map(|net| net.prefix_len()).max() {
            conditions.push((name, nets.iter().map(ipnet::IpNet::to_string).collect()));
            // 0 is a chain without networks.
            let rank = if name == "peer" {
                &mut rank.4
            } else {
                &mut rank.5
            };
            *rank = longest + 1;
        }
    }
    for key in [
        "prefix_ranges",
        "source_ports",
        "source_type",
        "address_suffix",
    ] {
        if let Some(other) = matched
            .view(key)
            .filter(|other| other.text() != Some("ANY"))
        {
            return Err(format!(
                "it asks for `{}`, of which a route knows nothing",
                other.from().words
            ));
        }
    }
    let names = texts("server_names");
    match matched.text_of("transport_protocol") {
        Some("tls") => rank.2 = true,
        Some("raw_buffer") => {
            rank.2 = true;
            if names.is_empty() && !rank.3 {
                notes.remark(
                    &from,
                    "a route can't ask for clients without TLS; they are those that no name takes",
                );
                rank.2 = false;
            }
        }
        Some(other) if !other.is_empty() => {
            return Err(format!("`transport_protocol` is {other:?}"));
        }
        _ => {}
    }
    if rank.2 && names.is_empty() && !rank.3 {
        notes.lose(
            &from,
            "clients of TLS that ask for no server name are taken for others",
        );
        conditions.push(("sni", vec!["*".to_owned()]));
    }
    if names.is_empty() {
        let to = to.clone();
        return Ok(vec![Case {
            rank,
            conditions,
            to,
            from,
        }]);
    }
    let of_name = |name: &String| {
        let mut conditions = conditions.clone();
        conditions.insert(0, ("sni", vec![name.to_ascii_lowercase()]));
        // Exact names come first, then the longest wildcard.
        let mut rank = rank;
        rank.1 = if name.starts_with('*') {
            name.len()
        } else {
            usize::MAX
        };
        let (to, from) = (to.clone(), from.clone());
        Case {
            rank,
            conditions,
            to,
            from,
        }
    };
    Ok(names.iter().take(CASES_MAX).map(of_name).collect())
}

/// Puts the most specific cases first.
pub(super) fn sort(cases: &mut [Case]) {
    cases.sort_by_key(|case| Reverse(case.rank));
}

/// The routes of cases that are in order; those that differ in one name only are one.
pub(super) fn routes(cases: &[Case]) -> Vec<Route> {
    let is_like = |one: &Case, other: &Case| {
        let shared = |case: &Case| {
            case.conditions
                .iter()
                .filter(|(key, _)| *key != "sni")
                .cloned()
                .collect::<Vec<_>>()
        };
        let has_names = |case: &Case| case.conditions.iter().any(|(key, _)| *key == "sni");
        one.to == other.to && has_names(one) && has_names(other) && shared(one) == shared(other)
    };
    cases.chunk_by(is_like).map(route).collect()
}

fn route(group: &[Case]) -> Route {
    let first = &group[0];
    let from = first.from.clone();
    let mut keys = Keys::default();
    for (key, values) in &first.conditions {
        let all: Vec<&String> = match *key {
            "sni" => {
                let of = |case: &Case| {
                    case.conditions
                        .iter()
                        .filter(|(key, _)| *key == "sni")
                        .count()
                };
                debug_assert!(group.iter().all(|case| of(case) == 1));
                group
                    .iter()
                    .flat_map(|case| {
                        case.conditions
                            .iter()
                            .filter(|(key, _)| *key == "sni")
                            .flat_map(|(_, values)| values)
                    })
                    .collect()
            }
            _ => values.iter().collect(),
        };
        let items = all.into_iter().map(|value| match value.parse::<u64>() {
            Ok(port) if *key == "port" => Item::from(port),
            _ => Item::from(value.as_str()),
        });
        keys.set(key, items.collect::<Value>(), &from);
    }
    match &first.to {
        To::Upstream(name) => keys.set("upstream", name.as_str(), &from),
        To::Split(weights) => keys.set("upstreams", Value::Weights(weights.clone()), &from),
        To::Reject => keys.set("reject", true, &from),
    }
    Route { from, keys }
}

impl Case {
    /// Whether it takes every connection.
    pub(super) fn is_rest(&self) -> bool {
        self.conditions.is_empty()
    }
}
