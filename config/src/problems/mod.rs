//! What is wrong, where, and what to do about it.

pub(crate) mod findings;
pub(crate) mod path;
pub(crate) mod problem;
pub(crate) mod refusal;
pub(crate) mod suggest;
pub(crate) mod texts;
