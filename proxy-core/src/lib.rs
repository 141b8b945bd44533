//! Forwarding, balancing and metrics of corelane, without a runtime.
//!
//! The layout is the architecture: [`direction`] is pure, the relay and the connect phase are written against
//! the traits of [`runtime`], and a scheduler runs [`Connection`]s with a [`Worker`] of its own. Nothing here
//! spawns, blocks, sleeps or asks a clock.

#![forbid(unsafe_code)]

mod activity;
mod admission;
mod attempt;
pub mod backend;
pub mod carry;
mod closing;
mod connection;
#[cfg(test)]
mod counted_wakes;
pub mod descriptors;
mod epoch;
mod generation;
mod id;
pub mod lifeline;
pub mod listen;
mod listener;
pub mod metrics;
pub mod prologue;
mod relay;
mod route;
pub mod runtime;
mod socket_options;
mod table;
mod transport;
mod upstream;
mod worker;

pub use activity::Activity;
pub use admission::access::{Access, Clients};
pub use admission::bandwidth::{Bandwidth, BandwidthSettings, QUANTUM_MAX, QUANTUM_MIN};
pub use admission::limits::{Limits, OverLimit, SOURCE_BITS};
pub use admission::prefixes::Prefixes;
pub use admission::rate::{Meter, Rate};
pub use admission::source_rates::{SOURCES_MAX, SourceRates};
pub use closing::{Closing, ClosingCell, Manner};
pub use connection::connect::retries::{RETRY_PAUSE, RETRY_PAUSE_MAX};
pub use connection::connect::{
    ADDRESS_DELAY, ADDRESSES_TRIED_AT_ONCE_MAX, CLIENT_CHECK_INTERVAL, ROOM_RETRY_MAX,
    ROOM_RETRY_MIN, SERVERS_TRIED_MAX,
};
pub use connection::detached::{Carried, DESCRIPTORS_MAX, Detached};
pub use connection::end::{End, Stage, Termination};
pub use connection::ends::Ends;
pub use connection::live::{Live, SAMPLED_MAX, continue_ids, last_id};
pub use connection::origin::{ClientAddress, Origin};
pub use connection::probation::HALF_CONNECTED_FOR;
pub use connection::record::LiveConnection;
pub use connection::times::{LIFETIME_GRACE, QUIET_BEFORE_END};
pub use connection::{
    Connection, LAST_WORDS_PATIENCE, LONG_TURN_BYTES, MARK_CHECK_AFTER, STALL_CHECK_INTERVAL, Turn,
};
pub use descriptors::ACCEPT_BATCH_MAX;
pub use generation::Generation;
pub use id::Id;
pub use listener::Listener;
pub use listener::acceptor::{
    Accepted, Acceptor, Draining, EXHAUSTED_PAUSE, FIRST_TURNS_MAX, PLACE_DRAIN_PATIENCE,
};
pub use listener::ordered::{ORDERED_ENDS_MAX, OrderedEnds};
pub use listener::permit::Permit;
pub use listener::settings::ListenerSettings;
pub use listener::share::{SHARES_MAX, Share};
pub use listener::state::ListenerState;
pub use listener::times::{Lifetime, Times};
pub use relay::buffer::{BUFFER_BYTES, Buffers, POOL_BUFFERS_MAX};
pub use relay::bulk::{
    BYTES_TO_ENTER, FULL_READS_TO_ENTER, SMALL_SPLICE_BYTES, SMALL_SPLICES_TO_LEAVE,
};
pub use relay::direction;
pub use relay::flow::{TURN_BYTES_MAX, TURN_BYTES_MIN, TURN_STEPS_MAX};
pub use relay::pipe::{PIPE_BYTES, PIPES_FREE_MAX, PIPES_MAX, Pipe};
pub use route::{
    Destination, Facts, NamePattern, ROUTE_NAMES_KEPT_MAX, ROUTES_MAX, Rest, Route, RouteNames,
    RouteSettings, RouteTarget, RouteView, Routes, Verdict,
};
pub use socket_options::{
    ConnectOptions, Dial, Keepalive, KeepaliveTimes, ListenOptions, OptionError, Source, TcpOptions,
};
pub use table::inventory::{Inventory, RETIRED_KEPT, RETIRED_MAX};
pub use table::view::{Forgotten, ListenerView, UpstreamView, View};
pub use table::{Table, Tables};
pub use transport::{Descriptor, Transport};
pub use upstream::Upstream;
pub use upstream::address::ServerAddress;
pub use upstream::addresses::{ADDRESSES_MAX, Walk};
pub use upstream::agent::{Admission, AgentReport};
pub use upstream::ejection::{EjectionCause, EjectionSettings};
pub use upstream::health::Health;
pub use upstream::outage::{Fault, Outage};
pub use upstream::policy::{Balance, CompareBy, HashOn};
pub use upstream::pool::{Member, Pool, PoolSettings, WEIGHT_MAX, WhenAllDown};
pub use upstream::queue::settings::{QUEUE_MAX, QueueSettings};
pub use upstream::rest::REST;
pub use upstream::retry_budget::{RETRIES_AT_ONCE_MIN, RETRIES_EARNED_FOR, RETRIES_PER_SECOND_MIN};
pub use upstream::send_proxy::{SendProxy, SendTlvs};
pub use upstream::server::{ANSWER_CHARS_MAX, Server};
pub use upstream::state::{Hold, Holds, ServerState};
pub use upstream::taken::Taken;
pub use upstream::witness::{Judge, Witness};
pub use worker::Worker;
