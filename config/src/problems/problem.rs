//! What is wrong with a configuration, where, and what to do about it.

use std::error::Error;
use std::fmt;

/// The most problems that are reported at once; of any others only the number is.
pub const PROBLEMS_MAX: usize = 100;

/// One thing that is wrong, or doubtful, in a configuration.
///
/// It displays as one line, `file:line:column: message`, which editors can jump to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The path of the key, such as `listeners.redis.shares`; absent when the text is not TOML.
    pub key: Option<String>,
    /// What is wrong and what to do, on one line.
    pub message: String,
}

impl Problem {
    /// A problem at a byte of `text`.
    pub(crate) fn locate(
        text: &str,
        file: &str,
        at: usize,
        key: Option<String>,
        message: String,
    ) -> Self {
        let (line, column) = position(text, at);
        Self {
            file: file.to_owned(),
            line,
            column,
            key,
            message,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

/// All the problems of one configuration, in the order of the file; displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    listed: Vec<Problem>,
    omitted: usize,
    warnings: Vec<Problem>,
}

impl Problems {
    pub(crate) fn new(listed: Vec<Problem>, omitted: usize) -> Self {
        Self {
            listed,
            omitted,
            warnings: Vec::new(),
        }
    }

    /// The same, with what is valid but hardly meant.
    pub(crate) fn with_warnings(self, warnings: Vec<Problem>) -> Self {
        Self { warnings, ..self }
    }

    /// The first [`PROBLEMS_MAX`] problems of the file, in its order.
    pub fn as_slice(&self) -> &[Problem] {
        &self.listed
    }

    /// How many problems there are beyond those of [`as_slice`](Self::as_slice).
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// What is valid but hardly meant, as in [`Loaded::warnings`](crate::Loaded::warnings). It is not displayed.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.listed
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.listed.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\n… and {omitted} more"),
        }
    }
}

impl Error for Problems {}

/// The line and column, both from 1, of a byte of `text`. Bytes are counted rather than slices
/// taken, so that an offset inside a character or past the end is no fault.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let column = 1 + before[line_start..]
        .iter()
        .filter(|&&byte| starts_character(byte))
        .count();
    (line, column)
}

fn starts_character(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "a\nä→b = 1\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 1), (1, 2));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, text.find('b').unwrap()), (2, 3));
        assert_eq!(position(text, text.len()), (3, 1));
        assert_eq!(position(text, usize::MAX), (3, 1));
    }
}
