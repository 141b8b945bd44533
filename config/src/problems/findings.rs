//! Where the readers of a document put what they find.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::problems::problem::{PROBLEMS_MAX, Problems};
use crate::problems::texts::Texts;

/// A growing, bounded collection of problems, ordered by their place in the text.
///
/// It is shared by all readers of one document, so it is a cell; nothing is borrowed from it while
/// they run.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// The first [`PROBLEMS_MAX`] by byte, then by the order in which they were found.
    listed: BTreeMap<(usize, usize), Finding>,
    total: usize,
    /// Places of which nothing more is said.
    silenced: BTreeSet<usize>,
}

#[derive(Debug)]
struct Finding {
    key: Option<String>,
    message: String,
}

impl Findings {
    /// Adds a problem at the byte `at` of the text.
    pub(crate) fn add(&self, at: usize, key: Option<String>, message: String) {
        let mut found = self.found.borrow_mut();
        if found.silenced.contains(&at) {
            return;
        }
        let order = found.total;
        found.total += 1;
        found.listed.insert((at, order), Finding { key, message });
        if found.listed.len() > PROBLEMS_MAX {
            found.listed.pop_last();
        }
    }

    /// Adds a problem with a value that is not known for it: whatever else is found at its place is not added.
    pub(crate) fn add_last(&self, at: usize, key: Option<String>, message: String) {
        self.add(at, key, message);
        self.found.borrow_mut().silenced.insert(at);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.borrow().total == 0
    }

    /// The problems with their places in `texts`.
    pub(crate) fn locate(self, texts: &Texts) -> Problems {
        let found = self.found.into_inner();
        let omitted = found.total - found.listed.len();
        let listed = found.listed.into_iter();
        let located =
            listed.map(|((at, _), finding)| texts.problem(at, finding.key, finding.message));
        Problems::new(located.collect(), omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_first_of_the_file_and_counts_the_rest() {
        let text = "\n".repeat(2 * PROBLEMS_MAX);
        let findings = Findings::default();
        for at in (0..2 * PROBLEMS_MAX).rev() {
            findings.add(at, None, format!("problem {at}"));
        }
        let mut texts = Texts::default();
        texts.push("proxy.toml".to_owned(), text);
        let problems = findings.locate(&texts);
        assert_eq!(problems.as_slice().len(), PROBLEMS_MAX);
        assert_eq!(problems.omitted(), PROBLEMS_MAX);
        let written = problems.to_string();
        assert!(written.starts_with("proxy.toml:1:1: problem 0\nproxy.toml:2:1: problem 1\n"));
        assert!(written.ends_with("\n… and 100 more"));
    }
}
