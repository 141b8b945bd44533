//! Noticing that a file of the configuration was replaced or written.
//!
//! A thread waits for events of the folders that the files are in, and of the folders of every link on the way to them. So
//! it notices a file that is renamed over another one, and a link that is (Kubernetes' `..data`). When no more events
//! come, it compares what is there with what was read. Idle, it makes no system calls.
//!
//! Lists of clients may be on file systems of their own. Each folder of them has a thread, so that one that hangs keeps nobody from
//! noticing the others.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::sources::{self, Sources};

/// How long no event must come until files are compared.
const QUIET: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// How many such pauses there are at most until they are compared all the same.
const PAUSES_MAX: usize = 10;

/// Links that are followed on the way to a file, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// The most folders that are watched.
const FOLDERS_MAX: usize = 1024;

/// Bytes of events that are read at a time; what they say doesn't matter.
const EVENTS_BYTES: usize = 4096;

/// The most threads that watch lists; where there are more folders, the last thread has the rest of them.
const THREADS_MAX: usize = 16;

/// Watches the files that were read last, while that is wanted.
pub(crate) struct Watch {
    what: Watched,
    /// By the folder, where each has its own thread.
    watching: BTreeMap<PathBuf, Watching>,
    replaced: Arc<Notify>,
    /// What is there of what was read: [`Sources::now`].
    look: fn(&Sources) -> Sources,
}

/// What is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watched {
    /// The files of the configuration.
    Configuration,
    /// Files that list clients.
    Lists,
    /// A file that lists servers.
    Servers,
}

impl Watched {
    fn name(self) -> &'static str {
        match self {
            Self::Configuration => "the files of the configuration",
            Self::Lists => "the files that list clients",
            Self::Servers => "the file that lists servers",
        }
    }

    fn thread(self) -> &'static str {
        match self {
            Self::Configuration => "corelane-watch",
            Self::Lists => "corelane-lists",
            Self::Servers => "corelane-files",
        }
    }
}

struct Watching {
    shared: Arc<Shared>,
    /// A byte wakes the thread, and the end ends it.
    waker: PipeWriter,
}

struct Shared {
    /// What was read since the thread looked.
    read: Mutex<Option<Sources>>,
    replaced: Arc<Notify>,
    look: fn(&Sources) -> Sources,
}

impl Watch {
    /// Watches nothing yet.
    pub(crate) fn new(what: Watched) -> Self {
        Self {
            what,
            watching: BTreeMap::new(),
            replaced: Arc::default(),
            look: Sources::now,
        }
    }

    /// Watches the files of the configuration that were read last from now on, or nothing.
    pub(crate) fn restart_configuration(&mut self, is_wanted: bool) {
        let sources = sources::last();
        if is_wanted && sources.is_stdin {
            tracing::warn!(
                "`watch` of [runtime] has no effect: standard input can be read only once"
            );
        }
        let is_wanted = is_wanted && !sources.is_stdin;
        self.restart(is_wanted.then_some(&sources));
    }

    /// Watches these files from now on, or nothing.
    pub(crate) fn restart(&mut self, sources: Option<&Sources>) {
        let parts = match (sources, self.what) {
            (None, _) => BTreeMap::new(),
            (Some(sources), Watched::Lists) => sources.by_folder(THREADS_MAX),
            (Some(sources), _) => BTreeMap::from([(PathBuf::new(), sources.clone())]),
        };
        self.watching.retain(|folder, _| parts.contains_key(folder));
        if self.watching.is_empty() {
            // What was noticed of others means nothing any more.
            self.replaced = Arc::default();
        }
        for (folder, sources) in parts {
            if let Some(watching) = self.watching.get_mut(&folder)
                && watching.hand_over(&sources)
            {
                continue;
            }
            match Watching::start(self.what, sources, self.replaced.clone(), self.look) {
                Ok(watching) => drop(self.watching.insert(folder, watching)),
                Err(error) => tracing::warn!(
                    "{} are not watched, SIGHUP goes on to reload them: {error}",
                    self.what.name()
                ),
            }
        }
    }

    /// Waits until one of them is replaced or written; for ever, while nothing is watched.
    pub(crate) async fn replaced(&self) {
        if self.watching.is_empty() {
            std::future::pending().await
        }
        self.replaced.notified().await;
    }
}

impl Watching {
    fn start(
        what: Watched,
        sources: Sources,
        replaced: Arc<Notify>,
        look: fn(&Sources) -> Sources,
    ) -> io::Result<Self> {
        let (wake, waker) = io::pipe()?;
        let shared = Arc::new(Shared {
            read: Mutex::default(),
            replaced,
            look,
        });
        let its = shared.clone();
        let thread = thread::Builder::new().name(what.thread().to_owned());
        thread.spawn(move || {
            if let Err(error) = watch(what, sources, &wake, &its) {
                tracing::warn!(
                    "{} are no longer watched, SIGHUP goes on to reload them: {error}",
                    what.name()
                );
            }
        })?;
        Ok(Self { shared, waker })
    }

    /// These were read. False where the thread is gone, and said why.
    fn hand_over(&mut self, sources: &Sources) -> bool {
        let read = &self.shared.read;
        *read.lock().unwrap_or_else(PoisonError::into_inner) = Some(sources.clone());
        self.waker.write_all(&[0]).is_ok()
    }
}

