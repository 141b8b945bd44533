//! The raw configuration: tables of a TOML document that know their path and place.
//!
//! A [`Section`] has a table of the catalogue beside the one that is written: whatever else is written is an unknown
//! key.

use toml::de::{DeTable, DeValue};

use crate::catalogue::home::{home, nearest_elsewhere, place};
use crate::catalogue::key::{Absent, Key, Kind, Table};
use crate::problems::findings::Findings;
use crate::problems::path::{join, segment};
use crate::problems::suggest::nearest;
use crate::raw::node::{Context, Node};
use crate::raw::read::Read;

/// A table that is being read.
pub(crate) struct Section<'d> {
    path: String,
    /// How much of the path goes up to a name that the author chose; 0 if there is none.
    named: usize,
    at: usize,
    /// Absent if the table is not written, or if something else is written in its place: then all
    /// its keys are absent, and none is missed.
    written: Option<&'d DeTable<'d>>,
    known: &'static Table,
    /// The keys that the reader asked for.
    asked: Vec<&'static str>,
    /// The keys that have no default and were not found.
    missing: Vec<&'static Key>,
    context: Context<'d>,
}

impl<'d> Section<'d> {
    /// The table of the whole document.
    pub(crate) fn document(
        root: &'static Table,
        written: &'d DeTable<'d>,
        findings: &'d Findings,
    ) -> Self {
        let context = Context { findings, root };
        Self {
            written: Some(written),
            ..Self::absent(root, (String::new(), 0), 0, context)
        }
    }

    /// A table that is not written.
    fn absent(
        known: &'static Table,
        (path, named): (String, usize),
        at: usize,
        context: Context<'d>,
    ) -> Self {
        Self {
            path,
            named,
            at,
            written: None,
            known,
            asked: Vec::new(),
            missing: Vec::new(),
            context,
        }
    }

    /// What `reader` makes of a table that is not written.
    pub(crate) fn defaults<T>(
        known: &'static Table,
        reader: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let findings = Findings::default();
        let context = Context {
            findings: &findings,
            root: known,
        };
        Section::absent(known, (String::new(), 0), 0, context).read(reader)
    }

    /// Reads the table, then reports the keys that are unknown and those that are missing. A reader asks for all keys of
    /// the catalogue, whatever it finds.
    pub(crate) fn read<T>(mut self, reader: impl FnOnce(&mut Self) -> T) -> T {
        let read = reader(&mut self);
        for key in self.known.keys {
            let is_asked = self.asked.contains(&key.name);
            debug_assert!(is_asked, "nobody reads `{}`", join(&self.path, key.name));
        }
        self.report_unknown();
        self.report_missing();
        read
    }

