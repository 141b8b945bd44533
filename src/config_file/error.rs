//! Why a configuration could not be loaded.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use proxy_config::Problems;

use super::readers::READERS_MAX;
use crate::start_error::{cannot_read, cannot_start};

/// How long the files may take to be read.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(5);

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
    /// There is no file: the command line says it all.
    #[error(
        "there is nothing to read again: this proxy runs by --listen and --to, without a file; `corelane init` with the same words \
         writes one, to be started with `corelane run FILE`"
    )]
    NothingAgain,
    /// The command line asks for what can't be.
    #[error("{0}")]
    Arguments(String),
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
    /// Too many threads hang already.
    #[error(
        "cannot read the configuration {}: {READERS_MAX} attempts to read files hang; see that their file systems answer \
         (NFS, FUSE)",
        path.display()
    )]
    TooManyStuck { path: PathBuf },
    /// The file was read, and is not a valid configuration.
    #[error(transparent)]
    Invalid(#[from] Problems),
}
