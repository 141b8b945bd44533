//! The names of upstreams, and who uses them.

use std::cell::{Cell, RefCell};

use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::problems::suggest::nearest;
use crate::raw::read::string;

/// The place of an upstream in [`Config::upstreams`](crate::Config::upstreams), always valid there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamIndex(usize);

impl UpstreamIndex {
    /// The index as a number, for tables that are kept beside the upstreams.
    pub fn get(self) -> usize {
        self.0
    }
}

/// The names of the upstreams that are written, and which of them listeners use.
///
/// Listeners may name an upstream that has problems of its own, so this is what is written.
pub(crate) struct Names<'a> {
    written: Vec<&'a str>,
    used: RefCell<Vec<bool>>,
    missed: Cell<bool>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(written: Vec<&'a str>) -> Self {
        Self {
            used: RefCell::new(vec![false; written.len()]),
            written,
            missed: Cell::new(false),
        }
    }

    /// The upstream of this name, which is used from now on.
    pub(crate) fn find(&self, name: &str) -> Option<UpstreamIndex> {
        let index = self.written.iter().position(|written| *written == name)?;
        self.used.borrow_mut()[index] = true;
        Some(UpstreamIndex(index))
    }

    /// The name of an upstream.
    pub(crate) fn name(&self, index: usize) -> &'a str {
        self.written[index]
    }

    /// The name that was probably meant.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'a str> {
        nearest(name, self.written.iter().copied())
    }

    /// A listener doesn't say which upstream it uses: it may be any.
    pub(crate) fn miss(&self) {
        self.missed.set(true);
    }

    /// Whether no listener uses the upstream, as far as is known.
    pub(crate) fn is_unused(&self, index: usize) -> bool {
        !self.missed.get() && !self.used.borrow()[index]
    }
}

/// Reads the name of an upstream.
pub(crate) fn upstream_index(
    value: &DeValue<'_>,
    upstreams: &Names<'_>,
) -> Result<UpstreamIndex, Refusal> {
    const EXPECTED: &str = "the name of an upstream";
    let written = string(value, EXPECTED)?;
    upstreams.find(written).ok_or_else(|| {
        let advice = match upstreams.nearest(written) {
            Some(name) => format!("did you mean {name:?}?"),
            None => "add a table [upstreams.NAME] of that name".to_owned(),
        };
        Refusal::new(EXPECTED, value).advise(advice)
    })
}
