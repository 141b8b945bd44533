//! Where the lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use proxy_config::Destination;

/// Who may read a file that is made here: clients' addresses are nobody else's business.
const MODE: u32 = 0o640;

/// An open output.
pub(super) struct Output {
    file: File,
    /// None: standard output.
    path: Option<PathBuf>,
}

impl Output {
    /// # Errors
    /// When the file can't be made or written.
    pub(super) fn open(destination: &Destination) -> io::Result<Self> {
        let (file, path) = match destination {
            // Not through the standard library's buffer and lock, which others use.
            Destination::Stdout => (File::from(io::stdout().as_fd().try_clone_to_owned()?), None),
            Destination::File(path) => (open(path)?, Some(path.clone())),
        };
        Ok(Self { file, path })
    }

    /// Opens the file anew, as it may have been renamed. When that fails, the old one goes on.
    pub(super) fn reopen(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        match open(path) {
            Ok(file) => {
                self.file = file;
                tracing::info!(path = %path.display(), "the access log was opened anew");
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the access log can't be opened anew: the old file goes on");
            }
        }
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // To open a FIFO for writing only is to wait for a reader; this end reads nothing, but counts as one.
    if path
        .metadata()
        .is_ok_and(|found| found.file_type().is_fifo())
    {
        options.read(true).write(true);
    } else {
        options.append(true).create(true);
    }
    options.mode(MODE).open(path)
}