/// Watches until the other end of `wake` is closed.
fn watch(what: Watched, mut known: Sources, wake: &PipeReader, shared: &Shared) -> io::Result<()> {
    // What is other than what is known, until it has stayed so for a moment: it may be half written.
    let mut other = None;
    loop {
        let read = shared
            .read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        known = read.unwrap_or(known);
        // Before the files are compared, so that no change gets lost in between; and again after each event, since a
        // folder may be another one by then.
        let events = arm(&known)?;
        let now = (shared.look)(&known);
        // A list that is gone is to be told of.
        let is_awaited = what == Watched::Configuration && known.is_incomplete(&now);
        let is_other = now != known && !is_awaited;
        if is_other && other.as_ref() == Some(&now) {
            tracing::info!("{}: one was replaced", what.name());
            known = now;
            other = None;
            shared.replaced.notify_one();
        } else {
            other = is_other.then_some(now);
        }
        if !wait(&events, wake, other.is_some())? {
            return Ok(());
        }
    }
}

/// Watches the folders that matter.
fn arm(sources: &Sources) -> io::Result<OwnedFd> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let what = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    let mut folders = BTreeSet::new();
    for path in sources.paths() {
        folders_of(path, &mut folders);
    }
    for folder in folders.iter().take(FOLDERS_MAX) {
        match inotify::add_watch(&events, folder, what) {
            // It is gone, or isn't ours to see: those above it are watched.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(events)
}

/// Adds the folders in which a change means another file at `path`: the one that it is in, those of the links on the way
/// there, and where one doesn't exist, the one that is nearest to it.
fn folders_of(path: &Path, folders: &mut BTreeSet<PathBuf>) {
    let mut left: Vec<OsString> = parts(path);
    let mut links = 0;
    let is_relative = path.is_relative();
    let mut at = PathBuf::from(if is_relative { "." } else { "/" });
    while let Some(part) = left.pop() {
        if part == "/" {
            at = PathBuf::from("/");
            continue;
        }
        let next = at.join(&part);
        match next.read_link() {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                folders.insert(at.clone());
                left.extend(parts(&target));
            }
            // The last part, or one that isn't there or stands for several.
            _ if left.is_empty() || !next.is_dir() => {
                folders.insert(at);
                return;
            }
            _ => at = next,
        }
    }
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    let parts = parts.filter(|part| *part != Component::CurDir);
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

/// Waits for an event or a byte, or for [`QUIET`] only, and then until no more come. False at the end of `wake`.
fn wait(events: &OwnedFd, wake: &PipeReader, is_short: bool) -> io::Result<bool> {
    let mut buffer = [0; EVENTS_BYTES];
    for pause in 0..=PAUSES_MAX {
        let timeout = (is_short || pause > 0).then_some(&QUIET);
        let mut polled = [
            PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(wake.as_fd(), PollFlags::IN),
        ];
        match poll(&mut polled, timeout) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [event, woken] = polled.map(|polled| polled.revents());
        if woken.contains(PollFlags::IN) {
            rustix::io::read(wake, &mut buffer)?;
            return Ok(true);
        }
        if !woken.is_empty() {
            return Ok(false);
        }
        if event.contains(PollFlags::IN) {
            rustix::io::read(events, &mut buffer)?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// As [`Sources::now`], where no folder `hung` is among them: one that is never answers.
    fn look(sources: &Sources) -> Sources {
        let is_hung = |path: &Path| path.iter().any(|part| part == "hung");
        while sources.paths().any(is_hung) {
            thread::park();
        }
        sources.now()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_list_is_noticed_while_another_one_hangs() {
        let directory = tempfile::tempdir().expect("a directory");
        let list = |folder: &str| {
            let folder = directory.path().join(folder);
            fs::create_dir(&folder).expect("a folder");
            let path = folder.join("list");
            fs::write(&path, "10.0.0.1").expect("write");
            path
        };
        let (hung, well) = (list("hung"), list("well"));
        let mut sources = Sources::default();
        for path in [&hung, &well] {
            sources.add_file(path, None);
        }
        let mut watch = Watch {
            look,
            ..Watch::new(Watched::Lists)
        };
        watch.restart(Some(&sources.now()));
        assert_eq!(watch.watching.len(), 2);
        fs::write(&well, "10.0.0.2, and more").expect("write");
        watch.replaced().await;
        // A reload goes on, too, and ends what it names no more.
        let mut rest = Sources::default();
        rest.add_file(&well, None);
        watch.restart(Some(&rest.now()));
        fs::write(&well, "10.0.0.3, and much more").expect("write");
        watch.replaced().await;
        assert_eq!(watch.watching.len(), 1);
    }

    #[test]
    fn folders_of_links_are_watched_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("a path");
        // As Kubernetes mounts a ConfigMap.
        fs::create_dir_all(root.join("mount/..1")).expect("folders");
        fs::write(root.join("mount/..1/file"), "").expect("write");
        symlink("..1", root.join("mount/..data")).expect("a link");
        symlink("..data/file", root.join("mount/file")).expect("a link");
        symlink(root.join("mount/file"), root.join("link")).expect("a link");
        let of = |path: &str| {
            let mut folders = BTreeSet::new();
            folders_of(&root.join(path), &mut folders);
            let names = folders
                .iter()
                .map(|folder| folder.strip_prefix(&root).expect("below it"));
            names
                .map(|name| name.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("mount/..1/file"), ["mount/..1"]);
        assert_eq!(of("mount/file"), ["mount", "mount/..1"]);
        assert_eq!(of("link"), ["", "mount", "mount/..1"]);
        assert_eq!(of("mount/*.toml"), ["mount"]);
        assert_eq!(of("none/x/file"), [""]);
        symlink("loop", root.join("loop")).expect("a link");
        assert_eq!(of("loop"), [""]);
    }
}
