//! Forwarding, balancing and metrics of corelane, without a runtime.
//!
//! The layout is the architecture: [`direction`] is pure, the relay and the connect phase are written against
//! the traits of [`runtime`], and a scheduler runs [`Connection`]s with a [`Worker`] of its own. Nothing here
//! spawns, blocks, sleeps or asks a clock.

#![forbid(unsafe_code)]

mod acceptor;
mod activity;
mod address;
mod addresses;
mod attempts;
mod balance;
mod buffer;
mod bulk;
mod connect;
mod connection;
pub mod descriptors;
mod detached;
pub mod direction;
mod end;
mod ends;
mod flow;
mod health;
pub mod lifeline;
pub mod listen;
mod listener;
mod live;
pub mod metrics;
mod origin;
mod outage;
mod pipe;
pub mod plan;
mod record;
mod relay;
mod rest;
pub mod runtime;
mod share;
mod transport;
mod upstream;
mod worker;

pub use acceptor::{ACCEPT_BATCH_MAX, Acceptor, Draining, EXHAUSTED_PAUSE, FIRST_TURNS_MAX};
pub use activity::Activity;
pub use address::ServerAddress;
pub use addresses::{ADDRESSES_MAX, Walk};
pub use balance::Balance;
pub use buffer::{BUFFER_BYTES, Buffers, POOL_BUFFERS_MAX};
pub use bulk::{BYTES_TO_ENTER, FULL_READS_TO_ENTER, SMALL_SPLICE_BYTES, SMALL_SPLICES_TO_LEAVE};
pub use connect::{CLIENT_CHECK_INTERVAL, ROOM_RETRY_MAX, ROOM_RETRY_MIN, SERVERS_TRIED_MAX};
pub use connection::{
    Connection, LAST_WORDS_PATIENCE, LONG_TURN_BYTES, MARK_CHECK_AFTER, STALL_CHECK_INTERVAL, Turn,
};
pub use detached::Detached;
pub use end::{End, Stage, Termination};
pub use ends::Ends;
pub use flow::{TURN_BYTES_MAX, TURN_BYTES_MIN, TURN_STEPS_MAX};
pub use health::Health;
pub use listener::{Listener, Permit};
pub use live::{LOOK_MAX, Live};
pub use origin::{Accepted, ClientAddress, Origin};
pub use outage::Outage;
pub use pipe::{PIPE_BYTES, PIPES_FREE_MAX, PIPES_MAX, Pipe};
pub use record::LiveConnection;
pub use rest::REST;
pub use share::{SHARES_MAX, Share};
pub use transport::{Descriptor, Transport};
pub use upstream::{Server, Upstream};
pub use worker::Worker;
