//! Network filters before tcp_proxy: limits and rules, which are the listener's here.

use super::super::note::Notes;
use super::super::plan::Keys;
use super::super::tree::View;
use super::rbac::rules;
use super::values::{duration, extension, number};

/// Sets what the filters of a chain say, or says why one means that the chain can't be carried over.
pub(super) fn set(chain: &View<'_>, keys: &mut Keys, notes: &mut Notes) -> Result<(), String> {
    let filters = chain.items_of("filters");
    for filter in filters.iter().rev().skip(1).rev() {
        let (kind, config) = extension(filter);
        let from = filter.from();
        match kind.as_str() {
            "ConnectionLimit" | "connection_limit" | "LocalRateLimit" | "local_ratelimit"
                if is_off(&config) =>
            {
                notes.remark(&from, "it is off (`runtime_enabled`)");
                config.pass_over();
            }
            "ConnectionLimit" | "connection_limit" => {
                match config
                    .view("max_connections")
                    .and_then(|most| Some((number(&most)?, most.from())))
                {
                    Some((most, from)) => keys.set("max_connections", most, &from),
                    None => notes.lose(&from, "it has no number"),
                }
                if let Some(delay) = config.view("delay") {
                    notes.lose(
                        &delay.from(),
                        "who is too many is closed at once (`over_limit`)",
                    );
                }
            }
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
            _ => {
                let why = "corelane reads no protocols but TLS, and runs no filters";
                notes.lose(&from, why);
                filter.pass_over();
            }
        }
    }
    Ok(())
}

/// Whether a filter is there and switched off.
pub(super) fn is_off(config: &View<'_>) -> bool {
    let by_default = config.at(&["runtime_enabled", "default_value"]);
    by_default.is_some_and(|value| value.text() == Some("false"))
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
