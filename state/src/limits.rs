//! The limits from which on the cores' state is reported.

use serde::{Deserialize, Serialize};

/// Utilization from which a core is short of time: what comes next waits.
pub const HOT_MIN: f64 = 0.9;

/// Utilization from which a core is well used: unevenness may cost somebody something.
pub const WARM_MIN: f64 = 0.6;

/// λ from which a load is uneven. Rebalancing leaves what is under 0.25, as it is configured by default.
pub const UNEVEN_MIN: f64 = 0.3;

/// How much busier than the mean of the others a core is when the others could help it.
pub const GAP_MIN: f64 = 0.25;

/// Mean utilization under which nothing is said of balance: figures of a proxy that does next to nothing are noise.
pub const IDLE_MAX: f64 = 0.02;

/// Part of the time that a core waits for its CPU, from which others use that CPU.
pub const WAITS_MIN: f64 = 0.15;

/// Part of the time that a core waits for its CPU, from which that slows clients down.
pub const STARVED_MIN: f64 = 0.5;

/// The limits that one core is coloured by, for who shows it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Limits {
    /// [`HOT_MIN`].
    pub hot: f64,
    /// [`WARM_MIN`].
    pub warm: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hot: HOT_MIN,
            warm: WARM_MIN,
        }
    }
}
