//! Whether a direction is bulk: worth the two extra system calls that a pipe costs.
//!
//! Request and answer of 8, 16 and 32 KiB cost a tenth to a fifth more through a pipe than copied; bulk costs a third to
//! a quarter. So size alone doesn't tell them apart: what does is that nothing comes the other way.

/// Full reads in a row after which a direction is bulk.
pub const FULL_READS_TO_ENTER: u8 = 2;

/// Bytes since the other direction last moved any, after which a direction is bulk. A proxy that keeps up with its
/// source never sees a full read.
pub const BYTES_TO_ENTER: usize = 256 * 1024;

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
    /// Bytes copied since the other direction moved any, or a splice was small.
    flowed: usize,
}

impl Bulk {
    /// Traffic that is copied at first, and always unless `allowed`.
    pub(crate) const fn new(allowed: bool) -> Self {
        Self {
            allowed,
            splicing: false,
            streak: 0,
            flowed: 0,
        }
    }

    /// Whether to move bytes through a pipe.
    pub(crate) const fn splices(&self) -> bool {
        self.splicing
    }

    /// `count` bytes were copied, where there was room for `room`.
    pub(crate) const fn on_copied(&mut self, count: usize, room: usize) {
        if self.splicing || !self.allowed {
            return;
        }
        self.streak = if count < room { 0 } else { self.streak + 1 };
        self.flowed = self.flowed.saturating_add(count);
        self.switch(self.streak >= FULL_READS_TO_ENTER || self.flowed >= BYTES_TO_ENTER);
    }

    /// The other direction moved bytes.
    pub(crate) const fn on_turned(&mut self) {
        self.flowed = 0;
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

    /// What there is of it, for another process: whether bytes may be spliced and are, the streak, and the bytes that flowed.
    pub(crate) const fn to_carry(self) -> (bool, bool, u8, usize) {
        (self.allowed, self.splicing, self.streak, self.flowed)
    }

    /// The same back; none where it can't be.
    pub(crate) const fn carried(
        allowed: bool,
        splicing: bool,
        streak: u8,
        flowed: usize,
    ) -> Option<Self> {
        let most = if splicing {
            SMALL_SPLICES_TO_LEAVE
        } else {
            FULL_READS_TO_ENTER
        };
        if streak >= most || flowed >= BYTES_TO_ENTER {
            return None;
        }
        Some(Self {
            allowed,
            splicing: splicing && allowed,
            streak,
            flowed,
        })
    }

    const fn switch(&mut self, now: bool) {
        if now {
            self.splicing = !self.splicing;
            self.streak = 0;
            self.flowed = 0;
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
    fn bulk_is_what_flows_one_way() {
        const READ: usize = 60_000;
        let mut bulk = Bulk::new(true);
        for _ in 0..1_000 {
            bulk.on_copied(READ, 65_536);
            bulk.on_turned();
        }
        assert!(!bulk.splices());
        for _ in 0..BYTES_TO_ENTER.div_ceil(READ) {
            assert!(!bulk.splices());
            bulk.on_copied(READ, 65_536);
        }
        assert!(bulk.splices());
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
