//! Listening sockets: who takes their addresses at a start, and who owns them from then on.

mod owner;
mod start;

pub(crate) use self::owner::Sockets;
pub(crate) use self::start::{Abandoned, AdminAddress, Pause, Taken, listen, sleep};
