//! Network filters before tcp_proxy: limits and rules, which are the listener's here.

use super::super::note::Notes;
use super::super::plan::Keys;
use super::super::tree::View;
use super::super::value::Value;
use super::values::{duration, extension, network, number};

/// Sets what the filters of a chain say, or says why one means that the chain can't be carried over.
pub(super) fn set(chain: &View<'_>, keys: &mut Keys, notes: &mut Notes) -> Result<(), String> {
    let filters = chain.items_of("filters");
    for filter in filters.iter().rev().skip(1).rev() {
        let (kind, config) = extension(filter);
        let from = filter.from();
        match kind.as_str() {
            "ConnectionLimit" | "connection_limit" => match config
                .view("max_connections")
                .and_then(|most| Some((number(&most)?, most.from())))
            {
                Some((most, from)) => keys.set("max_connections", most, &from),
                None => notes.lose(&from, "it has no number"),
            },
            "LocalRateLimit" | "local_ratelimit" => rate(&config, keys, notes),
            "RBAC" | "rbac" => rules(&config, keys, notes)?,
            "sni_cluster" | "SniCluster" => {
                return Err(
                    "its cluster is the name that the client asks for; write routes by `sni`"
                        .to_owned(),
                );
            }
            "sni_dynamic_forward_proxy" | "FilterConfig" => {
                return Err(
                    "its server would be whatever name the client asks for; write routes by `sni`"
                        .to_owned(),
                );
            }
            "ext_authz" | "ExtAuthz" | "client_ssl_auth" | "ClientSSLAuth" => {
                return Err(format!(
                    "{kind} decides who gets in, and corelane asks nobody"
                ));
            }
            _ => notes.lose(
                &from,
                "corelane reads no protocols but TLS, and runs no filters",
            ),
        }
    }
    Ok(())
}

/// New connections in a time.
pub(super) fn rate(config: &View<'_>, keys: &mut Keys, notes: &mut Notes) {
    let from = config.from();
    let bucket = config.view("token_bucket");
    let read = |bucket: View<'_>| {
        let most = number(&bucket.view("max_tokens")?)?;
        let fill = bucket
            .view("tokens_per_fill")
            .and_then(|fill| number(&fill))
            .unwrap_or(1);
        let interval = duration(&bucket.view("fill_interval")?)?;
        let rate = u128::from(fill) * 1_000_000_000 / interval.as_nanos().max(1);
        Some((u64::try_from(rate).ok()?, most, bucket.from()))
    };
    match bucket.and_then(read) {
        Some((rate, most, from)) if rate > 0 => {
            keys.set("max_rate", rate, &from);
            keys.set("burst", most, &from);
        }
        _ => notes.lose(&from, "the rate is less than one a second, or is not there"),
    }
}

/// Rules by address; those that go by something else mean that the chain is left out.
fn rules(config: &View<'_>, keys: &mut Keys, notes: &mut Notes) -> Result<(), String> {
    if let Some(shadow) = config.view("shadow_rules") {
        notes.lose(&shadow.from(), "there are no rules that only count");
    }
    let Some(rules) = config.view("rules") else {
        return Ok(());
    };
    let unknown = || "its rules (RBAC) go by more than addresses".to_owned();
    let action = rules.text_of("action").unwrap_or("ALLOW");
    let mut announced: Vec<String> = Vec::new();
    let mut peers: Vec<String> = Vec::new();
    let policies = rules
        .view("policies")
        .map_or_else(Vec::new, |policies| policies.entries());
    for (_, policy) in policies {
        if !policy
            .items_of("permissions")
            .iter()
            .all(|permission| permission.is_true("any"))
        {
            return Err(unknown());
        }
        for principal in policy.items_of("principals") {
            let ids = principal
                .at(&["or_ids", "ids"])
                .map_or_else(|| vec![principal.clone()], |ids| ids.items());
            for id in ids {
                let by_peer = id.view("direct_remote_ip").or_else(|| id.view("source_ip"));
                let (list, range) = match (by_peer, id.view("remote_ip")) {
                    (Some(range), _) => (&mut peers, range),
                    (None, Some(range)) => (&mut announced, range),
                    (None, None) => return Err(unknown()),
                };
                list.push(network(&range).ok_or_else(unknown)?.to_string());
            }
        }
    }
    let names = match action.to_ascii_uppercase().as_str() {
        "ALLOW" if !announced.is_empty() && !peers.is_empty() => return Err(unknown()),
        "ALLOW" if announced.is_empty() && peers.is_empty() => {
            return Err("its rules allow nobody".to_owned());
        }
        "ALLOW" => ["allow", "allow_peer"],
        "DENY" => ["deny", "deny_peer"],
        _ => return Err(unknown()),
    };
    for (name, list) in names.into_iter().zip([announced, peers]) {
        if !list.is_empty() {
            keys.set(name, list.into_iter().collect::<Value>(), &rules.from());
        }
    }
    Ok(())
}