    /// What is written for a key.
    pub(crate) fn node(&mut self, name: &'static str) -> Option<Node<'d>> {
        let key = self.known.key(name);
        self.asked.push(name);
        let value = self.written.and_then(|table| table.get(name));
        if value.is_none() && key.is_required() {
            self.missing.push(key);
        }
        let place = (join(&self.path, name), self.named);
        Some(Node::new(place, value?, key.kind.table(), self.context))
    }

    /// A key that is not written is missing after all, as another one says.
    pub(crate) fn miss(&mut self, name: &str) {
        self.missing.push(self.known.key(name));
    }

    /// The value of a key that has a default.
    pub(crate) fn value<T: Read>(&mut self, name: &'static str) -> T {
        let read = self.optional(name);
        read.unwrap_or_else(|| default(self.known.key(name)))
    }

    /// The value of a key, if it is written and valid.
    pub(crate) fn optional<T: Read>(&mut self, name: &'static str) -> Option<T> {
        let kind = &self.known.key(name).kind;
        self.node(name)?.read(|value| T::read(value, kind))
    }

    /// The string that a key has where it is not written.
    pub(crate) fn text_default(&self, name: &str) -> String {
        default(self.known.key(name))
    }

    /// What is written in the array of a key: none if that is absent, and one where it may stand without an array.
    pub(crate) fn elements(&mut self, name: &'static str) -> Vec<Node<'d>> {
        let key = self.known.key(name);
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        match key.kind {
            Kind::TextOrTexts { .. } | Kind::Ports { .. }
                if !matches!(node.value, DeValue::Array(_)) =>
            {
                vec![node]
            }
            Kind::TextOrTexts { max, .. }
            | Kind::Ports { max }
            | Kind::Statuses { max }
            | Kind::Tables { max, .. }
            | Kind::Texts { max, .. }
            | Kind::TextsOrTables { max, .. } => node.elements(max, key.advice),
            _ => key.kind.is_no("array"),
        }
    }

    /// Reads the table of a key; if it isn't written, as if it were empty.
    pub(crate) fn section<T>(
        &mut self,
        name: &'static str,
        reader: impl FnOnce(&mut Section<'d>) -> T,
    ) -> T {
        if let Some(node) = self.node(name) {
            return node.section(reader);
        }
        let kind = &self.known.key(name).kind;
        let known = kind.table().unwrap_or_else(|| kind.is_no("table"));
        let place = (join(&self.path, name), self.named);
        Section::absent(known, place, self.at, self.context).read(reader)
    }

    /// Reads the table of a key, if it is written.
    pub(crate) fn optional_section<T>(
        &mut self,
        name: &'static str,
        reader: impl FnOnce(&mut Section<'d>) -> T,
    ) -> Option<T> {
        self.node(name).map(|node| node.section(reader))
    }

    /// The values of the table of a key, see [`Node::named`].
    pub(crate) fn named(&mut self, name: &'static str) -> Vec<(&'d str, Node<'d>)> {
        let key = self.known.key(name);
        let (Kind::Named { max, .. } | Kind::Weights { max, .. }) = key.kind else {
            key.kind.is_no("table of tables");
        };
        self.node(name)
            .map_or_else(Vec::new, |node| node.named(max, key.advice))
    }

    fn report_unknown(&mut self) {
        for (key, _) in self.written.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.keys.iter().any(|known| known.name == name) {
                continue;
            }
            let advice = self.advice(name);
            let message = format!("unknown key `{}` {}; {advice}", segment(name), self.place());
            self.context
                .findings
                .add(key.span().start, Some(join(&self.path, name)), message);
        }
    }

    /// What to do about an unknown key.
    fn advice(&mut self, name: &str) -> String {
        let near = nearest(name, self.names());
        let home = home(
            self.context.root,
            name,
            &self.path,
            &self.path[..self.named],
        );
        match (home, near) {
            // What is a key elsewhere is hardly misspelt, but may be cut short.
            (Some(home), Some(near)) if near.contains(name) => {
                format!("it belongs in {home}, or did you mean `{near}`?")
            }
            (Some(home), _) => format!("it belongs in {home}"),
            (None, Some(near)) => {
                // One mistake is one problem: what was misspelt is not missing as well.
                self.missing.retain(|missing| missing.name != near);
                format!("did you mean `{near}`?")
            }
            (None, None) => self.advice_from_afar(name),
        }
    }

    /// The same where nothing here is like it, and no section has just this key.
    fn advice_from_afar(&self, name: &str) -> String {
        let meant = nearest_elsewhere(self.context.root, name);
        let home = meant.and_then(|meant| {
            home(
                self.context.root,
                meant,
                &self.path,
                &self.path[..self.named],
            )
        });
        match meant.zip(home) {
            Some((meant, home)) => format!("did you mean `{meant}`, which belongs in {home}?"),
            None => {
                let names: Vec<_> = self.names().collect();
                format!("the keys are {}", names.join(", "))
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.known.keys.iter().map(|key| key.name)
    }

    fn report_missing(&self) {
        if self.written.is_none() {
            return;
        }
        for Key { name, advice, .. } in &self.missing {
            let message = format!("missing key `{name}` {}; {advice}", self.place());
            self.context
                .findings
                .add(self.at, Some(join(&self.path, name)), message);
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

impl<'d> Node<'d> {
    /// Reads the value as a table; if it isn't one, that is reported, and it is read as if it were
    /// empty.
    ///
    /// # Panics
    ///
    /// If the catalogue has no table here.
    pub(crate) fn section<T>(self, reader: impl FnOnce(&mut Section<'d>) -> T) -> T {
        let written = self.table();
        let known = self.known.expect("the catalogue has a table here");
        let section = Section {
            written,
            ..Section::absent(known, (self.path, self.named), self.at, self.context)
        };
        section.read(reader)
    }

    /// What a key of the table that this may be is where it is not written.
    ///
    /// # Panics
    ///
    /// As [`Node::section`].
    pub(crate) fn default<T: Read>(&self, name: &str) -> T {
        let known = self.known.expect("the catalogue has a table here");
        default(known.key(name))
    }
}

/// The value of a key that is not written.
///
/// # Panics
///
/// If it has no default, or not one of this type.
pub(crate) fn default<T: Read>(key: &Key) -> T {
    let Absent::Default(text) = key.absent else {
        panic!("the catalogue has no default of `{}`", key.name);
    };
    let value = DeValue::parse(text).expect("a default is a value of TOML");
    let read = T::read(value.get_ref(), &key.kind);
    read.unwrap_or_else(|refusal| panic!("the default of `{}` {refusal}", key.name))
}
