//! Visits: short connections that ask something of a proxy besides relaying. It routes them by the name that they ask for,
//! lets some in and not others, or reads or writes a header of the PROXY protocol.

mod duty;
mod header;
mod hello;
mod kind;
mod list;

pub(crate) use self::duty::{Duty, Lines};
pub(crate) use self::header::{Version, after_header};
pub(crate) use self::kind::{ANSWER_BYTES, CONCURRENCY, First, Visit};
pub(crate) use self::list::sources;
