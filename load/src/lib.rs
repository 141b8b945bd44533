//! A load on a proxy: clients, and the servers behind it.
//!
//! A [`Stage`] is one thread with one epoll, so that little of its CPU is lost to switching. It has the clients, and the server
//! that they reach through the proxy where that is wanted. A [`Load`] is several stages on threads of their own.
//! Messages of an open loop have their times, whatever the proxy does, and their latencies count from when they
//! were due.

mod background;
mod bulk;
mod clients;
mod connect;
mod exchange;
mod idle;
mod open;
mod poller;
mod schedule;
mod server;
mod stage;
mod tally;
mod workload;

pub use self::background::{Load, Report};
pub use self::bulk::Bulk;
pub use self::clients::{Clients, Lost, begin_connect, connect};
pub use self::connect::Connect;
pub use self::exchange::Exchange;
pub use self::idle::Idle;
pub use self::open::FirstCore;
pub use self::poller::Poller;
pub use self::server::{Mode, Server};
pub use self::stage::Stage;
pub use self::tally::Tally;
pub use self::workload::{Flows, Workload};
