//! Conditions: `acl` lines, and `if` and `unless`.

use std::collections::HashMap;

use super::super::access;
use super::super::input::Surroundings;
use super::super::routing::Test;
use super::expression::{self, Asked};
use super::section::Line;

/// A part of a condition: one of what is asked for.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) any: Vec<Asked>,
    pub(super) is_negated: bool,
}

/// A condition: one of these, of which each has all of its terms.
pub(super) type Condition = Vec<Vec<Term>>;

/// The named expressions of a proxy. Several lines of one name mean that one of them is enough.
pub(super) struct Acls<'a> {
    named: HashMap<&'a str, Vec<Result<Asked, String>>>,
    surroundings: &'a dyn Surroundings,
}

impl<'a> Acls<'a> {
    pub(super) fn new(lines: &'a [Line], surroundings: &'a dyn Surroundings) -> Self {
        let mut named: HashMap<&str, Vec<_>> = HashMap::new();
        for line in lines {
            let words = line.words();
            let asked = expression::read(&words[2..], surroundings);
            named.entry(line.words[1].as_str()).or_default().push(asked);
        }
        Self {
            named,
            surroundings,
        }
    }

    /// What `if …` or `unless …` at the end of a line asks for; of no words at all, nothing.
    ///
    /// # Errors
    /// What can't be asked for here.
    pub(super) fn condition(&self, words: &[&str]) -> Result<Condition, String> {
        let condition = match words {
            [] => return Ok(vec![Vec::new()]),
            ["if", rest @ ..] => self.disjunction(rest)?,
            ["unless", rest @ ..] => match &self.disjunction(rest)?[..] {
                [terms] if terms.len() > 1 => {
                    // Not all of them: one of them doesn't suit.
                    terms.iter().map(|term| vec![term.clone().negated()]).collect()
                }
                one_each if one_each.iter().all(|terms| terms.len() == 1) => {
                    vec![one_each.iter().map(|terms| terms[0].clone().negated()).collect()]
                }
                _ => return Err("`unless` with both `or` and several conditions can't be turned around; write it as `if`".to_owned()),
            },
            [word, ..] => return Err(format!("`{word}` is neither `if` nor `unless`")),
        };
        Ok(condition)
    }

    fn disjunction(&self, words: &[&str]) -> Result<Condition, String> {
        let mut all = vec![Vec::new()];
        let mut rest = words;
        while let Some((&word, after)) = rest.split_first() {
            rest = after;
            if matches!(word, "or" | "||") {
                all.push(Vec::new());
                continue;
            }
            let mut is_negated = false;
            let mut name = word;
            while let Some(positive) = name.strip_prefix('!') {
                is_negated = !is_negated;
                name = positive;
                if name.is_empty() {
                    let (&next, after) = rest.split_first().ok_or("a condition ends with `!`")?;
                    (name, rest) = (next, after);
                }
            }
            let any = if name == "{" {
                let end = rest
                    .iter()
                    .position(|word| *word == "}")
                    .ok_or("a `}` is missing")?;
                let asked = expression::read(&rest[..end], self.surroundings)?;
                rest = &rest[end + 1..];
                vec![asked]
            } else {
                self.named(name)?
            };
            let term = Term { any, is_negated };
            if let Some(last) = all.last_mut() {
                last.push(term);
            }
        }
        if all.iter().any(Vec::is_empty) {
            return Err("a condition is missing".to_owned());
        }
        Ok(all)
    }

    fn named(&self, name: &str) -> Result<Vec<Asked>, String> {
        if let Some(found) = self.named.get(name) {
            return found.iter().cloned().collect();
        }
        let local = || {
            ["127.0.0.0/8", "::1"]
                .iter()
                .filter_map(|text| access::network(text))
                .collect()
        };
        Ok(vec![match name {
            "TRUE" | "WAIT_END" => Asked::Everybody,
            "FALSE" => Asked::Nobody,
            "LOCALHOST" => Asked::Route(Test::Source(local())),
            "REQ_CONTENT" => Asked::Said,
            _ => {
                return Err(format!(
                    "the condition `{name}` is not defined, or asks for HTTP or RDP, which corelane doesn't read"
                ));
            }
        }])
    }
}

impl Term {
    fn negated(self) -> Self {
        let is_negated = !self.is_negated;
        Self { is_negated, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::input::Nowhere;
    use super::*;

    #[test]
    fn conditions_are_read_with_their_negations() {
        let acls = Acls::new(&[], &Nowhere);
        let shown = |text: &str| {
            let words: Vec<_> = text.split(' ').collect();
            acls.condition(&words).map(|all| {
                let terms = all
                    .iter()
                    .map(|terms| terms.iter().map(|term| term.is_negated).collect::<Vec<_>>());
                terms.collect::<Vec<_>>()
            })
        };
        assert_eq!(
            shown("if LOCALHOST !FALSE or ! TRUE"),
            Ok(vec![vec![false, true], vec![true]])
        );
        assert_eq!(
            shown("unless LOCALHOST or !FALSE"),
            Ok(vec![vec![true, false]])
        );
        assert_eq!(
            shown("unless LOCALHOST FALSE"),
            Ok(vec![vec![true], vec![true]])
        );
        assert_eq!(shown("if !{ src 10.0.0.1 }"), Ok(vec![vec![true]]));
        for text in [
            "if",
            "unless",
            "if {",
            "if !",
            "if a",
            "when TRUE",
            "unless TRUE FALSE or TRUE",
            "if TRUE or",
        ] {
            assert!(shown(text).is_err(), "{text}");
        }
    }
}
