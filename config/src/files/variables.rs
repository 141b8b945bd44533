//! Variables of the environment in strings: `"${NAME}"`.

use std::cell::Cell;
use std::env::VarError;

use crate::problems::refusal::quoted;

/// What a variable of the environment is.
pub type Variable = fn(&str) -> Result<String, VarError>;

/// Bytes that all variables of a configuration may become together.
pub const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// Puts variables into strings.
#[derive(Debug)]
pub(crate) struct Expander {
    variable: Variable,
    /// Bytes that may still come.
    left: Cell<usize>,
}

impl Expander {
    pub(crate) fn new(variable: Variable) -> Self {
        Self {
            variable,
            left: Cell::new(EXPANDED_BYTES_MAX),
        }
    }

    /// The text with its variables; none if there is nothing to change.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence about the value.
    pub(crate) fn expand(&self, text: &str) -> Result<Option<String>, String> {
        if !text.contains("${") {
            return Ok(None);
        }
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$${") {
                expanded.push_str("${");
                rest = after;
            } else if let Some(inside) = rest.strip_prefix("${") {
                let (name, after) = inside
                    .split_once('}')
                    .ok_or_else(|| format!("has \"${{\" without an end; {ESCAPE}"))?;
                expanded.push_str(&self.value(name)?);
                rest = after;
            } else {
                expanded.push('$');
                rest = &rest[1..];
            }
        }
        expanded.push_str(rest);
        Ok(Some(expanded))
    }

    fn value(&self, name: &str) -> Result<String, String> {
        if !is_name(name) {
            return Err(format!(
                "has {} where the name of a variable must be: letters, digits and _; {ESCAPE}",
                quoted(&format!("${{{name}}}"))
            ));
        }
        let value = (self.variable)(name).map_err(|error| match error {
            VarError::NotPresent => {
                format!("uses the variable {name}, which is not set in the environment; set it, or {ESCAPE}")
            }
            VarError::NotUnicode(_) => {
                format!("uses the variable {name}, whose value is not UTF-8 text; set another value")
            }
        })?;
        let left = self.left.get().checked_sub(value.len()).ok_or_else(|| {
            format!(
                "uses the variable {name}, and all variables together are longer than {EXPANDED_BYTES_MAX} bytes; write \
                 less"
            )
        })?;
        self.left.set(left);
        Ok(value)
    }
}

const ESCAPE: &str = "write \"$${\" for \"${\" itself";

fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(valid) && name.starts_with(|first: char| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Result<String, VarError> {
        match name {
            "A" => Ok("a".to_owned()),
            "_B2" => Ok("${A} $${A} \"\\".to_owned()),
            "LONG" => Ok("x".repeat(EXPANDED_BYTES_MAX / 2)),
            "BYTES" => Err(VarError::NotUnicode("\u{1}".into())),
            _ => Err(VarError::NotPresent),
        }
    }

    fn expand(text: &str) -> Result<Option<String>, String> {
        Expander::new(variable).expand(text)
    }

    #[test]
    fn variables_become_their_values() {
        for (text, expanded) in [
            ("${A}", "a"),
            ("x${A}y${A}z", "xayaz"),
            ("ä${A}ä", "äaä"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$${A}${A}", "${A}a"),
            ("$ $$ ${A} $", "$ $$ a $"),
            // What a variable is isn't looked at once more.
            ("${_B2}", "${A} $${A} \"\\"),
        ] {
            assert_eq!(expand(text), Ok(Some(expanded.to_owned())), "{text}");
        }
        for text in ["", "a", "$A", "$", "{A}", "$$A"] {
            assert_eq!(expand(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for (text, part) in [
            ("${", "without an end"),
            ("a ${A", "without an end"),
            ("${}", "\"${}\" where the name"),
            ("${A-B}", "\"${A-B}\" where the name"),
            ("${1}", "\"${1}\" where the name"),
            ("${ A}", "\"${ A}\" where the name"),
            ("${NONE}", "NONE, which is not set"),
            ("${BYTES}", "BYTES, whose value is not UTF-8"),
        ] {
            let error = expand(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn their_length_is_bounded() {
        let expander = Expander::new(variable);
        for _ in 0..2 {
            let expanded = expander.expand("${LONG}").expect("there is room");
            assert_eq!(
                expanded.map(|text| text.len()),
                Some(EXPANDED_BYTES_MAX / 2)
            );
        }
        let error = expander.expand("${A}").expect_err("no room is left");
        assert!(error.contains("all variables together"), "{error}");
    }
}
