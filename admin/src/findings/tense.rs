//! Findings in two tenses: one that was true a moment ago stays for a while, and says so.

use proxy_state::Finding;

/// Whether a finding is so now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tense {
    Now,
    Past,
}

/// A finding in both tenses.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) now: Finding,
    pub(super) past: Finding,
}

impl Told {
    /// What `describe` says of one and the same thing.
    pub(super) fn of(describe: impl Fn(Tense) -> Finding) -> Self {
        Self {
            now: describe(Tense::Now),
            past: describe(Tense::Past),
        }
    }

    /// What ends at once: it is never shown in the past.
    pub(super) fn fact(finding: Finding) -> Self {
        Self {
            past: finding.clone(),
            now: finding,
        }
    }
}

impl Tense {
    /// One of two words: of now, or of the past.
    pub(super) fn choose(self, now: &'static str, past: &'static str) -> &'static str {
        match self {
            Self::Now => now,
            Self::Past => past,
        }
    }

    pub(super) fn is(self) -> &'static str {
        self.choose("is", "was")
    }

    pub(super) fn are(self) -> &'static str {
        self.choose("are", "were")
    }

    pub(super) fn has(self) -> &'static str {
        self.choose("has", "had")
    }
}
