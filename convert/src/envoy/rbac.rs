//! The network filter RBAC: who gets in, by address. Of several filters each must let a client in.

use ipnet::IpNet;

use super::super::access::{common, network as read, written};
use super::super::note::Notes;
use super::super::plan::Keys;
use super::super::tree::View;
use super::super::value::Value;
use super::values::network;

/// Reads a filter, beside those that were read before it.
///
/// # Errors
/// Why the chain must be left out, as it would let in more without the filter.
pub(super) fn rules(config: &View<'_>, keys: &mut Keys, notes: &mut Notes) -> Result<(), String> {
    for name in ["shadow_rules", "shadow_matcher"] {
        if let Some(shadow) = config.view(name) {
            notes.lose(&shadow.from(), "there are no rules that only count");
            shadow.pass_over();
        }
    }
    if config.view("matcher").is_some() {
        return Err("its rules (RBAC) are a `matcher`, and not lists of addresses".to_owned());
    }
    if let Some(delay) = config.view("delay_deny") {
        notes.lose(&delay.from(), "who is denied is closed at once");
    }
    let Some(rules) = config.view("rules") else {
        return Ok(());
    };
    let unknown = || "its rules (RBAC) go by more than addresses".to_owned();
    let action = rules.text_of("action").unwrap_or("ALLOW");
    let (mut announced, mut peers) = (Vec::new(), Vec::new());
    let policies = rules
        .view("policies")
        .map_or_else(Vec::new, |policies| policies.entries());
    for (_, policy) in policies {
        // A condition of its own, of whatever kind, makes it mean fewer.
        if !policy.others(&["permissions", "principals"]).is_empty() {
            return Err(unknown());
        }
        let is_any = |permission: &View<'_>| {
            permission.is_true("any") && permission.others(&["any"]).is_empty()
        };
        if !policy.items_of("permissions").iter().all(is_any) {
            return Err(unknown());
        }
        for principal in policy.items_of("principals") {
            let ids = principal
                .at(&["or_ids", "ids"])
                .map_or_else(|| vec![principal.clone()], |ids| ids.items());
            for id in ids {
                let entries = id.entries();
                let [(name, range)] = &entries[..] else {
                    return Err(unknown());
                };
                let list = match name.replace('_', "").to_ascii_lowercase().as_str() {
                    "directremoteip" => &mut peers,
                    // Both are what a header of the PROXY protocol announces.
                    "sourceip" | "remoteip" => &mut announced,
                    _ => return Err(unknown()),
                };
                list.push(network(range).ok_or_else(unknown)?);
            }
        }
    }
    let both = [
        ("allow", "deny", announced),
        ("allow_peer", "deny_peer", peers),
    ];
    match action.to_ascii_uppercase().as_str() {
        "ALLOW" => {
            let mut lists = both.iter().filter(|(.., list)| !list.is_empty());
            let (Some((allow, _, list)), None) = (lists.next(), lists.next()) else {
                return Err(match both.iter().all(|(.., list)| list.is_empty()) {
                    true => "its rules allow nobody".to_owned(),
                    false => unknown(),
                });
            };
            let list = match known(keys, allow) {
                None => list.clone(),
                Some(earlier) => {
                    let pairs = earlier
                        .iter()
                        .flat_map(|one| list.iter().filter_map(move |other| common(one, other)));
                    pairs.collect()
                }
            };
            put(keys, allow, list, &rules);
        }
        "DENY" => {
            for (_, deny, list) in both {
                let earlier = known(keys, deny).unwrap_or_default();
                let all: Vec<_> = earlier.into_iter().chain(list).collect();
                if !all.is_empty() {
                    put(keys, deny, all, &rules);
                }
            }
        }
        _ => return Err(unknown()),
    }
    settle(keys, &rules)
}

/// Takes out of `allow` what is denied, as the longest prefix decides here.
fn settle(keys: &mut Keys, rules: &View<'_>) -> Result<(), String> {
    for (allow, deny) in [("allow", "deny"), ("allow_peer", "deny_peer")] {
        let Some(mut allowed) = known(keys, allow) else {
            continue;
        };
        let denied = known(keys, deny).unwrap_or_default();
        allowed.retain(|net| !denied.iter().any(|denied| denied.contains(net)));
        if allowed.is_empty() {
            return Err("its rules allow nobody".to_owned());
        }
        put(keys, allow, allowed, rules);
    }
    Ok(())
}

/// The networks of a list that was set.
fn known(keys: &Keys, name: &str) -> Option<Vec<IpNet>> {
    let Value::List(items) = keys.get(name)? else {
        return None;
    };
    let texts = items.iter().filter_map(|item| match &item.value {
        Value::Text(text) => read(text),
        _ => None,
    });
    Some(texts.collect())
}

fn put(keys: &mut Keys, name: &'static str, nets: Vec<IpNet>, rules: &View<'_>) {
    let mut texts: Vec<String> = Vec::new();
    for net in &nets {
        let text = written(net);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    keys.set(name, texts.into_iter().collect::<Value>(), &rules.from());
}
