//! Values of the result, as TOML has them.

use std::fmt::Write;
use std::time::Duration;

use super::origin::Origin;

/// A value of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(u64),
    Boolean(bool),
    /// A duration, in the largest unit that divides it.
    Time(Duration),
    /// On one line, unless items say where they came from.
    List(Vec<Item>),
    /// On one line.
    Table(Vec<(&'static str, Value)>),
    /// Names with their weights, on one line.
    Weights(Vec<(String, u64)>),
}

/// An item of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) value: Value,
    /// Where it came from, if it is not where the whole list did.
    pub(super) from: Option<Origin>,
}

impl Item {
    pub(super) fn new(value: impl Into<Value>, from: &Origin) -> Self {
        Self {
            value: value.into(),
            from: Some(from.clone()),
        }
    }
}

impl<V: Into<Value>> From<V> for Item {
    fn from(value: V) -> Self {
        Self {
            value: value.into(),
            from: None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Time(duration)
    }
}

impl<I: Into<Item>> FromIterator<I> for Value {
    fn from_iter<T: IntoIterator<Item = I>>(items: T) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl Value {
    /// The value in TOML, on one line.
    pub(super) fn inline(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Time(duration) => quoted(&written(*duration)),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.value.inline()).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("{key} = {}", value.inline()))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
            Self::Weights(weights) => {
                let weights: Vec<_> = weights
                    .iter()
                    .map(|(name, weight)| format!("{} = {weight}", quoted(name)))
                    .collect();
                format!("{{ {} }}", weights.join(", "))
            }
        }
    }
}

/// A string of TOML. What the configuration would take for a variable is escaped by its rule.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.replace("${", "$${").chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// The units of durations, in nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A duration in the largest unit that divides it.
fn written(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let divides = |(_, scale): &&(&str, u128)| nanos >= *scale && nanos.is_multiple_of(*scale);
    match UNITS.iter().find(divides) {
        Some((unit, scale)) => format!("{}{unit}", nanos / scale),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_toml_and_the_configuration_want_it() {
        let text = "a\"b\\c\r\n\t\u{1}\u{7f}${HOME} ä";
        let quoted = quoted(text);
        assert_eq!(quoted, "\"a\\\"b\\\\c\\r\\n\\t\\u0001\\u007F$${HOME} ä\"");
    }

    #[test]
    fn durations_have_the_largest_unit() {
        for (millis, text) in [
            (0, "0s"),
            (1, "1ms"),
            (90_000, "90s"),
            (60_000, "1m"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(written(Duration::from_millis(millis)), text);
        }
    }
}
