//! What becomes of those who suit a condition, and of which of them the first one decides.

use std::rc::Rc;

use super::super::access;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::routing::{Rule, Target, Test};
use super::acl::Term;
use super::client::Client;
use super::expression::Asked;

/// A line, or one alternative of its condition. All terms must suit.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    pub(super) terms: Vec<Term>,
    pub(super) verdict: Verdict,
    pub(super) from: Origin,
}

/// What becomes of those who suit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rules of the next stage decide.
    Accept,
    Reject,
    /// They go to this upstream.
    Upstream(String),
}

impl Decision {
    /// Whether it decides for everybody.
    pub(super) fn is_for_everybody(&self) -> bool {
        self.terms.iter().all(is_everybody)
    }

    /// The rule of networks that it is, if it asks for nothing else.
    fn networks(&self) -> Option<access::Rule> {
        let mut asking = self.terms.iter().filter(|term| !is_everybody(term));
        let (networks, is_negated) = match (asking.next(), asking.next()) {
            (None, _) => (None, false),
            (Some(term), None) => {
                let networks = |asked: &Asked| match asked {
                    Asked::Route(Test::Source(networks)) => Some(networks.clone()),
                    _ => None,
                };
                let found: Option<Vec<_>> = term.any.iter().map(networks).collect();
                (Some(found?.concat()), term.is_negated)
            }
            (Some(_), Some(_)) => return None,
        };
        Some(access::Rule {
            networks,
            is_negated,
            allows: self.verdict == Verdict::Accept,
            from: self.from.clone(),
        })
    }

    /// The same about the one who has connected, whoever is announced.
    pub(super) fn of_peer(mut self) -> Self {
        for asked in self.terms.iter_mut().flat_map(|term| &mut term.any) {
            if let Asked::Route(test) = asked
                && let Test::Source(networks) = test
            {
                *test = Test::Peer(std::mem::take(networks));
            }
        }
        self
    }
}

fn is_everybody(term: &Term) -> bool {
    !term.is_negated
        && term
            .any
            .iter()
            .any(|asked| matches!(asked, Asked::Everybody))
}

/// Leaves out those that accept who would be accepted without them, too.
pub(super) fn leave_out_idle(stage: &mut Vec<Decision>, notes: &mut Notes) {
    while let Some(last) = stage.pop_if(|last| last.verdict == Verdict::Accept) {
        let asks = last.terms.iter().flat_map(|term| &term.any);
        let why = match asks.into_iter().any(|asked| *asked == Asked::Hello) {
            true => "a ClientHello is heard where a route asks for what is in it",
            false => "who is not refused by a rule is accepted",
        };
        notes.remark(&last.from, why);
    }
}

/// The part of a stage that lists of networks say, and the part that is left to routes.
pub(super) fn lists(stage: Vec<Decision>) -> (Vec<access::Rule>, Vec<Decision>) {
    let networks: Vec<_> = stage.iter().map(Decision::networks).collect();
    if stage
        .iter()
        .any(|decision| decision.verdict == Verdict::Accept)
    {
        // Their order counts, so that they can't be told apart.
        return match networks.iter().cloned().collect::<Option<Vec<_>>>() {
            Some(all) => (all, Vec::new()),
            None => (Vec::new(), stage),
        };
    }
    let left = stage.into_iter().zip(&networks);
    let left = left.filter_map(|(decision, found)| found.is_none().then_some(decision));
    let left = left.collect();
    (networks.into_iter().flatten().collect(), left)
}

/// The rules of a stage for a kind of client; `next` are those for who is accepted, of which the last one is for everybody.
pub(super) fn rules(stage: &[Decision], client: Client, next: &Rc<[Rule]>) -> Rc<[Rule]> {
    if stage.is_empty() {
        return Rc::clone(next);
    }
    let mut rules = Vec::new();
    for decision in stage {
        let Some(terms) = client.asked(&decision.terms) else {
            continue;
        };
        let target = match &decision.verdict {
            Verdict::Accept if terms.is_empty() => break,
            Verdict::Accept => Target::Rules(Rc::clone(next)),
            Verdict::Reject => Target::Reject,
            Verdict::Upstream(name) => Target::Upstream(name.clone()),
        };
        let is_last = terms.is_empty();
        let from = decision.from.clone();
        rules.push(Rule {
            terms,
            target,
            from,
        });
        if is_last {
            return rules.into();
        }
    }
    rules.extend(next.iter().cloned());
    rules.into()
}
