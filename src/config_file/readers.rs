//! Who reads now, and who was left behind.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::progress::Progress;

/// Threads that read at a time. One that hangs in the kernel can't be ended: it is left behind, and others read other files. Where so
/// many hang, nothing is read any more until one of them comes back.
pub(super) const READERS_MAX: usize = 16;

/// The readers of this process.
pub(super) static READERS: Readers = Readers::new();

/// Threads that read, those included that were left behind.
pub(super) struct Readers(Mutex<Vec<Arc<Progress>>>);

/// A thread's right to read, given back when this is dropped.
pub(super) struct Reader<'a> {
    all: &'a Readers,
    progress: Arc<Progress>,
}

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// One who was to read it was left behind, and still hangs.
    StillStuck,
    /// [`READERS_MAX`] hang.
    TooMany,
}

impl Readers {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The right to read the file that `progress` begins with.
    pub(super) fn take(&self, progress: &Arc<Progress>) -> Result<Reader<'_>, Refused> {
        let file = progress.file();
        let mut all = self.lock();
        // One that waits for a pipe notices at its next look that it was left behind.
        let is_stuck = |other: &Arc<Progress>| {
            let is_left = other.is_abandoned.load(Relaxed) && !other.is_pipe.load(Relaxed);
            is_left && other.file() == file
        };
        if all.iter().any(is_stuck) {
            return Err(Refused::StillStuck);
        }
        if all.len() >= READERS_MAX {
            return Err(Refused::TooMany);
        }
        all.push(progress.clone());
        drop(all);
        Ok(Reader {
            all: self,
            progress: progress.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Progress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let is_other = |other: &Arc<Progress>| !Arc::ptr_eq(other, &self.progress);
        self.all.lock().retain(is_other);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn progress(file: &str) -> Arc<Progress> {
        let progress = Arc::<Progress>::default();
        progress.begin(Path::new(file));
        progress
    }

    #[test]
    fn one_that_hangs_keeps_nobody_from_reading_other_files() {
        let readers = Readers::new();
        let hanging = progress("hung");
        let left = readers.take(&hanging).expect("the first");
        // Two may read the same file as long as neither hangs.
        drop(readers.take(&progress("hung")).expect("another one"));
        hanging.is_abandoned.store(true, Relaxed);
        let stuck = readers.take(&progress("hung")).err();
        assert_eq!(stuck, Some(Refused::StillStuck));
        drop(readers.take(&progress("other")).expect("others are read"));
        // It has come to another file, and hangs there.
        hanging.begin(Path::new("included"));
        drop(readers.take(&progress("hung")).expect("it is read again"));
        drop(left);
        drop(
            readers
                .take(&progress("included"))
                .expect("it has come back"),
        );
    }

    #[test]
    fn who_waits_for_a_pipe_is_no_obstacle() {
        let readers = Readers::new();
        let waits = progress("pipe");
        let _left = readers.take(&waits).expect("the first");
        waits.is_pipe.store(true, Relaxed);
        waits.is_abandoned.store(true, Relaxed);
        assert!(readers.take(&progress("pipe")).is_ok());
    }

    #[test]
    fn those_that_hang_are_bounded() {
        let readers = Readers::new();
        let take = |nth: usize| readers.take(&progress(&nth.to_string()));
        let mut left: Vec<_> = (0..READERS_MAX).map(|nth| take(nth).ok()).collect();
        assert!(left.iter().all(Option::is_some));
        assert_eq!(take(100).err(), Some(Refused::TooMany));
        left.pop();
        assert!(take(100).is_ok());
    }
}
