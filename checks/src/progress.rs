//! What a check's machine hears at a step, and how far it has come.

/// How far a check has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    More,
    /// The server has passed. What is left of the output is a farewell.
    Passed,
    /// It has not, and why.
    Failed(String),
}

/// What a machine hears at a step: all that came so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) bytes: &'a [u8],
    /// Nothing will come any more.
    pub(crate) has_ended: bool,
}
