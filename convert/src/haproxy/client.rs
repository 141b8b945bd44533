//! What clients say first, as far as rules tell them apart by it.

use super::super::routing::{Term, Test};
use super::acl;
use super::expression::Asked;

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// It says a ClientHello with a server name.
    Named,
    /// It says one without.
    Nameless,
    /// It says something else.
    Plain,
    /// It says nothing for as long as it is waited for.
    Silent,
}

/// What is known of a question before a connection is there.
enum Answer {
    Yes,
    No,
    Asks(Test),
}

impl Client {
    /// The terms that are left to ask of such a client; nothing where it never suits.
    pub(super) fn asked(self, terms: &[acl::Term]) -> Option<Vec<Term>> {
        let mut left = Vec::new();
        for term in terms {
            let (mut any, mut suits) = (Vec::new(), false);
            for asked in &term.any {
                match self.answer(asked) {
                    Answer::Yes => suits = true,
                    Answer::No => {}
                    Answer::Asks(test) => any.push(test),
                }
            }
            match (suits, any.is_empty(), term.is_negated) {
                (true, _, false) | (false, true, true) => {}
                (true, _, true) | (false, true, false) => return None,
                (false, false, is_negated) => left.push(Term { any, is_negated }),
            }
        }
        Some(left)
    }

    fn answer(self, asked: &Asked) -> Answer {
        let known = |is_so: bool| if is_so { Answer::Yes } else { Answer::No };
        match asked {
            Asked::Everybody => Answer::Yes,
            Asked::Hello => known(self.says_hello()),
            Asked::Said => known(self != Self::Silent),
            Asked::Silent => known(self == Self::Silent),
            Asked::Route(Test::Sni(names)) if names.iter().any(|name| name == "*") => {
                known(self == Self::Named)
            }
            Asked::Route(test) | Asked::Nearly(test, _) if self.can_say(test) => {
                Answer::Asks(test.clone())
            }
            // Limits and servers are no question about a client, and nobody asks for them here.
            _ => Answer::No,
        }
    }

    /// Whether a test may be true of such a client.
    pub(super) fn can_say(self, test: &Test) -> bool {
        match test {
            Test::Sni(_) => self == Self::Named,
            Test::Alpn(_) => self.says_hello(),
            Test::Source(_) | Test::Peer(_) | Test::Port(_) => true,
        }
    }

    fn says_hello(self) -> bool {
        matches!(self, Self::Named | Self::Nameless)
    }
}
