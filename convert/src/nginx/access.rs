//! `allow` and `deny`, which go by the first rule that suits.

use super::super::access::{ListNames, Rule, network, set as set_lists};
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;
use super::super::value::{Item, Value};
use super::directive::Directive;

/// What clients of unix sockets are called.
const UNIX: &str = "unix:";

/// Rules of one server; more are a loss.
const RULES_MAX: usize = 1024;

/// Sets the lists of these directives, all of them `allow` and `deny`. Without them all, the listener would let in others than before,
/// which was said then.
pub(super) fn set(
    rules: &[&Directive],
    names: ListNames,
    keys: &mut Keys,
    notes: &mut Notes,
) -> Result<(), ()> {
    let mut all = Vec::new();
    for rule in rules.iter().take(RULES_MAX) {
        if rule.value() == UNIX {
            continue;
        }
        let networks = match rule.value() {
            "all" => None,
            text => match network(text) {
                Some(network) => Some(vec![network]),
                None => {
                    notes.lose(&rule.from, "this is neither an address nor a network");
                    return Err(());
                }
            },
        };
        all.push(Rule {
            networks,
            is_negated: false,
            allows: rule.name == "allow",
            from: rule.from.clone(),
        });
    }
    if let Some(more) = rules.get(RULES_MAX) {
        let why = format!(
            "more than {RULES_MAX} rules; put them into files, one network a line, and name these as \"file:…\""
        );
        notes.lose(&more.from, why);
        return Err(());
    }
    set_lists(keys, names, &all, true);
    if let Some(rule) = rules.iter().find(|rule| rule.value() == UNIX) {
        let first = rules
            .iter()
            .find(|rule| [UNIX, "all"].contains(&rule.value()));
        let allows = first.is_none_or(|rule| rule.name == "allow");
        put_unix(names, allows, keys, &rule.from);
    }
    Ok(())
}

/// Has clients of unix sockets in the list where they belong.
fn put_unix(names: ListNames, allows: bool, keys: &mut Keys, from: &Origin) {
    for (name, is_in) in [(names.0, allows), (names.1, !allows)] {
        let items = match keys.get(name) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        };
        let others: Vec<Item> = items
            .iter()
            .filter(|item| item.value != "unix".into())
            .cloned()
            .collect();
        // Without a list of `allow`, who isn't denied is allowed.
        let adds = is_in && (name == names.1 || !items.is_empty());
        let unix = adds.then(|| Item::new("unix", from));
        let all: Vec<Item> = others.into_iter().chain(unix).collect();
        if all.is_empty() {
            keys.remove(name);
        } else {
            keys.set(name, Value::List(all), from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::directive::directives;
    use super::*;

    /// The two lists, each on one line.
    fn lists(text: &str) -> [String; 2] {
        let find = &mut |_: &str| Ok(Vec::new());
        let all = directives(&"nginx.conf".into(), text, find).expect("readable");
        let (mut keys, mut notes) = (Keys::default(), Notes::default());
        let rules: Vec<_> = all.iter().collect();
        set(&rules, ("allow", "deny"), &mut keys, &mut notes).expect("rules");
        ["allow", "deny"].map(|name| {
            let list = keys.get(name).map(Value::inline).unwrap_or_default();
            list.replace('"', "")
        })
    }

    #[test]
    fn clients_of_unix_sockets_are_where_the_first_rule_puts_them() {
        assert_eq!(lists("deny unix:;"), ["", "[unix]"]);
        assert_eq!(lists("allow unix:; deny all;"), ["", "[0.0.0.0/0, ::/0]"]);
        assert_eq!(
            lists("deny all; allow unix:;"),
            ["", "[0.0.0.0/0, ::/0, unix]"]
        );
        assert_eq!(
            lists("allow 10.0.0.0/8; allow unix:; deny all;"),
            ["[10.0.0.0/8, unix]", ""]
        );
        assert_eq!(
            lists("allow 10.0.0.1; deny 10.0.0.0/8; deny unix:;"),
            ["[10.0.0.1, 0.0.0.0/0, ::/0]", "[10.0.0.0/8, unix]"]
        );
    }
}
