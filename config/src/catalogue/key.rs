//! What a key of the configuration is.

use std::time::Duration;

/// A table of the file.
pub(crate) struct Table {
    /// Its path. `NAME` is a name that the author chooses, and `[0]` any place in an array.
    pub(crate) path: &'static str,
    /// What it is for, in Markdown.
    pub(crate) about: &'static str,
    /// Its keys, in the order in which they are shown.
    pub(crate) keys: &'static [Key],
}

impl Table {
    /// It and all tables in it, the outer ones first.
    pub(crate) fn all(&'static self) -> Vec<&'static Self> {
        let inner = self.keys.iter().filter_map(|key| key.kind.table());
        [self]
            .into_iter()
            .chain(inner.flat_map(Self::all))
            .collect()
    }

    /// The key of this name.
    ///
    /// # Panics
    ///
    /// If the catalogue has no such key.
    pub(crate) fn key(&self, name: &str) -> &Key {
        let key = self.keys.iter().find(|key| key.name == name);
        key.unwrap_or_else(|| panic!("the catalogue has no key `{name}` in `{}`", self.path))
    }
}

/// A key of a table.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) absent: Absent,
    /// What to write, for the message about one that is missing, empty or of another type; may be empty.
    pub(crate) advice: &'static str,
    /// What it does, in Markdown, without a full stop at the end.
    pub(crate) about: &'static str,
}

/// What it means that a key is not written.
#[derive(Clone, Copy)]
pub(crate) enum Absent {
    /// It is missing.
    Required,
    /// The same as this value, in TOML.
    Default(&'static str),
    /// What no value could say; in Markdown.
    Means(&'static str),
    /// It is a table, and all its keys have their defaults.
    Empty,
}

/// The type and the limits of a value.
pub(crate) enum Kind {
    Boolean,
    Integer {
        min: u64,
        max: u64,
    },
    PowerOfTwo {
        min: u64,
        max: u64,
    },
    Number {
        min: f64,
        max: f64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    DurationOrOff {
        min: Duration,
        max: Duration,
    },
    /// A duration of whole seconds, from one to so many.
    Seconds {
        max: u16,
    },
    /// The same, `"off"`, or a table.
    SecondsOrOffOrTable {
        max: u16,
        table: &'static Table,
    },
    /// A class of service, by number or name.
    Dscp,
    /// A part of a whole, such as `"10%"`, from none to so much.
    Percent {
        max: u8,
    },
    /// A number of bytes, with a unit.
    Size {
        min: u64,
        max: u64,
    },
    /// One of these names.
    Choice(&'static [&'static str]),
    /// The same, or `true` or `false`.
    ChoiceOrBoolean(&'static [&'static str]),
    /// `"all"`, a number, or a list of CPUs.
    Cores,
    /// A string with a syntax of its own.
    Text(Syntax),
    /// One such string, or an array of them.
    TextOrTexts {
        of: Syntax,
        max: usize,
    },
    /// An array of such strings.
    Texts {
        of: Syntax,
        max: usize,
    },
    /// An array of such strings and tables.
    TextsOrTables {
        of: Syntax,
        table: &'static Table,
        max: usize,
    },
    /// Ports and ranges of them: one, or an array.
    Ports {
        max: usize,
    },
    /// Statuses of HTTP and ranges of them, in an array.
    Statuses {
        max: usize,
    },
    /// An array of tables.
    Tables {
        table: &'static Table,
        /// One that is valid, for tests.
        #[cfg_attr(not(test), expect(dead_code, reason = "it is data for tests"))]
        example: &'static str,
        max: usize,
    },
    /// Names of upstreams, each with a weight.
    Weights {
        highest: u32,
        max: usize,
    },
    Table(&'static Table),
    /// Tables with names that the author chooses.
    Named {
        table: &'static Table,
        max: usize,
    },
}

/// The syntax of a string.
pub(crate) struct Syntax {
    /// What it is, for the reference.
    pub(crate) what: &'static str,
    /// Strings that have it. The schema shows them as examples.
    pub(crate) accepted: &'static [&'static str],
    /// Strings that don't have it, for tests.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is data for tests"))]
    pub(crate) refused: &'static [&'static str],
    /// What the schema says of it: an expression that each matches; the readers know more.
    pub(crate) pattern: &'static str,
}

impl Key {
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            absent: Absent::Default(default),
            advice: "",
            about,
        }
    }

    /// A key whose absence means something else than any of its values.
    pub(super) const fn optional(
        name: &'static str,
        kind: Kind,
        absence: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            absent: Absent::Means(absence),
            ..Self::new(name, kind, "", about)
        }
    }

    pub(super) const fn required(
        name: &'static str,
        kind: Kind,
        advice: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            absent: Absent::Required,
            advice,
            ..Self::new(name, kind, "", about)
        }
    }

    pub(super) const fn table(name: &'static str, table: &'static Table) -> Self {
        Self {
            absent: Absent::Empty,
            ..Self::new(name, Kind::Table(table), "", table.about)
        }
    }

    /// The same, with what to write instead of something that is no such value.
    pub(super) const fn advising(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }

    pub(crate) fn is_required(&self) -> bool {
        matches!(self.absent, Absent::Required)
    }
}

impl Kind {
    /// The table that such a value is, or is made of.
    pub(crate) fn table(&self) -> Option<&'static Table> {
        match self {
            Self::Table(table)
            | Self::Named { table, .. }
            | Self::Tables { table, .. }
            | Self::TextsOrTables { table, .. }
            | Self::SecondsOrOffOrTable { table, .. } => Some(table),
            _ => None,
        }
    }

    /// The reader of a key asks for another type than the catalogue has.
    pub(crate) fn is_no(&self, wanted: &str) -> ! {
        panic!("the catalogue says that this key is no {wanted}")
    }
}
