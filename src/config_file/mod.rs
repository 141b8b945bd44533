//! Reads the configuration's files, within bounds even where a file system hangs or nobody writes to a pipe.
//!
//! A thread reads ([`reading`]), and the caller waits for it only so long. One that hangs is left behind ([`readers`]).

mod content;
mod error;
mod gather;
mod lists;
mod progress;
mod readers;
mod reading;
mod rewriting;
mod servers;
mod sources;
mod stdin;
mod watch;

use std::path::Path;
use std::sync::mpsc;

use proxy_config::Loaded;
use tokio::sync::oneshot;

pub(crate) use self::error::LoadError;
use self::error::READ_PATIENCE;
pub(crate) use self::lists::{ReadLists, read_lists, read_lists_meanwhile};
use self::reading::Reading;
pub(crate) use self::reading::on_this_machine;
pub(crate) use self::rewriting::{Rewriting, rewrite_meanwhile};
pub(crate) use self::servers::{ServersFile, read_servers_meanwhile};
pub(crate) use self::sources::Sources;
pub(crate) use self::stdin::STDIN;
pub(crate) use self::watch::{Watch, Watched};

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
