//! Reading the files that list clients.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use proxy_config::{Clients, LIST_BYTES_MAX, parse_list};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::content::{self, Content};
use super::error::{LoadError, READ_PATIENCE};
use super::progress::Progress;
use super::reading::Reading;
use super::sources::{Sources, Stamp};
use crate::aside;
use crate::start_error::cannot_read;

/// Files that list clients, as they were read.
#[derive(Debug, Default)]
pub(crate) struct ReadLists {
    pub(crate) files: Vec<(PathBuf, ReadList)>,
    /// For who watches them.
    pub(crate) sources: Sources,
    /// One of them hangs.
    has_hung: bool,
}

/// What a file lists, or why it is no list.
pub(crate) type ReadList = Result<Arc<[Clients]>, String>;

/// How long each list may take after one of them has hung.
const PATIENCE_AFTER_ONE: Duration = Duration::from_secs(1);

/// Reads the files at `paths`. Waits for them. One that hangs keeps none of the others from being read.
pub(crate) fn read_lists(paths: BTreeSet<PathBuf>) -> ReadLists {
    let mut lists = ReadLists::default();
    for path in paths {
        let (sender, answer) = mpsc::channel();
        let begun = begin(&path, move |list| drop(sender.send(list)));
        let waited = begun.map(|reading| {
            let answer = answer.recv_timeout(lists.patience());
            answer.map_err(|_| late(&reading.timed_out()))
        });
        let bytes = lists.take(&path, waited);
        let list = bytes.and_then(|bytes| listed(&path, &bytes));
        lists.files.push((path, list));
    }
    lists
}

/// As [`read_lists`], for a thread that has something else to do meanwhile.
pub(crate) async fn read_lists_meanwhile(paths: BTreeSet<PathBuf>) -> ReadLists {
    let mut lists = ReadLists::default();
    for path in paths {
        let (sender, answer) = oneshot::channel();
        let waited = match begin(&path, move |list| drop(sender.send(list))) {
            Ok(reading) => Ok(match timeout(lists.patience(), answer).await {
                Ok(Ok(list)) => Ok(list),
                _ => Err(late(&reading.timed_out())),
            }),
            Err(error) => Err(error),
        };
        let list = match lists.take(&path, waited) {
            Ok(bytes) => listed_meanwhile(&path, bytes).await,
            Err(reason) => Err(reason),
        };
        lists.files.push((path, list));
    }
    lists
}

/// A file, as a thread has read it, with what is to be watched. What it lists is found out when it has been read: that takes its time,
/// but never hangs.
type One = (Result<Vec<u8>, String>, Sources);

/// Has a thread read one.
fn begin(path: &Path, on_read: impl FnOnce(One) + Send + 'static) -> Result<Reading, LoadError> {
    let its = path.to_owned();
    let read = move |progress: &Progress| {
        let mut sources = Sources::default();
        (read(&its, progress, &mut sources), sources)
    };
    Reading::spawn(path, read, on_read)
}

impl ReadLists {
    /// How long the next one may take.
    fn patience(&self) -> Duration {
        if self.has_hung {
            PATIENCE_AFTER_ONE
        } else {
            READ_PATIENCE
        }
    }

    /// What was read of one, or why nothing was. It is watched all the same.
    fn take(
        &mut self,
        path: &Path,
        read: Result<Result<One, String>, LoadError>,
    ) -> Result<Vec<u8>, String> {
        let unread = |reason: String| format!("the list {} is not read: {reason}", path.display());
        self.sources.add_file(path, None);
        match read {
            Ok(Ok((bytes, sources))) => {
                self.sources.extend(sources);
                bytes
            }
            Ok(Err(reason)) => {
                self.has_hung = true;
                Err(unread(reason))
            }
            Err(error) => Err(unread(late(&error))),
        }
    }
}

fn read(path: &Path, progress: &Progress, sources: &mut Sources) -> Result<Vec<u8>, String> {
    sources.add_file(path, None);
    let cannot = |error| format!("{}: {error}", cannot_read("the list", path, &error));
    let shown = path.display();
    // A pipe can be read only once.
    let kind = path.metadata().map_err(cannot)?.file_type();
    if std::os::unix::fs::FileTypeExt::is_fifo(&kind) {
        return Err(format!("the list {shown} is a pipe; name a regular file"));
    }
    let (bytes, found) = match content::read(path, LIST_BYTES_MAX, progress).map_err(cannot)? {
        Content::Bytes { bytes, found } => (bytes, found),
        Content::Other(kind) => {
            return Err(format!("the list {shown} is {kind}; name a regular file"));
        }
    };
    sources.add_file(path, Some(Stamp::of(&found)));
    if bytes.len() > LIST_BYTES_MAX {
        return Err(format!(
            "the list {shown} is larger than {LIST_BYTES_MAX} bytes; split it over several files"
        ));
    }
    Ok(bytes)
}

fn listed(path: &Path, bytes: &[u8]) -> ReadList {
    let not_in_order = |problem| format!("the list {} is not in order: {problem}", path.display());
    parse_list(bytes).map(Into::into).map_err(not_in_order)
}

/// As [`listed`], for a thread that has something else to do meanwhile.
async fn listed_meanwhile(path: &Path, bytes: Vec<u8>) -> ReadList {
    let bytes: Arc<[u8]> = bytes.into();
    let (its, of) = (path.to_owned(), bytes.clone());
    let made = aside::run("corelane-lists", move || listed(&its, &of)).await;
    // Without a thread for it, it is done here.
    made.unwrap_or_else(|_| listed(path, &bytes))
}

fn late(error: &LoadError) -> String {
    match error {
        LoadError::NoThread { source } => format!("there is no thread to read it: {source}"),
        LoadError::TooManyStuck { .. } => "too many attempts to read files hang".to_owned(),
        _ => "it was not read in time; see that its file system answers (NFS, FUSE)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_file_is_a_list_or_says_why_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("1.txt"), "10.0.0.0/8\n::1 # here\n").expect("write");
        fs::write(path("2.txt"), "10.0.0.0/8\nnobody\n").expect("write");
        let paths = ["1.txt", "2.txt", "none", ""].map(path);
        let lists = read_lists(paths.into());
        let shown = |(path, list): (PathBuf, ReadList)| {
            let path = format!("{}", path.display());
            match list {
                Ok(list) => format!("{} entries", list.len()),
                Err(reason) => reason.replace(&path, "PATH"),
            }
        };
        let shown: Vec<_> = lists.files.into_iter().map(shown).collect();
        assert_eq!(
            shown,
            [
                "the list PATH is a directory; name a regular file",
                "2 entries",
                "the list PATH is not in order: line 2: \"nobody\" is no network or address; write a network as in \
                 10.0.0.0/8 or 2001:db8::/32",
                "cannot read the list PATH; check its path: No such file or directory (os error 2)",
            ]
        );
        assert_ne!(lists.sources, Sources::default());
    }
}
