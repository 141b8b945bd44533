//! Why a value was refused.

use std::fmt;

use toml::de::DeValue;

/// The most characters of a key or value that are repeated in a message.
const SHOWN_CHARS_MAX: usize = 64;

/// The second half of the sentence "`key` must be …, not …; …".
#[derive(Debug)]
pub(crate) struct Refusal {
    expected: String,
    found: String,
    advice: Option<String>,
}

impl Refusal {
    /// The value is not what was `expected`, a noun phrase with its article.
    pub(crate) fn new(expected: impl Into<String>, found: &DeValue<'_>) -> Self {
        Self {
            expected: expected.into(),
            found: shown(found),
            advice: None,
        }
    }

    /// Says what to write instead, or why not this.
    pub(crate) fn advise(self, advice: impl Into<Option<String>>) -> Self {
        Self {
            advice: advice.into(),
            ..self
        }
    }

    /// Names something else that would have been accepted too.
    pub(crate) fn or_else(mut self, alternative: &str) -> Self {
        self.expected.push_str(alternative);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be {}, not {}", self.expected, self.found)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// A string in quotes, on one line, and cut if it is long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A value as its author would recognise it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) if number.as_str().len() <= SHOWN_CHARS_MAX => number.to_string(),
        DeValue::Integer(_) => "an integer".to_owned(),
        DeValue::Float(number) if number.as_str().len() <= SHOWN_CHARS_MAX => {
            number.as_str().to_owned()
        }
        DeValue::Float(_) => "a float".to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
