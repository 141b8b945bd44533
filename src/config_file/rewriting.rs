//! Rewrites the files of the configuration, each as a whole: who reads one finds what it was or what it is to be.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use proxy_config::FILE_BYTES_MAX;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::content::{Content, read};
use super::error::READ_PATIENCE;
use super::gather::{Gathered, gather};
use super::given::Given;
use super::progress::Progress;
use super::reading::{Reading, on_this_machine};
use super::sources::{Sources, Stamp};

/// Files that are to take the place of others. Dropped, they are removed.
pub(crate) struct Rewriting(Vec<Rewritten>);

/// One of them.
struct Rewritten {
    /// Without links.
    path: PathBuf,
    /// What it was when it was read.
    stamp: Stamp,
    beside: Beside,
}

/// A file beside the one whose place it is to take; removed when this is dropped.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        // After the rename there is none.
        let _ = fs::remove_file(&self.0);
    }
}

/// Has `change` make other texts of those of the configuration's files, of which the first one is `given`, and gets files with
/// these ready. It says the places of those that change. What it makes is a valid configuration.
///
/// # Errors
/// Why it can't be, in words.
pub(crate) async fn rewrite_meanwhile(
    given: &Given,
    change: impl FnOnce(&[String]) -> Result<Vec<(usize, String)>, String> + Send + 'static,
) -> Result<Rewriting, String> {
    let path = match given.file() {
        Some(_) if given.is_read_once() => {
            return Err("the configuration came from standard input, which has no file".to_owned());
        }
        Some(path) => path,
        None => return Err("the proxy runs by --listen and --to, without a file".to_owned()),
    };
    let first = path.to_owned();
    let (sender, answer) = oneshot::channel();
    let write = move |progress: &Progress| prepare(&first, progress, change);
    let reading = Reading::spawn(path, write, move |result| drop(sender.send(result)));
    let reading = reading.map_err(|error| error.to_string())?;
    match timeout(READ_PATIENCE, answer).await {
        Ok(Ok(result)) => result,
        _ => Err(reading.timed_out().to_string()),
    }
}

fn prepare(
    first: &Path,
    progress: &Progress,
    change: impl FnOnce(&[String]) -> Result<Vec<(usize, String)>, String>,
) -> Result<Rewriting, String> {
    let mut sources = Sources::default();
    gathered(first, progress, &mut sources)?;
    let paths: Vec<_> = sources.files().map(Path::to_owned).collect();
    let mut texts = Vec::with_capacity(paths.len());
    let mut stamps = Vec::with_capacity(paths.len());
    for path in &paths {
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let (bytes, found) =
            match read(path, FILE_BYTES_MAX, progress).map_err(|error| said(&error))? {
                Content::Bytes { bytes, found } if found.is_file() => (bytes, found),
                _ => return Err(said(&"it is no regular file")),
            };
        texts.push(String::from_utf8(bytes).map_err(|error| said(&error))?);
        stamps.push(Stamp::of(&found));
    }
    let mut rewritten = Vec::new();
    for (place, text) in change(&texts)? {
        let path = &paths[place];
        let said = |error: io::Error| format!("{}: {error}", path.display());
        // The place of a link's file is taken, and not the link's.
        let real = path.canonicalize().map_err(said)?;
        let found = real.metadata().map_err(said)?;
        let beside = beside(&real, &found, &text).map_err(said)?;
        rewritten.push(Rewritten {
            path: real,
            stamp: stamps[place].clone(),
            beside,
        });
        progress.instead(path, text.into_bytes());
    }
    let files = gathered(first, progress, &mut Sources::default())?;
    on_this_machine(|machine| files.parse(machine)).map_err(|problems| problems.to_string())?;
    Ok(Rewriting(rewritten))
}

fn gathered(
    first: &Path,
    progress: &Progress,
    sources: &mut Sources,
) -> Result<proxy_config::Files, String> {
    match gather(first, progress, sources) {
        Ok(Gathered::Files(files)) => Ok(files),
        Ok(Gathered::Other(kind)) => Err(format!("{} is {kind}", first.display())),
        Ok(Gathered::EmptyPipe) => Err(format!("{} is a pipe", first.display())),
        Err(error) => Err(format!("{}: {error}", first.display())),
    }
}

/// A file with this text, beside another one, of which it has the owner and the mode. Its name is hidden, so that no pattern of
/// `include` finds it.
fn beside(path: &Path, found: &Metadata, text: &str) -> io::Result<Beside> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    // One that a process with this number has left.
    let _ = fs::remove_file(&beside);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let beside = Beside(beside);
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (found.uid(), found.gid()) {
        fchown(&file, Some(found.uid()), Some(found.gid())).map_err(|error| {
            let words = format!("its owner can't be kept: {error}");
            io::Error::new(error.kind(), words)
        })?;
    }
    // After the owner, which takes some of it away.
    file.set_permissions(Permissions::from_mode(found.mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(beside)
}

impl Rewriting {
    /// Has each take its place.
    ///
    /// # Errors
    /// Why one can't, in words: somebody has changed it meanwhile, or the system refuses.
    pub(crate) fn commit(self) -> Result<(), String> {
        for Rewritten {
            path,
            stamp,
            beside,
        } in self.0
        {
            let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let found = path.metadata().map_err(|error| said(&error))?;
            if Stamp::of(&found) != stamp {
                return Err(said(&"somebody has changed it meanwhile; try again"));
            }
            fs::rename(&beside.0, &path).map_err(|error| said(&error))?;
            // So that the new name outlives a power cut; without it the old file may come back, whole.
            if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
                let _ = folder.sync_all();
            }
        }
        Ok(())
    }
}
