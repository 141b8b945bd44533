//! What a configuration was read from, and whether that is still the same.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use glob::MatchOptions;
use proxy_config::FILES_MAX;

use crate::start_error::cannot_read;

/// `*` and `?` stand for no part of a name that is hidden, nor for a slash.
pub(super) const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Files and patterns, each as it was when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Of files that could not be read, there is no stamp.
    files: Vec<(PathBuf, Option<Stamp>)>,
    patterns: Vec<(String, Vec<PathBuf>)>,
    /// The first one is standard input, which can't be read again.
    pub(super) is_stdin: bool,
}

/// What changes when a file is replaced or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }

    /// What no two files share.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl Sources {
    /// A file, as it was when it was read; another stamp of the same path is replaced.
    pub(super) fn add_file(&mut self, path: &Path, stamp: Option<Stamp>) {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_owned(), stamp));
    }

    /// Those of another reading, too.
    pub(super) fn extend(&mut self, other: Self) {
        for (path, stamp) in other.files {
            self.add_file(&path, stamp);
        }
        self.patterns.extend(other.patterns);
    }

    pub(super) fn add_pattern(&mut self, pattern: String, found: Vec<PathBuf>) {
        self.patterns.push((pattern, found));
    }

    /// The files that were read, in the order of that.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let read = self.files.iter().filter(|(_, stamp)| stamp.is_some());
        read.map(|(path, _)| path.as_path())
    }

    /// The same files and patterns, as they are now.
    pub(super) fn now(&self) -> Self {
        let stamp = |path: &Path| path.metadata().ok().map(|found| Stamp::of(&found));
        let files = self.files.iter();
        let patterns = self.patterns.iter();
        Self {
            files: files.map(|(path, _)| (path.clone(), stamp(path))).collect(),
            patterns: patterns
                .map(|(pattern, _)| (pattern.clone(), matches(pattern).unwrap_or_default()))
                .collect(),
            is_stdin: self.is_stdin,
        }
    }

    /// The files of each folder by themselves; those of folders beyond `max` are with those of the last one.
    pub(super) fn by_folder(&self, max: usize) -> BTreeMap<PathBuf, Self> {
        let mut parts = BTreeMap::<PathBuf, Self>::new();
        for (path, stamp) in &self.files {
            let folder = path.parent().unwrap_or(path).to_owned();
            let folder = match parts.last_key_value() {
                Some((last, _)) if parts.len() >= max && !parts.contains_key(&folder) => {
                    last.clone()
                }
                _ => folder,
            };
            let part = parts.entry(folder).or_default();
            part.add_file(path, stamp.clone());
        }
        parts
    }

    /// Whether a file that this has is gone in `now`, and no pattern finds less for it: somebody is about to replace it.
    pub(super) fn is_incomplete(&self, now: &Self) -> bool {
        let by_pattern: Vec<_> = self.patterns.iter().flat_map(|(_, found)| found).collect();
        let files = self.files.iter().zip(&now.files);
        files
            .filter(|((path, _), _)| !by_pattern.contains(&path))
            .any(|((_, before), (_, now))| before.is_some() && now.is_none())
    }

    /// The paths whose change is a change of the configuration.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let patterns = self.patterns.iter().map(|(pattern, _)| Path::new(pattern));
        let files = self.files.iter().map(|(path, _)| path.as_path());
        files.chain(patterns)
    }
}

/// What matches a pattern, sorted: at most one more than a configuration may have.
///
/// # Errors
/// What is wrong with the pattern, or with a folder that can't be read.
pub(super) fn matches(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let found = glob::glob_with(pattern, OPTIONS)
        .map_err(|error| format!("is no pattern: {}", error.msg))?;
    let found: Result<Vec<_>, _> = found.take(FILES_MAX + 1).collect();
    let mut found = found.map_err(|error| {
        let (path, error) = (error.path().to_owned(), std::io::Error::from(error));
        format!(
            "fails: {}: {error}",
            cannot_read("the folder", &path, &error)
        )
    })?;
    found.sort();
    Ok(found)
}

/// What the last reading read.
static LAST: Mutex<Option<Sources>> = Mutex::new(None);

/// This was read.
pub(super) fn note(sources: Sources) {
    *last_locked() = Some(sources);
}

/// What was read last; nothing before the first time.
pub(super) fn last() -> Sources {
    last_locked().clone().unwrap_or_default()
}

fn last_locked() -> MutexGuard<'static, Option<Sources>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}
