//! `.if`, `.elif`, `.else` and `.endif` of haproxy.cfg.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::words::Environment;

/// The most conditions within each other.
const DEPTH_MAX: usize = 64;

/// The conditions that are open, the outer ones first.
#[derive(Debug, Default)]
pub(super) struct Branches(Vec<Branch>);

#[derive(Debug)]
struct Branch {
    /// The lines of this one are read.
    is_taken: bool,
    /// One of its branches was, or none may be.
    is_over: bool,
    has_else: bool,
}

impl Branches {
    /// Whether the next line is read.
    pub(super) fn are_taken(&self) -> bool {
        self.0.iter().all(|branch| branch.is_taken)
    }

    /// The file ends.
    pub(super) fn end(&self) -> Result<(), &'static str> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err("an .if has no .endif")
        }
    }
}

/// Reads a line that begins with a dot.
///
/// # Errors
/// If it doesn't go with those before.
pub(super) fn directive(
    words: &[String],
    from: &Origin,
    branches: &mut Branches,
    environment: &Environment<'_>,
    notes: &mut Notes,
) -> Result<(), &'static str> {
    let expression = words[1..].join(" ");
    let is_met = |notes: &mut Notes| {
        let met = evaluate(&expression, environment);
        if met.is_none() {
            notes.lose(
                from,
                "this condition is not understood, and counts as met; remove what does not apply",
            );
        }
        met.unwrap_or(true)
    };
    match words[0].as_str() {
        ".if" => {
            if branches.0.len() >= DEPTH_MAX {
                return Err("too many .if within each other");
            }
            let is_over = !branches.are_taken();
            let is_taken = !is_over && is_met(notes);
            branches.0.push(Branch {
                is_taken,
                is_over: is_over || is_taken,
                has_else: false,
            });
        }
        ".elif" | ".else" => {
            let branch = branches.0.last_mut().ok_or("there is no .if for it")?;
            if branch.has_else {
                return Err("an .else comes before it");
            }
            branch.has_else = words[0] == ".else";
            branch.is_taken = !branch.is_over && (branch.has_else || is_met(notes));
            branch.is_over |= branch.is_taken;
        }
        ".endif" => {
            branches.0.pop().ok_or("there is no .if for it")?;
        }
        ".diag" | ".notice" | ".warning" => {}
        ".alert" if branches.are_taken() => return Err("it is an .alert, which refuses the file"),
        ".alert" => {}
        _ => return Err("there is no such directive"),
    }
    Ok(())
}

/// What a condition is now, or nothing if it is not understood.
fn evaluate(text: &str, environment: &Environment<'_>) -> Option<bool> {
    let all = |text: &str| {
        let mut terms = text
            .split("&&")
            .map(|term| term_is_met(term.trim(), environment));
        terms.try_fold(true, |met, term| Some(met & term?))
    };
    text.split("||")
        .map(all)
        .try_fold(false, |met, of_these| Some(met | of_these?))
}

fn term_is_met(text: &str, environment: &Environment<'_>) -> Option<bool> {
    let plain = text.trim_start_matches('!');
    let is_negated = (text.len() - plain.len()) % 2 == 1;
    let is_met = match plain.trim() {
        "" | "false" => false,
        "true" => true,
        plain => match plain.parse::<i64>() {
            Ok(number) => number != 0,
            Err(_) => call(plain, environment)?,
        },
    };
    Some(is_met != is_negated)
}

fn call(text: &str, environment: &Environment<'_>) -> Option<bool> {
    let (function, arguments) = text.strip_suffix(')')?.split_once('(')?;
    let arguments: Vec<_> = arguments.split(',').map(str::trim).collect();
    match (function, &arguments[..]) {
        ("defined", [name]) => Some(environment.get(name).is_some()),
        ("streq", [left, right]) => Some(left == right),
        ("strneq", [left, right]) => Some(left != right),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::input::Nowhere;
    use super::*;

    #[test]
    fn conditions_are_evaluated_or_not_understood() {
        let mut environment = Environment::new(&Nowhere);
        environment.set("SITE", Some("a"));
        for (text, expected) in [
            ("", Some(false)),
            ("1", Some(true)),
            ("!!0", Some(false)),
            ("defined(SITE)", Some(true)),
            ("!defined(SITE) || streq(a, a)", Some(true)),
            ("true && strneq(a,a)", Some(false)),
            ("feature(OPENSSL)", None),
            ("defined(SITE) && version_atleast(2.4)", None),
            (")(", None),
        ] {
            assert_eq!(evaluate(text, &environment), expected, "{text}");
        }
    }
}
