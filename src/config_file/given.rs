//! What a proxy is started with: a file, or words of the command line.

use std::path::{Path, PathBuf};

use proxy_config::{Files, Loaded};

use super::error::LoadError;
use super::loading::{load, load_meanwhile};
use super::reading::on_this_machine;
use super::sources::{self, Sources};
use super::stdin::STDIN;

/// What problems would call the command line; their positions are not shown.
const NAME: &str = "<command line>";

/// What a proxy is started with.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// A file; `-` is standard input.
    File(PathBuf),
    /// What the command line says, as the text of a file.
    Arguments(String),
}

impl Given {
    /// Reads and validates it; waits for files.
    ///
    /// # Errors
    /// What is wrong with it, or why it can't be read.
    pub(crate) fn load(&self) -> Result<Loaded, LoadError> {
        match self {
            Self::File(path) => load(path),
            Self::Arguments(text) => {
                sources::note(Sources::default());
                parse(text)
            }
        }
    }

    /// Reads it once more, for a thread that has something else to do meanwhile.
    ///
    /// # Errors
    /// As [`Given::load`], and where it can't be read again.
    pub(crate) async fn load_again(&self) -> Result<Loaded, LoadError> {
        load_meanwhile(self.file().ok_or(LoadError::NothingAgain)?).await
    }

    /// The file; none where there is none.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Arguments(_) => None,
        }
    }

    /// Whether another process could not read what this one was started with.
    pub(crate) fn is_read_once(&self) -> bool {
        self.file() == Some(Path::new(STDIN))
    }
}

/// A text that the command line stands for.
///
/// # Errors
/// What is wrong with it, without lines and columns, as nobody has seen them.
pub(crate) fn parse(text: &str) -> Result<Loaded, LoadError> {
    // The shell has put in what variables stand for.
    let files = Files::new(NAME, text.as_bytes(), |_| {
        Err(std::env::VarError::NotPresent)
    });
    on_this_machine(|machine| files.parse(machine)).map_err(|problems| {
        let messages = problems.as_slice().iter();
        let messages: Vec<_> = messages.map(|problem| &problem.message[..]).collect();
        LoadError::Arguments(messages.join("\n"))
    })
}
