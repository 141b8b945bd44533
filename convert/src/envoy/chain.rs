//! Filter chains: what each asks of a connection, and where it leads.

use super::super::note::Notes;
use super::super::plan::{Keys, Route};
use super::super::tree::View;
use super::super::value::{Item, Value};
use super::Clusters;
use super::asked::{Asked, Case, To};

use super::values::{extension, network, number};

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

/// What a chain asks for; nothing if no client can be it. `is_heard`: ClientHellos are read.
///
/// # Errors
/// What no route asks for.
pub(super) fn asked(
    chain: &View<'_>,
    is_heard: bool,
    notes: &mut Notes,
) -> Result<Option<Asked>, String> {
    let Some(matched) = chain.view("filter_chain_match") else {
        return Ok(Some(Asked::default()));
    };
    let from = matched.from();
    let texts = |key: &str| {
        let items = matched.items_of(key);
        let texts = items.iter().filter_map(|item| item.text());
        texts
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let networks = |key: &str| {
        let nets: Option<Vec<_>> = matched.items_of(key).iter().map(network).collect();
        nets.ok_or_else(|| format!("`{key}` has no networks"))
    };
    let mut asked = Asked {
        names: texts("server_names"),
        protocols: texts("application_protocols"),
        peers: networks("direct_source_prefix_ranges")?,
        sources: networks("source_prefix_ranges")?,
        ..Asked::default()
    };
    asked
        .names
        .iter_mut()
        .for_each(|name| name.make_ascii_lowercase());
    if let Some(port) = matched.text_of("destination_port") {
        asked.port = Some(port.parse().map_err(|_| format!("its port is {port:?}"))?);
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
    match matched.text_of("transport_protocol").unwrap_or_default() {
        "tls" => asked.is_tls = Some(true),
        "raw_buffer" => asked.is_tls = Some(false),
        "" => {}
        other => return Err(format!("`transport_protocol` is {other:?}")),
    }
    if !is_heard {
        if !asked.names.is_empty() || !asked.protocols.is_empty() || asked.is_tls == Some(true) {
            let why = "without the listener filter `tls_inspector` Envoy knows nothing of what clients of TLS ask for, so that no client is it";
            notes.remark(&from, why);
            return Ok(None);
        }
        asked.is_tls = None;
    }
    if asked.is_tls.is_some() && asked.names.is_empty() && asked.protocols.is_empty() {
        notes.lose(
            &from,
            "clients of TLS that ask for no server name are taken for others",
        );
    }
    Ok(Some(asked))
}

/// The routes of cases that are in order.
pub(super) fn routes(cases: &[Case]) -> Vec<Route> {
    cases.iter().map(route).collect()
}

fn route(case: &Case) -> Route {
    let from = case.from.clone();
    let mut keys = Keys::default();
    for (key, values) in &case.conditions {
        let items = values.iter().map(|value| match value.parse::<u64>() {
            Ok(port) if *key == "port" => Item::from(port),
            _ => Item::from(value.as_str()),
        });
        keys.set(key, items.collect::<Value>(), &from);
    }
    match &case.to {
        To::Upstream(name) => keys.set("upstream", name.as_str(), &from),
        To::Split(weights) => keys.set("upstreams", Value::Weights(weights.clone()), &from),
        To::Reject => keys.set("reject", true, &from),
    }
    Route { from, keys }
}
