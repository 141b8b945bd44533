//! Where something stands in the configuration of another proxy.

use std::fmt;
use std::rc::Rc;

/// The most characters of a line's words that are shown.
const WORDS_MAX: usize = 100;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, as the caller named it.
    pub file: Rc<str>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", plain(&self.file), self.line)
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

/// The begin of a text as it can stand in a comment and on a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut characters = text.trim().chars();
    let begin: String = characters.by_ref().take(WORDS_MAX).collect();
    let mut shown = plain(&begin);
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A text as it can stand in a comment and on a terminal: on one line, and without what moves the cursor.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
