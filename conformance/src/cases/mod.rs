//! The cases. Each plays clients and servers of one proxy, and ends with none of its connections left.

mod bandwidth;
mod bytes;
mod connect;
mod counters;
mod drain;
mod ejection;
mod fairness;
mod half_close;
mod idle;
mod limits;
mod pressure;
mod prologue;
mod queue;
mod reset;
mod retries;
mod routes;
mod sockets;
mod times;

pub use bandwidth::*;
pub use bytes::*;
pub use connect::*;
pub(crate) use counters::{ACKNOWLEDGEMENT, Counts, expect_end, expect_reset};
pub use drain::*;
pub use ejection::*;
pub use fairness::*;
pub use half_close::*;
pub use idle::*;
pub use limits::*;
pub use pressure::*;
pub use prologue::*;
pub use queue::*;
pub use reset::*;
pub use retries::*;
pub use routes::*;
pub use sockets::*;
pub use times::*;
