//! One reading of a configuration, which is waited for.

use std::path::Path;
use std::sync::mpsc;

use proxy_config::Loaded;
use tokio::sync::oneshot;

use super::error::{LoadError, READ_PATIENCE};
use super::reading::Reading;
use super::stdin::STDIN;

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
