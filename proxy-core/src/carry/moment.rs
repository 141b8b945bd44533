//! When verdicts come.

/// What a process has when it hears of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It has checked no server yet, and taken no client.
    Start,
    /// It checks servers and has verdicts of its own of what checks and agents say; clients are to come next.
    Takeover,
}
