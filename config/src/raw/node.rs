//! The raw configuration: values of a TOML document that know their path and place.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::catalogue::home::home;
use crate::catalogue::key::Table;
use crate::problems::findings::Findings;
use crate::problems::path::{NAME_BYTES_MAX, join};
use crate::problems::refusal::{Refusal, quoted};

/// What the readers of one document share.
#[derive(Clone, Copy)]
pub(crate) struct Context<'d> {
    pub(crate) findings: &'d Findings,
    /// The catalogue's table of the document.
    pub(crate) root: &'static Table,
}

/// A value with its path and place.
pub(crate) struct Node<'d> {
    pub(crate) value: &'d DeValue<'d>,
    pub(crate) path: String,
    /// As a section's.
    pub(crate) named: usize,
    pub(crate) at: usize,
    pub(crate) context: Context<'d>,
    /// The table that it is, or that it is made of.
    pub(crate) known: Option<&'static Table>,
}

/// Where a value is written.
pub(crate) struct Place {
    /// The byte of the text.
    pub(crate) at: usize,
    /// The path of the key.
    pub(crate) path: String,
}

impl<'d> Node<'d> {
    /// A value at `path`, of which the part of `named` bytes goes up to a name that the author chose.
    pub(crate) fn new(
        (path, named): (String, usize),
        value: &'d Spanned<DeValue<'d>>,
        known: Option<&'static Table>,
        context: Context<'d>,
    ) -> Self {
        Self {
            value: value.get_ref(),
            path,
            named,
            at: value.span().start,
            context,
            known,
        }
    }

    /// What `reader` makes of the value; its refusal is reported.
    pub(crate) fn read<T>(
        &self,
        reader: impl FnOnce(&DeValue<'d>) -> Result<T, Refusal>,
    ) -> Option<T> {
        match reader(self.value) {
            Ok(read) => Some(read),
            Err(refusal) => {
                self.refuse(&refusal);
                None
            }
        }
    }

    /// The elements of the value, which must be an array of at least one and at most `max`;
    /// `advice` says what to write.
    pub(crate) fn elements(self, max: usize, advice: &'static str) -> Vec<Node<'d>> {
        let DeValue::Array(array) = self.value else {
            self.refuse(&Refusal::new("an array", self.value).advise(advice.to_owned()));
            return Vec::new();
        };
        self.check_count(array.len(), max, advice);
        let elements = array.iter().take(max).enumerate();
        let path = |index| format!("{}[{index}]", self.path);
        elements
            .map(|(index, element)| {
                let place = (path(index), self.named);
                Self::new(place, element, self.known, self.context)
            })
            .collect()
    }

    /// The values of the value, which must be a table whose keys are names that the author chose:
    /// at least one and at most `max`, in the order of the file.
    pub(crate) fn named(self, max: usize, advice: &'static str) -> Vec<(&'d str, Node<'d>)> {
        let Some(table) = self.table() else {
            return Vec::new();
        };
        self.check_count(table.len(), max, advice);
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let named = entries.into_iter().take(max).map(|(name, value)| {
            let name: &str = name.get_ref();
            let path = join(&self.path, name);
            let place = (path.clone(), path.len());
            let node = Self::new(place, value, self.known, self.context);
            if let Some(home) = self.home_of_nameless(name, node.value) {
                node.report(format!("`{path}` belongs in {home}: choose a name for it"));
                return None;
            }
            if !is_name(name) {
                let (name, path) = (quoted(name), &self.path);
                node.report(format!(
                    "the name {name} in [{path}] must be 1 to {NAME_BYTES_MAX} characters \
                     of A-Z a-z 0-9 _ . -"
                ));
            }
            Some((name, node))
        });
        named.flatten().collect()
    }

    /// Where a value belongs that stands among tables with names, if it is of a key that such a table has.
    fn home_of_nameless(&self, key: &str, value: &DeValue<'_>) -> Option<String> {
        if matches!(value, DeValue::Table(_)) {
            return None;
        }
        let names = format!("[{}.NAME]", self.path);
        let homes = home(self.context.root, key, &self.path, "")?;
        homes
            .split(" or ")
            .any(|home| home == names)
            .then_some(names)
    }

    /// Reports a problem with the value.
    pub(crate) fn report(&self, message: String) {
        self.context
            .findings
            .add(self.at, Some(self.path.clone()), message);
    }

    /// Where it is written, for a problem that is found later.
    pub(crate) fn place(&self) -> Place {
        Place {
            at: self.at,
            path: self.path.clone(),
        }
    }

    /// The path of the key, as it would be written in TOML.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The table that it is; anything else is reported.
    pub(super) fn table(&self) -> Option<&'d DeTable<'d>> {
        match self.value {
            DeValue::Table(table) => Some(table),
            other => {
                self.refuse(&Refusal::new("a table", other));
                None
            }
        }
    }

    fn refuse(&self, refusal: &Refusal) {
        self.report(format!("`{}` {refusal}", self.path));
    }

    fn check_count(&self, count: usize, max: usize, advice: &str) {
        if count == 0 {
            self.report(format!("`{}` is empty; {advice}", self.path));
        } else if count > max {
            self.report(format!(
                "`{}` has {count} entries; at most {max} are allowed",
                self.path
            ));
        }
    }
}

/// Whether a name may be that of a listener or upstream.
fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(valid)
}
