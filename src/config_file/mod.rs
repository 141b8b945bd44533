//! Reading the configuration, whose files may be anything: one of a file system that hangs, a pipe that nobody writes.
//!
//! A thread reads ([`reading`]), and who wants the files waits for it within bounds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use proxy_config::{Loaded, Problems};
use tokio::sync::oneshot;

use crate::start_error::{cannot_read, cannot_start};

use self::reading::Reading;

mod content;
mod gather;
mod reading;
mod sources;
mod watch;

pub(crate) use watch::Watch;

/// How standard input is written in place of a file.
const STDIN: &str = "-";

/// What problems call standard input, as compilers do.
const STDIN_NAME: &str = "<stdin>";

/// How long the files may take to be read.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// Why a configuration file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The system refused it.
    #[error("{}", cannot_read("the configuration", path, source))]
    Io { path: PathBuf, source: io::Error },
    /// It is a directory, a device or a socket.
    #[error(
        "cannot read the configuration {}: it is {kind}; name a regular file, or write it into a pipe (/dev/stdin)",
        path.display()
    )]
    NoFile { path: PathBuf, kind: &'static str },
    /// It is a pipe that wasn't written and closed in time.
    #[error(
        "cannot read the configuration {}: it is a pipe, and {}; write all of it into the pipe and close that, or name a \
         regular file",
        path.display(),
        if *.is_silent {
            format!("nobody wrote to it for {READ_PATIENCE:?}")
        } else {
            format!("who writes to it did not close it within {READ_PATIENCE:?}")
        }
    )]
    Pipe { path: PathBuf, is_silent: bool },
    /// It is a pipe that was closed with nothing in it, as one that was read before.
    #[error(
        "cannot read the configuration {}: it is a pipe with nothing in it; a pipe can be read only once, so name a regular \
         file where SIGHUP is to read it again",
        path.display()
    )]
    EmptyPipe { path: PathBuf },
    /// It is standard input, which was read at the start.
    #[error(
        "cannot read the configuration again: it came from standard input (-), which can be read only once; start with a \
         file that can be read again"
    )]
    StdinAgain,
    /// There is no thread to read it.
    #[error("{}", cannot_start("the thread that reads the configuration", source))]
    NoThread { source: io::Error },
    /// The file system doesn't answer.
    #[error(
        "cannot read the configuration {}: it was not read within {READ_PATIENCE:?}; see that its file system answers (NFS, \
         FUSE)",
        path.display()
    )]
    Stuck { path: PathBuf },
    /// The thread that was to read it the last time still does.
    #[error(
        "cannot read the configuration {}: the last attempt to read it still hangs; see that its file system answers (NFS, \
         FUSE)",
        path.display()
    )]
    StillStuck { path: PathBuf },
    /// The file was read, and is not a valid configuration.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

/// Reads and validates the configuration file at `path`, and those that it includes. Waits for them. `-` is standard
/// input.
///
/// # Errors
/// [`LoadError::Invalid`] with all the problems of its text, which name the file as `path` does; the others if it can't
/// be read.
pub(crate) fn load(path: &Path) -> Result<Loaded, LoadError> {
    let (sender, answer) = mpsc::channel();
    let reading = Reading::begin(path, move |result| drop(sender.send(result)))?;
    match answer.recv_timeout(READ_PATIENCE) {
        Ok(result) => reading.loaded(result),
        Err(_) => Err(reading.timed_out()),
    }
}

/// As [`load`], once more and for a thread that has something else to do meanwhile.
///
/// # Errors
/// As there, and where `path` is standard input.
pub(crate) async fn load_meanwhile(path: &Path) -> Result<Loaded, LoadError> {
    if path == Path::new(STDIN) {
        return Err(LoadError::StdinAgain);
    }
    let (sender, answer) = oneshot::channel();
    let reading = Reading::begin(path, move |result| drop(sender.send(result)))?;
    match tokio::time::timeout(READ_PATIENCE, answer).await {
        Ok(Ok(result)) => reading.loaded(result),
        _ => Err(reading.timed_out()),
    }
}
