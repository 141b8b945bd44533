//! Reading a file that lists servers.

use std::io::ErrorKind;
use std::path::Path;

use tokio::sync::oneshot;

use super::content::{self, Content};
use super::error::READ_PATIENCE;
use super::progress::Progress;
use super::reading::Reading;
use super::sources::{Sources, Stamp};
use crate::start_error::cannot_read;

/// A file that lists servers, as it was read.
pub(crate) struct ServersFile {
    /// What it says, or whether there is none, and why it can't be read.
    pub(crate) bytes: Result<Vec<u8>, (bool, String)>,
    /// For who watches it.
    pub(crate) sources: Sources,
}

/// Reads the file of `what` at `path`, which has `max` bytes at most, while this thread has something else to do.
pub(crate) async fn read_servers_meanwhile(
    what: &'static str,
    path: &Path,
    max: usize,
) -> ServersFile {
    let (sender, answer) = oneshot::channel();
    let its = path.to_owned();
    let read = move |progress: &Progress| read(what, &its, max, progress);
    let late = |why: &dyn std::fmt::Display| {
        let mut sources = Sources::default();
        sources.add_file(path, None);
        let bytes = Err((false, format!("{} is not read: {why}", path.display())));
        ServersFile { bytes, sources }
    };
    match Reading::spawn(path, read, move |file| drop(sender.send(file))) {
        Ok(_reading) => match tokio::time::timeout(READ_PATIENCE, answer).await {
            Ok(Ok(file)) => file,
            _ => late(&format_args!(
                "it was not read within {READ_PATIENCE:?}; see that its file system answers (NFS, FUSE)"
            )),
        },
        Err(error) => late(&error),
    }
}

fn read(what: &'static str, path: &Path, max: usize, progress: &Progress) -> ServersFile {
    let mut sources = Sources::default();
    sources.add_file(path, None);
    let shown = path.display();
    let bytes = match content::read(path, max, progress) {
        Err(error) => {
            let is_absent = error.kind() == ErrorKind::NotFound;
            let words = cannot_read(what, path, &error);
            Err((is_absent, format!("{words}: {error}")))
        }
        Ok(Content::Other(kind)) => Err((false, format!("{shown} is {kind}; name a regular file"))),
        Ok(Content::Bytes { bytes, found }) => {
            sources.add_file(path, Some(Stamp::of(&found)));
            if bytes.len() > max {
                Err((false, format!("{shown} is larger than {max} bytes")))
            } else {
                Ok(bytes)
            }
        }
    };
    ServersFile { bytes, sources }
}
