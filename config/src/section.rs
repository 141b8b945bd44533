//! The raw configuration: tables of a TOML document that know their path and place.
//!
//! A [`Section`] notes which keys its reader asks for, so that the list of valid keys is the code
//! that reads them, and whatever else is written in the table is an unknown key.

use toml::de::{DeTable, DeValue};

use crate::catalogue::{home, nearest_elsewhere, place};
use crate::findings::Findings;
use crate::node::Node;
use crate::path::{join, segment};
use crate::refusal::Refusal;
use crate::suggest::nearest;

/// A table that is being read.
pub(crate) struct Section<'d> {
    path: String,
    /// How much of the path goes up to a name that the author chose; 0 if there is none.
    named: usize,
    at: usize,
    /// Absent if the table is not written, or if something else is written in its place: then all
    /// its keys are absent, and none is missed.
    table: Option<&'d DeTable<'d>>,
    findings: &'d Findings,
    known: Vec<&'static str>,
    missing: Vec<Missing>,
}

/// A key that has no default and was not found.
struct Missing {
    key: &'static str,
    advice: &'static str,
}

impl<'d> Section<'d> {
    /// The table of the whole document.
    pub(crate) fn document(table: &'d DeTable<'d>, findings: &'d Findings) -> Self {
        Self::new(String::new(), 0, 0, Some(table), findings)
    }

    pub(crate) fn new(
        path: String,
        named: usize,
        at: usize,
        table: Option<&'d DeTable<'d>>,
        findings: &'d Findings,
    ) -> Self {
        Self {
            path,
            named,
            at,
            table,
            findings,
            known: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Reads the table, then reports the keys that `reader` didn't ask for and those that it
    /// missed. So a reader must ask for all its keys, whatever it finds.
    pub(crate) fn read<T>(mut self, reader: impl FnOnce(&mut Self) -> T) -> T {
        let read = reader(&mut self);
        self.findings.note_keys(&self.path, &self.known);
        self.report_unknown();
        self.report_missing();
        read
    }

    /// The value of a key.
    pub(crate) fn node(&mut self, key: &'static str) -> Option<Node<'d>> {
        self.known.push(key);
        let value = self.table?.get(key)?;
        let path = join(&self.path, key);
        Some(Node::new(path, self.named, value, self.findings))
    }

    /// The value of a key that has no default; `advice` says what to write.
    pub(crate) fn required_node(
        &mut self,
        key: &'static str,
        advice: &'static str,
    ) -> Option<Node<'d>> {
        let node = self.node(key);
        if node.is_none() {
            self.missing.push(Missing { key, advice });
        }
        node
    }

    /// What `reader` makes of the value of a key, if it is written and valid.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        reader: impl FnOnce(&DeValue<'d>) -> Result<T, Refusal>,
    ) -> Option<T> {
        self.node(key)?.read(reader)
    }

    /// What `reader` makes of the value of a key, or else the default.
    pub(crate) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        reader: impl FnOnce(&DeValue<'d>) -> Result<T, Refusal>,
    ) -> T {
        self.optional(key, reader).unwrap_or(default)
    }

    /// Reads the table of a key; if it isn't written, as if it were empty.
    pub(crate) fn section<T>(
        &mut self,
        key: &'static str,
        reader: impl FnOnce(&mut Section<'d>) -> T,
    ) -> T {
        match self.node(key) {
            Some(node) => node.section(reader),
            None => {
                let path = join(&self.path, key);
                Section::new(path, self.named, self.at, None, self.findings).read(reader)
            }
        }
    }

    /// The values of the table of a key, see [`Node::named`]; `advice` says what to write.
    pub(crate) fn named(
        &mut self,
        key: &'static str,
        max: usize,
        advice: &'static str,
    ) -> Vec<(&'d str, Node<'d>)> {
        self.required_node(key, advice)
            .map_or_else(Vec::new, |node| node.named(max, advice))
    }

    fn report_unknown(&mut self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let advice = self.advice(name);
            let message = format!("unknown key `{}` {}; {advice}", segment(name), self.place());
            self.findings
                .add(key.span().start, Some(join(&self.path, name)), message);
        }
    }

    /// What to do about an unknown key.
    fn advice(&mut self, name: &str) -> String {
        let near = nearest(name, self.known.iter().copied());
        let home = home(name, &self.path, &self.path[..self.named]);
        match (home, near) {
            // What is a key elsewhere is hardly misspelt, but may be cut short.
            (Some(home), Some(near)) if near.contains(name) => {
                format!("it belongs in {home}, or did you mean `{near}`?")
            }
            (Some(home), _) => format!("it belongs in {home}"),
            (None, Some(near)) => {
                // One mistake is one problem: what was misspelt is not missing as well.
                self.missing.retain(|missing| missing.key != near);
                format!("did you mean `{near}`?")
            }
            (None, None) => self.advice_from_afar(name),
        }
    }

    /// The same where nothing here is like it, and no section has just this key.
    fn advice_from_afar(&self, name: &str) -> String {
        let meant = nearest_elsewhere(name);
        let home = meant.and_then(|meant| home(meant, &self.path, &self.path[..self.named]));
        match meant.zip(home) {
            Some((meant, home)) => format!("did you mean `{meant}`, which belongs in {home}?"),
            None => format!("the keys are {}", self.known.join(", ")),
        }
    }

    fn report_missing(&self) {
        if self.table.is_none() {
            return;
        }
        for Missing { key, advice } in &self.missing {
            let message = format!("missing key `{key}` {}; {advice}", self.place());
            self.findings
                .add(self.at, Some(join(&self.path, key)), message);
        }
    }

    /// The section as part of a sentence.
    fn place(&self) -> String {
        match self.path.as_str() {
            "" => "at the top level".to_owned(),
            path => format!("in {}", place(path)),
        }
    }
}
