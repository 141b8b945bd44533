//! What a conversion reads.

use std::path::{Path, PathBuf};

/// The largest file that is converted, in bytes: 1 MiB.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The most files of a conversion, those that they include among them.
pub const FILES_MAX: usize = 256;

/// A file of another proxy's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// What notes and comments call it.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What a reader asks the machine for: other files and the environment.
pub trait Surroundings {
    /// The content of a file; a relative path is relative to the file at `by`. Of one that is too large, a byte more than
    /// [`FILE_BYTES_MAX`] is enough.
    ///
    /// # Errors
    /// Why it can't be read, as a part of a sentence.
    fn read(&self, path: &Path, by: &Path) -> Result<Input, String>;

    /// The files that a pattern with `*` and `?` finds, sorted; it is relative as a path of [`read`](Self::read) is.
    ///
    /// # Errors
    /// Why it is no pattern, as a part of a sentence.
    fn matches(&self, pattern: &str, by: &Path) -> Result<Vec<PathBuf>, String>;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}

/// A machine without other files and without variables.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Surroundings for Nowhere {
    fn read(&self, _: &Path, _: &Path) -> Result<Input, String> {
        Err("there are no other files".to_owned())
    }

    fn matches(&self, _: &str, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

impl Input {
    /// The text, which is refused if it is too large or not UTF-8.
    pub(super) fn text(&self) -> Result<&str, String> {
        let Self { name, bytes } = self;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(format!(
                "{name} is larger than {FILE_BYTES_MAX} bytes; convert a part of it at a time"
            ));
        }
        let text = str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            format!("{name}:{line} is not UTF-8 text; save the file as UTF-8")
        })?;
        // Editors don't show a byte order mark.
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}
