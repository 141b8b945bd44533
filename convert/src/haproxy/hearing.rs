//! The rules of all kinds of clients as one list, as routes know them: by the names that they say, or not at all.

use std::rc::Rc;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::routing::{Rule, Target, Term, Test};
use super::client::Client;

/// The rules for everybody.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) rules: Vec<Rule>,
    /// Who speaks no TLS is refused, by this rule.
    pub(super) not_tls: Option<Origin>,
}

impl Hearing {
    /// Puts together the rules of each kind of client, of which the last one is for everybody.
    ///
    /// # Errors
    /// A rule that refuses clients who would be let in, and why.
    pub(super) fn of(
        rules: impl Fn(Client) -> Rc<[Rule]>,
        notes: &mut Notes,
    ) -> Result<Self, (Origin, String)> {
        let [named, nameless, plain, silent] = [
            Client::Named,
            Client::Nameless,
            Client::Plain,
            Client::Silent,
        ]
        .map(rules);
        let mut not_tls = None;
        let mut lost = Vec::new();
        let rest = if let Some(from) = refuses_all(&plain)
            && refuses_all(&nameless).is_none()
        {
            not_tls = Some(from.clone());
            if refuses_all(&silent).is_none() {
                let why = "clients that say nothing are refused as those that speak no TLS";
                notes.lose(first_other(&silent, &plain), why);
            }
            &nameless
        } else {
            let is_alike = of_those(&nameless, Client::Plain) == *plain;
            if !is_alike {
                let why = "clients of TLS that ask for no server name are taken for others";
                lost.push((&nameless, why));
            }
            if silent != plain {
                let why = "clients that say nothing are taken for those that speak no TLS";
                lost.push((&silent, why));
            }
            if is_alike { &nameless } else { &plain }
        };
        for (its, why) in lost {
            if let Some(refusing) = let_in(its, rest) {
                return Err((refusing.clone(), why.to_owned()));
            }
            notes.lose(first_other(its, rest), why);
        }
        let names_tell = of_those(&named, Client::Nameless) == **rest
            && (not_tls.is_some() || of_those(&named, Client::Plain) == *plain);
        let rules = if names_tell {
            named.to_vec()
        } else {
            apart(&named, rest)
        };
        Ok(Self { rules, not_tls })
    }
}

/// The rule that refuses everybody.
fn refuses_all(rules: &[Rule]) -> Option<&Origin> {
    let first = rules.first()?;
    (first.terms.is_empty() && first.target == Target::Reject).then_some(&first.from)
}

/// Where rules differ from others.
fn first_other<'r>(rules: &'r [Rule], others: &[Rule]) -> &'r Origin {
    let other = rules.iter().find(|rule| !others.contains(rule));
    &other.unwrap_or(&rules[0]).from
}

/// A rule that refuses clients who would not be refused by `others`.
fn let_in<'r>(rules: &'r [Rule], others: &[Rule]) -> Option<&'r Origin> {
    if refuses_all(others).is_some() {
        return None;
    }
    let is_let_in = |(place, rule): &(usize, &Rule)| match &rule.target {
        Target::Upstream(_) => false,
        Target::Rules(next) => next.iter().any(refuses) && !others.contains(rule),
        Target::Reject => {
            let same = others.iter().position(|other| other == *rule);
            // Who comes to it there must have come to it here.
            let takes_more =
                |other: &Rule| other.target != Target::Reject && !rules[..*place].contains(other);
            same.is_none_or(|same| others[..same].iter().any(takes_more))
        }
    };
    let found = rules.iter().enumerate().find(is_let_in);
    found.map(|(_, rule)| &rule.from)
}

fn refuses(rule: &Rule) -> bool {
    match &rule.target {
        Target::Reject => true,
        Target::Rules(next) => next.iter().any(refuses),
        Target::Upstream(_) => false,
    }
}

/// What rules come to for a kind of client that can say less.
fn of_those(rules: &[Rule], client: Client) -> Vec<Rule> {
    let mut left = Vec::new();
    for rule in rules {
        let Some(terms) = terms_of_those(&rule.terms, client) else {
            continue;
        };
        let is_last = terms.is_empty();
        let target = match &rule.target {
            Target::Rules(next) if is_last => {
                left.extend(of_those(next, client));
                return left;
            }
            Target::Rules(next) => Target::Rules(of_those(next, client).into()),
            target => target.clone(),
        };
        let from = rule.from.clone();
        left.push(Rule {
            terms,
            target,
            from,
        });
        if is_last {
            break;
        }
    }
    left
}

/// The terms that are left to ask; nothing where such a client never suits.
fn terms_of_those(terms: &[Term], client: Client) -> Option<Vec<Term>> {
    let mut left = Vec::new();
    for term in terms {
        let any = term.any.iter().filter(|test| client.can_say(test));
        let any: Vec<_> = any.cloned().collect();
        match (any.is_empty(), term.is_negated) {
            (true, true) => {}
            (true, false) => return None,
            (false, is_negated) => left.push(Term { any, is_negated }),
        }
    }
    Some(left)
}

/// The rules of those who say a name, and after them those of the rest.
fn apart(named: &[Rule], rest: &[Rule]) -> Vec<Rule> {
    let same = named
        .iter()
        .zip(rest)
        .take_while(|(one, other)| one == other);
    let same = same.count();
    let mut rules = named.to_vec();
    for rule in &mut rules[same..] {
        let is_name = |term: &Term| {
            !term.is_negated && term.any.iter().all(|test| matches!(test, Test::Sni(_)))
        };
        if !rule.terms.iter().any(is_name) {
            let any = vec![Test::Sni(vec!["*".to_owned()])];
            let is_negated = false;
            rule.terms.insert(0, Term { any, is_negated });
        }
    }
    rules.extend_from_slice(&rest[same..]);
    rules
}
