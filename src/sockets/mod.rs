//! Listening sockets: who takes their addresses at a start, and who owns them from then on.

mod asking;
mod inherit;
mod inherited;
mod owned;
mod owner;
mod rebind;
mod start;

pub(crate) use self::inherit::{Offered, SocketsRecord};
pub(crate) use self::inherited::Inherited;
pub(crate) use self::owner::{ADMIN, Sockets};
pub(crate) use self::rebind::{Preparing, Rebinding, Rebound};
pub(crate) use self::start::{Abandoned, AdminAddress, Pause, Taken, listen, sleep};
