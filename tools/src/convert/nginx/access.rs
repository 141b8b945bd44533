//! `allow` and `deny`, which go by the first rule that suits.

use super::super::access::{ListNames, Rule, network, set as set_lists};
use super::super::note::Notes;
use super::super::plan::Keys;
use super::directive::Directive;

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
    Ok(())
}
