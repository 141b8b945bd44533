//! Whether a direction is bulk: worth the two extra system calls that a pipe costs.

/// Full reads in a row after which a direction is bulk.
pub const FULL_READS_TO_ENTER: u8 = 2;

/// Bytes under which a splice is small.
pub const SMALL_SPLICE_BYTES: usize = 16 * 1024;

/// Small splices in a row after which a direction is not bulk any more.
pub const SMALL_SPLICES_TO_LEAVE: u8 = 4;

/// What one direction's traffic looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bulk {
    allowed: bool,
    splicing: bool,
    /// Full reads while copying, small splices while splicing.
    streak: u8,
}

impl Bulk {
    /// Traffic that is copied at first, and always unless `allowed`.
    pub(crate) const fn new(allowed: bool) -> Self {
        Self {
            allowed,
            splicing: false,
            streak: 0,
        }
    }

    /// Whether to move bytes through a pipe.
    pub(crate) const fn splices(&self) -> bool {
        self.splicing
    }

    /// `count` bytes were copied, where there was room for `room`.
    pub(crate) const fn on_copied(&mut self, count: usize, room: usize) {
        if count < room {
            self.streak = 0;
        } else if self.allowed && !self.splicing {
            self.streak += 1;
            self.switch(self.streak >= FULL_READS_TO_ENTER);
        }
    }

    /// `count` bytes went into a pipe.
    pub(crate) const fn on_spliced(&mut self, count: usize) {
        if count >= SMALL_SPLICE_BYTES {
            self.streak = 0;
        } else {
            self.streak += 1;
            self.switch(self.streak >= SMALL_SPLICES_TO_LEAVE);
        }
    }

    /// The source can't be spliced.
    pub(crate) const fn on_refused(&mut self) {
        *self = Self::new(false);
    }

    const fn switch(&mut self, now: bool) {
        if now {
            self.splicing = !self.splicing;
            self.streak = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_is_entered_and_left_after_a_streak() {
        let mut bulk = Bulk::new(true);
        bulk.on_copied(64, 64);
        bulk.on_copied(63, 64);
        bulk.on_copied(64, 64);
        assert!(!bulk.splices());
        bulk.on_copied(64, 64);
        assert!(bulk.splices());
        for _ in 0..3 {
            bulk.on_spliced(1);
        }
        bulk.on_spliced(SMALL_SPLICE_BYTES);
        for _ in 0..3 {
            bulk.on_spliced(1);
        }
        assert!(bulk.splices());
        bulk.on_spliced(1);
        assert!(!bulk.splices());
    }

    #[test]
    fn what_may_not_be_spliced_never_is() {
        let mut bulk = Bulk::new(true);
        bulk.on_copied(64, 64);
        bulk.on_copied(64, 64);
        bulk.on_refused();
        for _ in 0..9 {
            bulk.on_copied(64, 64);
        }
        assert!(!bulk.splices());
    }
}
