//! Rules about who may connect, of which the first one that suits decides, as lists of which the longest prefix decides.

use ipnet::IpNet;

use super::origin::Origin;
use super::plan::Keys;
use super::value::{Item, Value};

/// A rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Who is meant; everybody if it is absent.
    pub(super) networks: Option<Vec<IpNet>>,
    /// All others are meant.
    pub(super) is_negated: bool,
    pub(super) allows: bool,
    pub(super) from: Origin,
}

/// What becomes of a network.
#[derive(Debug, Clone)]
struct Entry {
    network: IpNet,
    allows: bool,
    from: Origin,
}

/// What the rules come to: networks in the order in which they decide, and what becomes of everybody else.
struct Verdicts {
    entries: Vec<Entry>,
    allows_others: bool,
    /// The rule that says so, if one does.
    others_from: Option<Origin>,
}

/// The names of the two lists: `allow` and `deny`, or those of peers.
pub(super) type ListNames = (&'static str, &'static str);

/// Sets the lists that do the same as the rules. Who no rule means may connect, unless `allows_others` is false.
pub(super) fn set(keys: &mut Keys, names: ListNames, rules: &[Rule], allows_others: bool) {
    let verdicts = verdicts(rules, allows_others);
    let mut entries: Vec<Entry> = Vec::new();
    for entry in verdicts.entries {
        // Who came first decides for all of it.
        if !entries
            .iter()
            .any(|earlier| earlier.network.contains(&entry.network))
        {
            entries.push(entry);
        }
    }
    let everybody = ["0.0.0.0/0", "::/0"];
    let is_exception = |entry: &Entry| {
        let wider = |other: &&Entry| other.network.contains(&entry.network) && !other.allows;
        entry.allows && entries.iter().any(|other| wider(&other))
    };
    let item = |entry: &Entry| Item::new(written(&entry.network), &entry.from);
    let denied: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.allows)
        .map(item)
        .collect();
    let mut allowed: Vec<_> = match verdicts.allows_others {
        true => entries
            .iter()
            .filter(|entry| is_exception(entry))
            .map(item)
            .collect(),
        false => entries
            .iter()
            .filter(|entry| entry.allows)
            .map(item)
            .collect(),
    };
    let from = |items: &[Item]| items.iter().find_map(|item| item.from.clone());
    let Some(first) = from(&allowed)
        .or_else(|| from(&denied))
        .or(verdicts.others_from)
    else {
        return;
    };
    let mut denied = denied;
    if verdicts.allows_others && !allowed.is_empty() {
        // A list of `allow` denies all others.
        allowed.extend(everybody.map(Item::from));
        allowed.push(Item::from("unix"));
    } else if !verdicts.allows_others && allowed.is_empty() {
        denied = everybody.map(Item::from).into();
        denied.push(Item::from("unix"));
    }
    for (name, items) in [(names.0, allowed), (names.1, denied)] {
        if !items.is_empty() {
            keys.set(name, Value::List(items), &first);
        }
    }
}

fn verdicts(rules: &[Rule], allows_others: bool) -> Verdicts {
    let mut entries = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        let of = |network: &IpNet, allows| Entry {
            network: *network,
            allows,
            from: rule.from.clone(),
        };
        match &rule.networks {
            None if rule.is_negated => {}
            None => {
                return Verdicts {
                    entries,
                    allows_others: rule.allows,
                    others_from: Some(rule.from.clone()),
                };
            }
            Some(networks) if rule.is_negated => {
                // The rules after it decide for those networks only.
                let rest = verdicts(&rules[place + 1..], allows_others);
                for entry in &rest.entries {
                    let common = networks
                        .iter()
                        .filter_map(|network| common(network, &entry.network));
                    entries.extend(common.map(|network| Entry {
                        network,
                        ..entry.clone()
                    }));
                }
                entries.extend(
                    networks
                        .iter()
                        .map(|network| of(network, rest.allows_others)),
                );
                return Verdicts {
                    entries,
                    allows_others: rule.allows,
                    others_from: Some(rule.from.clone()),
                };
            }
            Some(networks) => {
                entries.extend(networks.iter().map(|network| of(network, rule.allows)));
            }
        }
    }
    Verdicts {
        entries,
        allows_others,
        others_from: None,
    }
}

/// What two networks have in common: the narrower one, if one is in the other.
pub(super) fn common(one: &IpNet, other: &IpNet) -> Option<IpNet> {
    if one.contains(other) {
        Some(*other)
    } else if other.contains(one) {
        Some(*one)
    } else {
        None
    }
}

/// A network as the configuration has it: a single address without its prefix.
pub(super) fn written(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.trunc().to_string()
    }
}

/// An address, or a network with the length of its prefix or its mask.
pub(super) fn network(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Some(address.into());
    }
    let (address, mask) = text.split_once('/')?;
    let address: std::net::IpAddr = address.parse().ok()?;
    let network = match mask.parse::<u8>() {
        Ok(length) => IpNet::new(address, length),
        Err(_) => IpNet::with_netmask(address, mask.parse().ok()?),
    };
    network.ok().map(|network| network.trunc())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn rule(allows: bool, networks: &str) -> Rule {
        let plain = networks.trim_start_matches('!');
        let all = plain == "all";
        Rule {
            networks: (!all).then(|| {
                plain
                    .split(' ')
                    .map(|text| network(text).expect(text))
                    .collect()
            }),
            is_negated: networks.starts_with('!'),
            allows,
            from: Origin::new(&Rc::from("a"), 1, networks),
        }
    }

    /// The two lists, each on one line.
    fn lists(rules: &[Rule]) -> [String; 2] {
        let mut keys = Keys::default();
        set(&mut keys, ("allow", "deny"), rules, true);
        let mut lists = [String::new(), String::new()];
        for entry in keys.into_entries() {
            lists[usize::from(entry.key == "deny")] = entry.value.inline().replace(['"', ','], "");
        }
        lists
    }

    #[test]
    fn lists_do_what_the_first_rule_that_suits_would() {
        let (yes, no) = (true, false);
        assert_eq!(lists(&[]), ["", ""]);
        assert_eq!(lists(&[rule(no, "10.0.0.0/8")]), ["", "[10.0.0.0/8]"]);
        let only = [rule(yes, "10.0.0.0/8 ::1"), rule(no, "all")];
        assert_eq!(lists(&only), ["[10.0.0.0/8 ::1]", ""]);
        let only = [rule(no, "!10.0.0.0/255.0.0.0")];
        assert_eq!(lists(&only), ["[10.0.0.0/8]", ""]);
        // An exception that comes first, and one that comes too late.
        let exception = [rule(yes, "10.1.0.0/16"), rule(no, "10.0.0.0/8")];
        assert_eq!(
            lists(&exception),
            ["[10.1.0.0/16 0.0.0.0/0 ::/0 unix]", "[10.0.0.0/8]"]
        );
        let late = [rule(no, "10.0.0.0/8"), rule(yes, "10.1.0.0/16")];
        assert_eq!(lists(&late), ["", "[10.0.0.0/8]"]);
        // Rules after a negated one decide within it only.
        let within = [
            rule(no, "!10.0.0.0/8"),
            rule(no, "10.6.6.6"),
            rule(yes, "192.0.2.1"),
        ];
        assert_eq!(lists(&within), ["[10.0.0.0/8]", "[10.6.6.6]"]);
        assert_eq!(lists(&[rule(no, "all")]), ["", "[0.0.0.0/0 ::/0 unix]"]);
        assert_eq!(lists(&[rule(yes, "all"), rule(no, "10.0.0.1")]), ["", ""]);
    }
}
