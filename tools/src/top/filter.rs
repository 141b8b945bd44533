//! Which rows are shown.

/// Characters of a filter.
const FILTER_MAX: usize = 60;

/// A word that a row must have somewhere in it.
#[derive(Debug, Default)]
pub(super) struct Filter {
    text: String,
    /// Whether keys are written into it.
    pub(super) is_typed: bool,
}

impl Filter {
    /// What is wanted; empty: everything.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The same as the proxy looks for it.
    pub(super) fn words(&self) -> String {
        self.text.trim().to_lowercase()
    }

    /// One more character of it.
    pub(super) fn push(&mut self, character: char) {
        if self.text.chars().count() < FILTER_MAX && !character.is_control() {
            self.text.push(character);
        }
    }

    /// Takes the last character away.
    pub(super) fn pop(&mut self) {
        self.text.pop();
    }

    /// Everything is shown again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a row with these words is shown. Capitals are as good as small letters.
    pub(super) fn matches<const N: usize>(&self, words: [&str; N]) -> bool {
        let wanted = self.text.to_lowercase();
        words
            .iter()
            .any(|word| word.to_lowercase().contains(wanted.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_has_it_anywhere_is_shown() {
        let mut filter = Filter::default();
        assert!(filter.matches(["a"]));
        "WEB".chars().for_each(|character| filter.push(character));
        assert!(filter.matches(["10.0.0.1:5", "the web"]));
        assert!(!filter.matches(["we", "b"]));
        filter.pop();
        assert!(filter.matches(["we", "b"]));
        filter.push('\n');
        assert_eq!(filter.text(), "WE");
        filter.clear();
        assert!(filter.matches(["x"]));
    }
}
