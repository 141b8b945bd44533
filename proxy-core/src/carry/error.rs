//! Why a record is refused.

/// Why what another process sent is not taken over. Nothing of it is kept then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The format is another one.
    #[error("a record has version {0}, and this process reads {min} to {max}", min = super::VERSION_MIN, max = super::VERSION)]
    Version(u16),
    /// It is about something else.
    #[error("a record of kind {got} came where one of kind {wanted} is expected")]
    Kind {
        /// What it is.
        got: u8,
        /// What it should be.
        wanted: u8,
    },
    /// It ends too early, or goes on behind its end.
    #[error("a record's lengths don't agree")]
    Length,
    /// It is longer than anything that is written.
    #[error("a record of {bytes} bytes is longer than {most}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// As many as there can be.
        most: usize,
    },
    /// It says something that this process doesn't know and must not skip.
    #[error("a record has a field {0} that this process does not know")]
    Unknown(u8),
    /// It says something twice.
    #[error("a record has its field {0} twice")]
    Twice(u8),
    /// It lacks something.
    #[error("a record lacks {0}")]
    Lacks(&'static str),
    /// It says something that can't be.
    #[error("a record has {0} that there can't be")]
    Bad(&'static str),
    /// Other descriptors came than it has.
    #[error("{got} descriptors came with a record of {wanted}")]
    Descriptors {
        /// How many came.
        got: usize,
        /// How many it has.
        wanted: usize,
    },
}
