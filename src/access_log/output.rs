//! Where the lines go.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use proxy_config::Destination;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use proxy_console::{LineWriter, Refused};

/// Who may read a file that is made here: clients' addresses are nobody else's business.
const MODE: u32 = 0o640;

/// An open output.
pub(super) enum Output {
    /// Standard output, which others write to as well.
    Stdout,
    File {
        lines: LineWriter<File>,
        path: PathBuf,
    },
}

impl Output {
    /// # Errors
    /// When the file can't be made or written.
    pub(super) fn open(destination: &Destination) -> io::Result<Self> {
        Ok(match destination {
            Destination::Stdout => Self::Stdout,
            Destination::File(path) => Self::File {
                lines: open(path)?,
                path: path.clone(),
            },
        })
    }

    /// Reopens the file, as it may have been renamed. When that fails, the old one goes on.
    pub(super) fn reopen(&mut self) {
        let Self::File { lines, path } = self else {
            return;
        };
        match open(path) {
            Ok(new) => {
                *lines = new;
                tracing::info!(path = %path.display(), "the access log was reopened");
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the access log can't be reopened: the old file goes on");
            }
        }
    }

    /// # Errors
    /// When they are refused: the rest of them is lost.
    pub(super) fn write(&mut self, batch: &[u8]) -> Result<(), Refused> {
        match self {
            Self::Stdout => proxy_console::write_stdout(batch),
            Self::File { lines, .. } => lines.append(batch),
        }
    }
}

/// Whether a file can be opened to be written to, or made: it isn't, and nobody who reads it notices.
///
/// # Errors
/// What the system says.
pub(super) fn check(path: &Path) -> io::Result<()> {
    let may = |path: &Path, rights| accessat(CWD, path, rights, AtFlags::EACCESS);
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(Errno::ISDIR.into()),
        Ok(_) => Ok(may(path, Access::WRITE_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path).join(".");
            Ok(may(&directory, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<LineWriter<File>> {
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
    let file = options.mode(MODE).open(path)?;
    Ok(LineWriter::opened(file, path))
}
