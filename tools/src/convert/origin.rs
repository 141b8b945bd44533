//! Where something stands in the configuration of another proxy.

use std::fmt;
use std::rc::Rc;

/// The most characters of a line's words that are shown.
const WORDS_MAX: usize = 100;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as the caller named it.
    pub file: Rc<str>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a key of the result came from: a line and its words. It displays as `haproxy.cfg:12 server a 10.0.0.1:80`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Where it stands.
    pub place: Place,
    /// The original words, on one line and not too many.
    pub words: Rc<str>,
}

impl Origin {
    /// What stands at `line` of `file`. Control characters become spaces, and long words are cut.
    pub fn new(file: &Rc<str>, line: usize, words: &str) -> Self {
        let file = Rc::clone(file);
        Self {
            place: Place { file, line },
            words: shown(words).into(),
        }
    }

    /// The same place, of which only these words are meant.
    pub fn part(&self, words: &str) -> Self {
        Self {
            place: self.place.clone(),
            words: shown(words).into(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.words)
    }
}

/// A text as it can stand in a comment and on a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut characters = text.trim().chars();
    let plain = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    let mut shown: String = characters.by_ref().take(WORDS_MAX).map(plain).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}
