//! The part of a URI after the question mark, and the parts of its path.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Parameters that a request may have.
const PARAMETERS_MAX: usize = 16;

/// What is wrong with a request, in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRequest(pub(crate) String);

/// The parameters of a query, each with its value.
#[derive(Debug)]
pub(crate) struct Parameters<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Parameters<'q> {
    /// Reads a query that may have these parameters, each once.
    ///
    /// # Errors
    /// When it has others, or one of them twice, or what isn't UTF-8.
    pub(crate) fn parse(query: &'q str, known: &[&str]) -> Result<Self, BadRequest> {
        let mut all: Vec<(Cow<'q, str>, Cow<'q, str>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !known.contains(&&*name) {
                return Err(BadRequest(match known {
                    [] => format!("there is no parameter {name:?}; none can be given here"),
                    _ => format!(
                        "there is no parameter {name:?}; known are {}",
                        known.join(", ")
                    ),
                }));
            }
            if all.iter().any(|(before, _)| *before == name) || all.len() == PARAMETERS_MAX {
                return Err(BadRequest(format!("{name} is given twice")));
            }
            all.push((name, value));
        }
        Ok(Self(all))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(one, _)| one == name).map(|(_, value)| &**value)
    }

    /// Whether a parameter says yes: it may stand without a value.
    ///
    /// # Errors
    /// When it says something else.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, BadRequest> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(BadRequest(format!("{name} must be true or false"))),
        }
    }

    /// The number that a parameter has, at most `max`.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn number(&self, name: &str, max: u64) -> Result<Option<u64>, BadRequest> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        // A sign is no digit.
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value
            .parse()
            .ok()
            .filter(|number| is_number && *number <= max);
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(BadRequest(format!("{name} must be a number up to {max}"))),
        }
    }
}

/// A part of a URI without its escapes.
///
/// # Errors
/// When that isn't UTF-8.
pub(crate) fn decoded(part: &str) -> Result<Cow<'_, str>, BadRequest> {
    percent_decode_str(part)
        .decode_utf8()
        .map_err(|_| BadRequest("the address has escapes that are not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_once_each() {
        let read = |query| Parameters::parse(query, &["limit", "client", "write"]);
        let all = read("limit=7&client=10.0.0.1%3A80&write").expect("in order");
        assert_eq!(all.number("limit", 10), Ok(Some(7)));
        assert_eq!(all.get("client"), Some("10.0.0.1:80"));
        assert_eq!((all.flag("write"), all.get("none")), (Ok(true), None));
        let absent = read("").expect("in order");
        assert_eq!(
            (absent.number("limit", 10), absent.flag("write")),
            (Ok(None), Ok(false))
        );
        for bad in ["limit=1&limit=1", "lmit=1", "client=%ff"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in ["limit=", "limit=11", "limit=-1", "limit=+1", "limit=x"] {
            let read = read(bad).expect("in order");
            assert!(read.number("limit", 10).is_err(), "{bad}");
        }
        assert!(read("write=yes").expect("in order").flag("write").is_err());
    }
}
