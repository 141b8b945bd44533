//! What a comparison is asked for.

use std::path::PathBuf;
use std::time::Duration;

/// Light flows.
pub const CONNECTIONS_MAX: usize = 4096;

/// Bytes of a message.
pub const BYTES_MAX: usize = 1 << 20;

/// Heavy flows.
pub const HEAVY_MAX: usize = 64;

/// What is asked for.
pub struct Options {
    /// Where the configuration was read.
    pub file: PathBuf,
    /// After the live proxy's metrics, instead of by the next three.
    pub record: bool,
    /// Light flows.
    pub connections: usize,
    /// Bytes of their messages.
    pub bytes: usize,
    /// Heavy flows.
    pub heavy: usize,
    /// How long each scheduler is measured in each round.
    pub each: Duration,
    /// How often each scheduler has its turn.
    pub rounds: usize,
    /// JSON instead of a table.
    pub json: bool,
}
