//! Several documents of TOML as one: in one row of places, with variables, merged.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::files::variables::Expander;
use crate::problems::findings::Findings;
use crate::problems::path::join;
use crate::problems::texts::Texts;

/// Moves values of a document that begins at `start` to their places in the row, and puts variables into strings.
pub(crate) struct Placer<'e> {
    pub(crate) start: usize,
    pub(crate) expander: &'e Expander,
    pub(crate) errors: &'e Findings,
}

impl Placer<'_> {
    pub(crate) fn table<'d>(&self, path: &str, table: DeTable<'d>) -> DeTable<'d> {
        let mut placed = DeTable::new();
        for (key, value) in table {
            let value = self.value(&join(path, key.get_ref()), value);
            placed.insert(self.spanned(key.span(), key.into_inner()), value);
        }
        placed
    }

    /// A value of the key at `path`.
    pub(crate) fn value<'d>(
        &self,
        path: &str,
        value: Spanned<DeValue<'d>>,
    ) -> Spanned<DeValue<'d>> {
        let span = value.span();
        let value = match value.into_inner() {
            DeValue::String(text) => DeValue::String(self.text(path, span.start, text)),
            DeValue::Array(array) => {
                let mut placed = DeArray::new();
                for (index, element) in array.into_iter().enumerate() {
                    placed.push(self.value(&format!("{path}[{index}]"), element));
                }
                DeValue::Array(placed)
            }
            DeValue::Table(table) => DeValue::Table(self.table(path, table)),
            other => other,
        };
        self.spanned(span, value)
    }

    fn text<'d>(&self, path: &str, at: usize, text: Cow<'d, str>) -> Cow<'d, str> {
        match self.expander.expand(&text) {
            Ok(None) => text,
            Ok(Some(expanded)) => Cow::Owned(expanded),
            Err(reason) => {
                let message = format!("`{path}` {reason}");
                self.errors
                    .add_last(self.start + at, Some(path.to_owned()), message);
                text
            }
        }
    }

    fn spanned<T>(&self, span: std::ops::Range<usize>, value: T) -> Spanned<T> {
        Spanned::new(span.start + self.start..span.end + self.start, value)
    }
}

/// Puts the keys of a table into another one. Tables of the same key become one, and a key that both have is reported.
pub(crate) fn merge<'d>(
    path: &str,
    into: &mut DeTable<'d>,
    from: DeTable<'d>,
    texts: &Texts,
    errors: &Findings,
) {
    for (key, value) in from {
        let path = join(path, key.get_ref());
        let first = into.get_key_value(key.get_ref().as_ref());
        let first = first.map(|(key, _)| texts.place(key.span().start));
        let Some(first) = first else {
            into.insert(key, value);
            continue;
        };
        let at = key.span().start;
        let there = into.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut);
        match (there, value.into_inner()) {
            (Some(DeValue::Table(into)), DeValue::Table(from)) => {
                merge(&path, into, from, texts, errors);
            }
            _ => {
                let message =
                    format!("`{path}` is written already, at {first}; remove one of the two");
                errors.add(at, Some(path), message);
            }
        }
    }
}
