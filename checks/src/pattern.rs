//! What is looked for in an answer.

use regex::bytes::{Regex, RegexBuilder};

/// The most memory that a pattern may take when it is compiled, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What is looked for in an answer.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// These bytes.
    Bytes(Box<[u8]>),
    /// What this expression matches.
    Regex(Regex),
}

/// An expression that is none, or that would take too much memory.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl Pattern {
    /// Looks for bytes.
    pub fn bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// Looks for an expression in the syntax of the `regex` crate, over bytes.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn regex(text: &str) -> Result<Self, PatternError> {
        let built = RegexBuilder::new(text)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build();
        built.map(Self::Regex).map_err(|error| {
            // The last line says what is wrong; those before it draw where.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            PatternError(last.trim_start_matches("error: ").to_owned())
        })
    }

    /// Where the first match ends, if there is one. `seen` bytes were searched before without one.
    pub(crate) fn find_end(&self, bytes: &[u8], seen: usize) -> Option<usize> {
        match self {
            Self::Bytes(wanted) => {
                let from = seen.saturating_sub(wanted.len().saturating_sub(1));
                let mut windows = bytes.get(from..)?.windows(wanted.len().max(1));
                let found = windows.position(|window| window == &**wanted)?;
                Some(from + found + wanted.len())
            }
            Self::Regex(regex) => regex.find(bytes).map(|found| found.end()),
        }
    }
}
