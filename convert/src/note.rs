//! What the author of a converted configuration should hear.

use std::collections::HashSet;
use std::fmt;

use super::origin::{Origin, Place, plain};

/// A line that the result doesn't say, or says otherwise. It displays as ``haproxy.cfg:12 `cookie SRV`: why``.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// Where it stands.
    pub place: Place,
    /// The original words.
    pub what: String,
    /// The reason, and what to do.
    pub why: String,
}

impl Note {
    pub(super) fn new(from: &Origin, why: impl Into<String>) -> Self {
        Self {
            place: from.place.clone(),
            what: from.words.to_string(),
            // It may have words of the original, and a line of its own would be no comment any more.
            why: plain(&why.into()),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.place, self.what, self.why)
    }
}

/// What a reader has to say besides the plan.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What is not carried over, so that the result does something else.
    pub(super) losses: Vec<Note>,
    /// What is of no effect here, or comes out nearly the same.
    pub(super) remarks: Vec<Note>,
    /// All of them, and whether each is a loss.
    said: HashSet<(bool, Note)>,
}

impl Notes {
    /// `from` is not carried over: `why`, with what to do.
    pub(super) fn lose(&mut self, from: &Origin, why: impl Into<String>) {
        let note = Note::new(from, why);
        if self.is_new(true, &note) {
            self.losses.push(note);
        }
    }

    /// `from` needs nothing here, or comes out nearly the same: `why`.
    pub(super) fn remark(&mut self, from: &Origin, why: impl Into<String>) {
        let note = Note::new(from, why);
        if self.is_new(false, &note) {
            self.remarks.push(note);
        }
    }

    /// Whether it is not said yet, as that of a default is which several sections have.
    fn is_new(&mut self, is_loss: bool, note: &Note) -> bool {
        self.said.insert((is_loss, note.clone()))
    }
}
