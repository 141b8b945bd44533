//! The texts of several files in one row: a place in any of them is one number.

use crate::problems::problem::Problem;

/// The texts, each after the one before it.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    texts: Vec<Text>,
}

#[derive(Debug)]
struct Text {
    /// What problems call the file.
    name: String,
    /// Where it begins.
    start: usize,
    text: String,
}

impl Texts {
    /// Puts a text after the others.
    pub(crate) fn push(&mut self, name: String, text: String) {
        let start = self.end();
        self.texts.push(Text { name, start, text });
    }

    /// Where the next text will begin: beyond the place right after the last one.
    pub(crate) fn end(&self) -> usize {
        let last = self.texts.last();
        last.map_or(0, |last| last.start + last.text.len() + 1)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.iter().map(|text| text.text.len()).sum()
    }

    /// Where each begins, and what it is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.texts
            .iter()
            .map(|text| (text.start, text.text.as_str()))
    }

    /// A problem at a place of any of them.
    pub(crate) fn problem(&self, at: usize, key: Option<String>, message: String) -> Problem {
        let index = self.texts.partition_point(|text| text.start <= at);
        match index.checked_sub(1).and_then(|index| self.texts.get(index)) {
            Some(text) => Problem::locate(&text.text, &text.name, at - text.start, key, message),
            None => Problem::locate("", "", 0, key, message),
        }
    }

    /// A place as it is named in a sentence: `file:line:column`.
    pub(crate) fn place(&self, at: usize) -> String {
        let Problem {
            file, line, column, ..
        } = self.problem(at, None, String::new());
        format!("{file}:{line}:{column}")
    }
}
