//! What the author of a converted configuration should hear.

use std::fmt;

use super::origin::{Origin, Place};

/// A line that the result doesn't say, or says otherwise. It displays as ``haproxy.cfg:12 `cookie SRV`: why``.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            why: why.into(),
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
}

impl Notes {
    /// `from` is not carried over: `why`, with what to do.
    pub(super) fn lose(&mut self, from: &Origin, why: impl Into<String>) {
        push(&mut self.losses, Note::new(from, why));
    }

    /// `from` needs nothing here, or comes out nearly the same: `why`.
    pub(super) fn remark(&mut self, from: &Origin, why: impl Into<String>) {
        push(&mut self.remarks, Note::new(from, why));
    }
}

/// Adds a note unless it is said already, as that of a default which several sections have.
fn push(notes: &mut Vec<Note>, note: Note) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}
