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

use toml::de::DeTable;

use crate::findings::Findings;
use crate::section::Section;

mod access_log;
mod address;
mod admin;
mod catalogue;
mod choice;
mod claims;
mod config;
mod cores;
mod duration;
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
mod upstream;
mod written;

pub use crate::access_log::{AccessLog, Destination, Format};
pub use crate::address::{BindAddress, ListenAddress, ServerAddress, UNIX_PATH_BYTES_MAX};
pub use crate::admin::{ADMIN_HOSTS_MAX, Admin, AdminSocket, GROUP_BYTES_MAX, Group};
pub use crate::catalogue::{reference, schema};
pub use crate::config::{Config, LISTENERS_MAX, UPSTREAMS_MAX};
pub use crate::cores::{CORES_MAX, Cores};
pub use crate::duration::DURATION_MAX;
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

/// The largest configuration file, in bytes: 1 MiB. A larger one is refused without being parsed.
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

/// Validates the configuration file whose content is `bytes`; `file_name` is what the problems call it. Of a file that
/// is too large, one byte more than [`FILE_BYTES_MAX`] is enough.
///
/// # Errors
///
/// As [`parse_for`], and when it isn't UTF-8 text.
pub fn parse_bytes(
    bytes: &[u8],
    file_name: &str,
    machine: Machine<'_>,
) -> Result<Loaded, Problems> {
    match str::from_utf8(bytes) {
        Ok(text) => parse_for(text, file_name, machine),
        // The last character of one that was cut.
        Err(_) if bytes.len() > FILE_BYTES_MAX => Err(too_large("", file_name)),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let message = "this is not UTF-8 text; save the file as UTF-8".to_owned();
            Err(Problems::one(&valid, file_name, valid.len(), message))
        }
    }
}

/// Validates the configuration `text` for any machine; `file_name` is what the problems call it.
///
/// # Errors
///
/// As [`parse_for`].
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Problems> {
    parse_for(text, file_name, Machine::ANY)
}

/// Validates the configuration `text` for a machine; `file_name` is what the problems call it.
///
/// # Errors
///
/// All the problems of the text, in its order. What isn't TOML is reported alone, because what is
/// missing from the rest of such a text can't be known.
pub fn parse_for(text: &str, file_name: &str, machine: Machine<'_>) -> Result<Loaded, Problems> {
    if text.len() > FILE_BYTES_MAX {
        return Err(too_large(text, file_name));
    }
    // Editors don't show a byte order mark, so it must not count as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);

    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let errors = Findings::default();
    let warnings = Findings::default();
    for error in &syntax_errors {
        let at = error.span().map_or(0, |span| span.start);
        errors.add(at, None, format!("this is not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        return Err(errors.locate(text, file_name));
    }

    let config = Section::document(&catalogue::ROOT, document.get_ref(), &errors)
        .read(|root| config::read(root, machine, &errors, &warnings));
    let warnings = warnings.locate(text, file_name).into_vec();
    if errors.is_empty() {
        Ok(Loaded { config, warnings })
    } else {
        Err(errors.locate(text, file_name).with_warnings(warnings))
    }
}

fn too_large(text: &str, file_name: &str) -> Problems {
    let message = format!(
        "the file is larger than {FILE_BYTES_MAX} bytes; split its listeners over processes"
    );
    Problems::one(text, file_name, 0, message)
}
