//! The files of a configuration: one, and those that it includes.
//!
//! Nothing is read here: who reads asks what is wanted next, and answers.

use std::collections::VecDeque;
use std::env::VarError;

use toml::de::DeTable;

use crate::addresses::loops::Machine;
use crate::catalogue::keys::ROOT;
use crate::config::{self, Config};
use crate::files::include::Include;
use crate::files::merge::{Placer, merge};
use crate::files::variables::{Expander, Variable};
use crate::problems::findings::Findings;
use crate::problems::problem::{Problem, Problems};
use crate::problems::texts::Texts;
use crate::raw::node::{Context, Node};
use crate::raw::section::Section;

pub(crate) mod include;
mod merge;
pub(crate) mod variables;

/// The most files of a configuration.
pub const FILES_MAX: usize = 256;

/// The most bytes of all files of a configuration: 8 MiB.
pub const FILES_BYTES_MAX: usize = 8 << 20;

/// The largest file of a configuration, in bytes: 1 MiB. A larger one is refused without being parsed.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// A valid configuration, and what its author should still hear about.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The validated configuration.
    pub config: Config,
    /// What is valid but hardly meant, such as an upstream that no listener uses; at most
    /// [`PROBLEMS_MAX`](crate::PROBLEMS_MAX), in the order of the files.
    pub warnings: Vec<Problem>,
}

/// The files that were read so far.
#[derive(Debug)]
pub struct Files {
    texts: Texts,
    wanted: VecDeque<Include>,
    errors: Findings,
    expander: Expander,
    /// Whether there are more than are allowed, which is an error that is said already.
    is_full: bool,
}

impl Files {
    /// The first file, whose content is `bytes`; `name` is what the problems call it. Of a file that is too large, one
    /// byte more than [`FILE_BYTES_MAX`] is enough. `variable` is the environment.
    pub fn new(name: &str, bytes: &[u8], variable: Variable) -> Self {
        let mut files = Self {
            texts: Texts::default(),
            wanted: VecDeque::new(),
            errors: Findings::default(),
            expander: Expander::new(variable),
            is_full: false,
        };
        files.push(name, bytes, 0);
        files
    }

    /// The first file, in an environment without variables.
    pub(crate) fn alone(name: &str, bytes: &[u8]) -> Self {
        Self::new(name, bytes, |_| Err(VarError::NotPresent))
    }

    /// What is to be read next.
    pub fn next_include(&mut self) -> Option<Include> {
        self.wanted.pop_front()
    }

    /// One of the files that `include` stands for. Each is added once, however often it is included; `bytes` are as
    /// those of the first. False if there are too many: more needn't be read.
    pub fn add(&mut self, include: &Include, name: &str, bytes: &[u8]) -> bool {
        let reason = if self.is_full {
            return false;
        } else if self.texts.len() >= FILES_MAX {
            format!("would make more than {FILES_MAX} files; put several into one")
        } else if self.texts.bytes() + bytes.len().min(FILE_BYTES_MAX) > FILES_BYTES_MAX {
            format!(
                "would make more than {FILES_BYTES_MAX} bytes of configuration; split the listeners over processes"
            )
        } else {
            self.push(name, bytes, include.depth);
            return true;
        };
        self.is_full = true;
        self.refuse(include, &reason);
        false
    }

    /// What `include` stands for can't be read: `reason` goes on after the quoted pattern.
    pub fn refuse(&mut self, include: &Include, reason: &str) {
        let message = format!("`include` of {:?} {reason}", include.pattern);
        self.errors
            .add(include.at, Some("include".to_owned()), message);
    }

    /// Validates what was read, for a machine. What was not answered counts as nothing.
    ///
    /// # Errors
    ///
    /// All the problems, in the order of the files. What can't be read and what isn't TOML is reported alone, because what
    /// is missing from the rest can't be known.
    pub fn parse(self, machine: Machine<'_>) -> Result<Loaded, Problems> {
        let Self {
            texts,
            errors,
            expander,
            ..
        } = self;
        let mut documents = Vec::with_capacity(texts.len());
        for (start, text) in texts.iter() {
            let (document, syntax_errors) = DeTable::parse_recoverable(text);
            for error in &syntax_errors {
                let at = error.span().map_or(0, |span| span.start);
                let message = format!("this is not TOML: {}", error.message());
                errors.add(start + at, None, message);
            }
            documents.push((start, document.into_inner()));
        }
        if !errors.is_empty() {
            return Err(errors.locate(&texts));
        }
        let mut whole = DeTable::new();
        for (start, mut document) in documents {
            // It is read already.
            document.remove("include");
            let placer = Placer {
                start,
                expander: &expander,
                errors: &errors,
            };
            merge("", &mut whole, placer.table("", document), &texts, &errors);
        }
        let warnings = Findings::default();
        let config = Section::document(&ROOT, &whole, &errors)
            .read(|root| config::read(root, machine, &errors, &warnings));
        let warnings = warnings.locate(&texts).into_vec();
        if errors.is_empty() {
            Ok(Loaded { config, warnings })
        } else {
            Err(errors.locate(&texts).with_warnings(warnings))
        }
    }

    fn push(&mut self, name: &str, bytes: &[u8], depth: usize) {
        let start = self.texts.end();
        let text = match str::from_utf8(bytes) {
            _ if bytes.len() > FILE_BYTES_MAX => Err((
                "",
                format!(
                    "the file is larger than {FILE_BYTES_MAX} bytes; move a part of it into files that it includes"
                ),
            )),
            // Editors don't show a byte order mark, so it must not count as a column.
            Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
            Err(error) => Err((
                str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
                "this is not UTF-8 text; save the file as UTF-8".to_owned(),
            )),
        };
        match text {
            Ok(text) => {
                self.want(name, text, start, depth);
                self.texts.push(name.to_owned(), text.to_owned());
            }
            Err((valid, message)) => {
                // The problem is at its end. Only the lines and columns are kept, so that nothing else is said of it.
                let blank: String = valid
                    .chars()
                    .map(|c| if c == '\n' { '\n' } else { ' ' })
                    .collect();
                self.errors.add(start + blank.len(), None, message);
                self.texts.push(name.to_owned(), blank);
            }
        }
    }

    /// Notes what a text that will begin at `start` includes.
    fn want(&mut self, name: &str, text: &str, start: usize, depth: usize) {
        let (document, syntax_errors) = DeTable::parse_recoverable(text);
        let value = document.into_inner().remove("include");
        let Some(value) = value.filter(|_| syntax_errors.is_empty()) else {
            return;
        };
        let placer = Placer {
            start,
            expander: &self.expander,
            errors: &self.errors,
        };
        let value = placer.value("include", value);
        let context = Context {
            findings: &self.errors,
            root: &ROOT,
        };
        let node = Node::new(("include".to_owned(), 0), &value, None, context);
        let advice = ROOT.key("include").advice;
        self.wanted.extend(include::read(node, advice, name, depth));
    }
}
