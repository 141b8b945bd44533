//! Where the scripted kernel's mischief comes from: the same for the same seed.

/// A generator of what happens next.
#[derive(Debug)]
pub(super) struct Dice {
    state: u64,
    /// Whether anything but the plainest thing ever happens.
    loaded: bool,
}

impl Dice {
    /// Seed zero never makes mischief.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            loaded: seed != 0,
        }
    }

    /// Whether to make mischief that is due once in `n` times.
    pub(super) fn mischief(&mut self, n: u64) -> bool {
        self.loaded && self.next().is_multiple_of(n)
    }

    /// A number of 1 to `max`: `max` when there is no mischief.
    pub(super) fn up_to(&mut self, max: usize) -> usize {
        if self.mischief(3) && max > 1 {
            // Often small, so that the edges of what is being moved are met.
            let max = if self.mischief(2) { max.min(8) } else { max };
            1 + (self.next() % max as u64) as usize
        } else {
            max
        }
    }

    /// An index below `count`: zero when there is no mischief.
    pub(super) fn index(&mut self, count: usize) -> usize {
        if self.loaded {
            (self.next() % count as u64) as usize
        } else {
            0
        }
    }

    /// xorshift64*.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8
    }
}
