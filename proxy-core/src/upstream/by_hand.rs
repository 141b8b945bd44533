//! What somebody has set of a server while the proxy runs, and wants to stay whatever is configured.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const AS_CONFIGURED: u32 = u32::MAX;

/// The weight of a server instead of the one that is configured. Tables are made with it.
#[derive(Debug)]
pub(crate) struct WeightByHand(AtomicU32);

impl Default for WeightByHand {
    fn default() -> Self {
        Self(AtomicU32::new(AS_CONFIGURED))
    }
}

impl WeightByHand {
    pub(crate) fn get(&self) -> Option<u16> {
        u16::try_from(self.0.load(Relaxed)).ok()
    }

    pub(crate) fn set(&self, weight: Option<u16>) {
        self.0
            .store(weight.map_or(AS_CONFIGURED, u32::from), Relaxed);
    }
}
