//! All files of a configuration: the one that is named, and those that it includes.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use glob::Pattern;
use proxy_config::{FILE_BYTES_MAX, Files, Include};

use crate::start_error::cannot_read;

use super::content::{Content, DIRECTORY, read};
use super::progress::Progress;
use super::sources::{Sources, Stamp, matches};
use super::stdin::{STDIN, STDIN_NAME};

/// What came of reading the files.
pub(super) enum Gathered {
    Files(Files),
    /// The first one is not a kind of file that is read.
    Other(&'static str),
    /// The first one is a pipe that was closed with nothing in it, as one that was read before.
    EmptyPipe,
}

/// Reads the file at `path` and those that it includes; `sources` gets what that depends on.
///
/// # Errors
/// If the first one can't be read. What is wrong with others stands in the files.
pub(super) fn gather(
    path: &Path,
    progress: &Progress,
    sources: &mut Sources,
) -> io::Result<Gathered> {
    let is_stdin = path == Path::new(STDIN);
    let (name, file) = if is_stdin {
        (STDIN_NAME.to_owned(), Path::new("/dev/stdin"))
    } else {
        (path.display().to_string(), path)
    };
    if !is_stdin {
        sources.add_file(path, None);
    }
    let (bytes, found) = match read(file, FILE_BYTES_MAX, progress)? {
        Content::Bytes { bytes, .. } if bytes.is_empty() && progress.is_pipe.load(Relaxed) => {
            return Ok(Gathered::EmptyPipe);
        }
        Content::Bytes { bytes, found } => (bytes, Stamp::of(&found)),
        Content::Other(kind) => return Ok(Gathered::Other(kind)),
    };
    if is_stdin {
        sources.is_stdin = true;
    } else {
        sources.add_file(path, Some(found.clone()));
    }
    let mut gathering = Gathering {
        files: Files::new(&name, &bytes, |name| std::env::var(name)),
        folders: HashMap::from([(name, folder(path))]),
        read: HashSet::from([found.identity()]),
        progress,
        sources,
    };
    while let Some(include) = gathering.files.next_include() {
        if progress.is_abandoned.load(Relaxed) {
            break;
        }
        gathering.include(&include);
    }
    Ok(Gathered::Files(gathering.files))
}

struct Gathering<'s> {
    files: Files,
    /// Where paths begin that a file of this name includes.
    folders: HashMap<String, PathBuf>,
    /// Which files were read, by device and inode.
    read: HashSet<(u64, u64)>,
    progress: &'s Progress,
    sources: &'s mut Sources,
}

impl Gathering<'_> {
    fn include(&mut self, include: &Include) {
        let folder = self.folders.get(&include.by).cloned();
        let folder = folder.unwrap_or_default();
        if !include.is_pattern() {
            self.add(include, &folder.join(&include.pattern));
            return;
        }
        // What stands in the folder's own path is meant as it is.
        let pattern = match folder.to_str() {
            _ if include.pattern.starts_with('/') => include.pattern.clone(),
            Some("") => include.pattern.clone(),
            Some(folder) => format!("{}/{}", Pattern::escape(folder), include.pattern),
            None => {
                let reason = "is in a folder whose name is not UTF-8; rename that";
                self.files.refuse(include, reason);
                return;
            }
        };
        self.progress.begin(Path::new(&pattern));
        let found = match matches(&pattern) {
            Ok(found) => found,
            Err(reason) => return self.files.refuse(include, &reason),
        };
        self.sources.add_pattern(pattern, found.clone());
        for path in found {
            if self.progress.is_abandoned.load(Relaxed) || !self.add(include, &path) {
                break;
            }
        }
    }

    /// Reads one of the files of `include`. False if no more can be added.
    fn add(&mut self, include: &Include, path: &Path) -> bool {
        let reason = match read(path, FILE_BYTES_MAX, self.progress) {
            Ok(Content::Bytes { bytes, found }) => {
                let found = Stamp::of(&found);
                self.sources.add_file(path, Some(found.clone()));
                if !self.read.insert(found.identity()) {
                    return true;
                }
                let name = path.display().to_string();
                self.folders.insert(name.clone(), folder(path));
                return self.files.add(include, &name, &bytes);
            }
            // A pattern is of files.
            Ok(Content::Other(DIRECTORY)) if include.is_pattern() => return true,
            Ok(Content::Other(kind)) => {
                format!("is {kind} ({}); name a regular file", path.display())
            }
            Err(error) => format!("fails: {}: {error}", cannot_read("the file", path, &error)),
        };
        self.sources.add_file(path, None);
        self.files.refuse(include, &reason);
        true
    }
}

fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proxy_config::Machine;

    use super::*;

    /// The problems of the configuration `main` in a folder of these files, without the folder's own path.
    fn problems(files: &[(&str, &str)]) -> String {
        // A folder whose name would be a pattern.
        let directory = tempfile::Builder::new()
            .prefix("a[b]*")
            .tempdir()
            .expect("a directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, text).expect("write");
        }
        symlink("1.toml", directory.path().join("c/4.toml")).ok();
        let main = directory.path().join("main");
        let mut sources = Sources::default();
        let gathered = gather(&main, &Progress::default(), &mut sources).expect("it can be read");
        let Gathered::Files(files) = gathered else {
            panic!("it is a file");
        };
        let text = match files.parse(Machine::ANY) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        };
        text.replace(&format!("{}/", directory.path().display()), "")
    }

    const LISTENER: &str = "listeners.a = { bind = \"127.0.0.1:7000\", upstream = \"b\" }\n";
    const UPSTREAM: &str = "upstreams.b.servers = [\"builtin:echo\"]\n";

    #[test]
    fn patterns_are_relative_to_the_file_and_skip_hidden_files_and_those_read_already() {
        let files = [
            ("main", "include = [\"c/*.toml\"]\n"),
            ("c/1.toml", LISTENER),
            ("c/2.toml", "include = [\"d/?\", \"1.toml\", \"e/*\"]\n"),
            ("c/3.other", "no TOML"),
            ("c/.5.toml", "no TOML"),
            ("c/d/6", UPSTREAM),
            ("c/d/77", "no TOML"),
            ("c/e/folder/8", "no TOML"),
        ];
        assert_eq!(problems(&files), "");
    }

    #[test]
    fn problems_name_the_file_as_it_was_found() {
        let files = [
            ("main", "include = [\"c/*\", \"d\"]\n"),
            ("c/1.toml", "zzz = 1\n"),
            ("d", LISTENER),
        ];
        let found = problems(&files);
        assert!(
            found.starts_with("main:1:1: missing key `upstreams`"),
            "{found}"
        );
        assert!(
            found.contains("\nc/1.toml:1:1: unknown key `zzz`"),
            "{found}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_said_at_its_include() {
        let files = [
            ("main", "include = [\"none.toml\",\n\"c\"]\n"),
            ("c/1.toml", ""),
        ];
        let found = problems(&files);
        assert_eq!(
            found,
            "main:1:12: `include` of \"none.toml\" fails: cannot read the file none.toml; check its path: No such file or \
             directory (os error 2)\nmain:2:1: `include` of \"c\" is a directory (c); name a regular file"
        );
    }
}
