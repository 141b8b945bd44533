//! The TOML configuration of corelane: schema and validation.
//!
//! There are two types. The raw one is TOML's own document, in which every key and value knows
//! where it is written; only [`parse`] sees it. The validated one is [`Config`]: durations,
//! addresses, non-zero numbers and enums, which nothing has to check again. Between them, [`parse`]
//! walks the whole document and gathers every problem, so that one run of `corelane check` is
//! enough to repair a file.
//!
//! An unknown key is a problem at every level. All keys stand in the catalogue, of which the reference
//! (`docs/configuration.md`, [`reference`]) and the JSON schema ([`schema`]) are made; complete files are in
//! `config/examples/`.

#![forbid(unsafe_code)]

mod access_log;
mod address;
mod admin;
mod catalogue;
mod choice;
mod claims;
mod config;
mod cores;
mod document;
mod duration;
mod files;
mod findings;
mod health;
mod listener;
mod loops;
mod node;
mod path;
mod problem;
mod read;
mod refusal;
mod runtime;
mod section;
mod suggest;
mod template;
mod texts;
mod upstream;
mod variables;
mod written;

pub use crate::access_log::{AccessLog, Destination, Format};
pub use crate::address::{BindAddress, ListenAddress, ServerAddress, UNIX_PATH_BYTES_MAX};
pub use crate::admin::{ADMIN_HOSTS_MAX, Admin, AdminSocket, GROUP_BYTES_MAX, Group};
pub use crate::catalogue::{reference, schema};
pub use crate::config::{Config, LISTENERS_MAX, UPSTREAMS_MAX};
pub use crate::cores::{CORES_MAX, Cores};
pub use crate::duration::DURATION_MAX;
pub use crate::files::{
    FILES_BYTES_MAX, FILES_MAX, Files, INCLUDE_DEPTH_MAX, INCLUDES_MAX, Include,
};
pub use crate::health::Health;
pub use crate::listener::{BINDS_MAX, Listener};
pub use crate::loops::Machine;
pub use crate::node::NAME_BYTES_MAX;
pub use crate::problem::{PROBLEMS_MAX, Problem, Problems};
pub use crate::runtime::{
    GlommioOptions, OnSwitch, Placement, Rebalance, Runtime, Scheduler, TokioMode, TokioOptions,
};
pub use crate::template::{Field, Piece, TEMPLATE_BYTES_MAX, Template};
pub use crate::upstream::{Balance, OnRemoved, SERVERS_MAX, Server, Upstream, UpstreamIndex};
pub use crate::variables::{EXPANDED_BYTES_MAX, Variable};

/// The largest file of a configuration, in bytes: 1 MiB. A larger one is refused without being parsed.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// A valid configuration, and what its author should still hear about.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The validated configuration.
    pub config: Config,
    /// What is valid but hardly meant, such as an upstream that no listener uses; at most
    /// [`PROBLEMS_MAX`], in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Validates the configuration `text` for any machine; `file_name` is what the problems call it. No file that it includes is
/// read, and no variable of the environment is set.
///
/// # Errors
///
/// As [`Files::parse`].
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Problems> {
    Files::alone(file_name, text.as_bytes()).parse(Machine::ANY)
}
