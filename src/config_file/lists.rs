//! Reading the files that list clients.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};

use proxy_config::{Clients, LIST_BYTES_MAX, parse_list};
use tokio::sync::oneshot;

use super::content::{self, Content};
use super::error::{LoadError, READ_PATIENCE};
use super::progress::Progress;
use super::reading::Reading;
use super::sources::{Sources, Stamp};
use crate::start_error::cannot_read;

/// Files that list clients, as they were read.
#[derive(Debug, Default)]
pub(crate) struct ReadLists {
    pub(crate) files: Vec<(PathBuf, ReadList)>,
    /// For who watches them.
    pub(crate) sources: Sources,
}

/// What a file lists, or why it is no list.
pub(crate) type ReadList = Result<Arc<[Clients]>, String>;

/// Reads the files at `paths`. Waits for them.
pub(crate) fn read_lists(paths: BTreeSet<PathBuf>) -> ReadLists {
    let Some(first) = paths.first().cloned() else {
        return ReadLists::default();
    };
    let (sender, answer) = mpsc::channel();
    let all = paths.clone();
    let read = move |progress: &Progress| read_all(&all, progress);
    match Reading::spawn(&first, read, move |lists| drop(sender.send(lists))) {
        Ok(reading) => answer
            .recv_timeout(READ_PATIENCE)
            .unwrap_or_else(|_| unread(&paths, &late(&reading.timed_out()))),
        Err(error) => unread(&paths, &late(&error)),
    }
}

/// As [`read_lists`], for a thread that has something else to do meanwhile.
pub(crate) async fn read_lists_meanwhile(paths: BTreeSet<PathBuf>) -> ReadLists {
    let Some(first) = paths.first().cloned() else {
        return ReadLists::default();
    };
    let (sender, answer) = oneshot::channel();
    let all = paths.clone();
    let read = move |progress: &Progress| read_all(&all, progress);
    match Reading::spawn(&first, read, move |lists| drop(sender.send(lists))) {
        Ok(reading) => match tokio::time::timeout(READ_PATIENCE, answer).await {
            Ok(Ok(lists)) => lists,
            _ => unread(&paths, &late(&reading.timed_out())),
        },
        Err(error) => unread(&paths, &late(&error)),
    }
}

fn read_all(paths: &BTreeSet<PathBuf>, progress: &Progress) -> ReadLists {
    let mut lists = ReadLists::default();
    for path in paths {
        if progress.is_abandoned.load(Relaxed) {
            break;
        }
        let list = read(path, progress, &mut lists.sources);
        lists.files.push((path.clone(), list.map(Into::into)));
    }
    lists
}

fn read(path: &Path, progress: &Progress, sources: &mut Sources) -> Result<Vec<Clients>, String> {
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
    parse_list(&bytes).map_err(|problem| format!("the list {shown} is not in order: {problem}"))
}

/// None of the files could be read in time. They are watched all the same.
fn unread(paths: &BTreeSet<PathBuf>, reason: &str) -> ReadLists {
    let mut lists = ReadLists::default();
    for path in paths {
        lists.sources.add_file(path, None);
        let reason = format!("the list {} is not read: {reason}", path.display());
        lists.files.push((path.clone(), Err(reason)));
    }
    lists
}

fn late(error: &LoadError) -> String {
    match error {
        LoadError::NoThread { source } => format!("there is no thread to read it: {source}"),
        _ => format!(
            "the lists were not read within {READ_PATIENCE:?}; see that their file system answers (NFS, FUSE)"
        ),
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
