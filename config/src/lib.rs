//! The TOML configuration of corelane: schema and validation.
//!
//! There are two types. The raw one is TOML's own document, in which every key and value knows
//! where it is written; only [`parse`] sees it. The validated one is [`Config`]: durations,
//! addresses, non-zero numbers and enums, which nothing has to check again. Between them, [`parse`]
//! walks the whole document and gathers every problem, so that one run of `corelane check` is
//! enough to repair a file.
//!
//! An unknown key is a problem at every level. All keys stand in the catalogue, of which the reference
//! (`docs/configuration.md`, [`reference()`]) and the JSON schema ([`schema`]) are made; complete files are in
//! `config/examples/`.

#![forbid(unsafe_code)]

mod addresses;
mod catalogue;
mod config;
mod defaults;
mod files;
mod problems;
mod raw;
mod sections;
mod values;
mod written;

pub use crate::addresses::loops::{Loops, Machine};
pub use crate::catalogue::{reference, schema};
pub use crate::config::{Config, LISTENERS_MAX, UPSTREAMS_MAX};
pub use crate::files::include::{INCLUDE_DEPTH_MAX, INCLUDES_MAX, Include};
pub use crate::files::variables::{EXPANDED_BYTES_MAX, Variable};
pub use crate::files::{FILE_BYTES_MAX, FILES_BYTES_MAX, FILES_MAX, Files, Loaded};
pub use crate::problems::path::NAME_BYTES_MAX;
pub use crate::problems::problem::{PROBLEMS_MAX, Problem, Problems};
pub use crate::sections::access_log::{AccessLog, Destination, Format};
pub use crate::sections::admin::{ADMIN_HOSTS_MAX, Admin, AdminSocket, AdminTls};
pub use crate::sections::admission::{
    ACCESS_ENTRIES_MAX, AccessLists, Admission, BANDWIDTH_MAX, BANDWIDTH_MIN, OverLimit, RATE_MAX,
};
pub use crate::sections::agent::Agent;
pub use crate::sections::balance::{
    Balance, Balancing, CompareBy, FALLBACKS_MAX, HashOn, QUEUE_MAX, Queue, WhenAllDown,
};
pub use crate::sections::discovery::{
    Discovery, DiscoverySource, DnsName, HttpUrl, Kubernetes, NAMESERVERS_MAX,
};
pub use crate::sections::ejection::Ejection;
pub use crate::sections::health::{
    Check, CheckType, EXPECT_STEPS_MAX, ExpectStep, Expected as ExpectedAnswer, HEADERS_MAX,
    Health, HttpCheck, STATUSES_MAX, TlsCheck,
};
pub use crate::sections::listener::{BINDS_MAX, Listener};
pub use crate::sections::names::UpstreamIndex;
pub use crate::sections::proxy_protocol::{
    AcceptProxy, Expected, ProxyTlv, ProxyVersion, SendProxy, TRUSTED_MAX, Untrusted,
};
pub use crate::sections::route::{
    NotTls, ROUTE_NAMES_MAX, ROUTE_UPSTREAMS_MAX, ROUTE_VALUES_MAX, ROUTE_WEIGHT_MAX, ROUTES_MAX,
    Route, Starttls,
};
pub use crate::sections::runtime::{
    GlommioOptions, OnSwitch, Placement, Rebalance, Runtime, Scheduler, TokioMode, TokioOptions,
};
pub use crate::sections::socket::{
    Keepalive, ListenerOptions, SocketOptions, SourceAddress, UpstreamOptions,
};
pub use crate::sections::times::Times;
pub use crate::sections::upstream::{ConnectionFate, SERVERS_MAX, Server, Upstream};
pub use crate::values::access::{
    AccessEntry, Clients, LIST_BYTES_MAX, LIST_ENTRIES_MAX, ListProblem, parse_list,
};
pub use crate::values::account::{ACCOUNT_BYTES_MAX, Account};
pub use crate::values::address::{
    BindAddress, ListenAddress, ServerAddress, UNIX_PATH_BYTES_MAX, bind_name, discovered_address,
    listen_name, server_name,
};
pub use crate::values::cores::{CORES_MAX, Cores};
pub use crate::values::dscp::Dscp;
pub use crate::values::duration::DURATION_MAX;
pub use crate::values::expected::REGEX_MEMORY_MAX;
pub use crate::values::percent::Percent;
pub use crate::values::seconds::Seconds;
pub use crate::values::size::Size;
pub use crate::values::template::{Field, Piece, TEMPLATE_BYTES_MAX, Template};

/// Validates the configuration `text` for any machine; `file_name` is what the problems call it. No file that it includes is
/// read, and no variable of the environment is set.
///
/// # Errors
///
/// As [`Files::parse`].
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Problems> {
    Files::alone(file_name, text.as_bytes()).parse(Machine::ANY)
}
