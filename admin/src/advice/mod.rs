//! Advice about the load: a few lines for the operator, each under a stable name.
//!
//! What one sample calls for is a pure function (`judgement`); the [`Adviser`] gives only what holds for a while.

mod adviser;
mod id;
mod judgement;

pub(super) use self::adviser::{Adviser, Snapshot};
pub(super) use self::id::{Advice, Id};
