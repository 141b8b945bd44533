//! What the two processes say of themselves: JSON, in which a later version may say more.

use std::collections::HashMap;
use std::path::Path;

use proxy_admin::Handed;
use proxy_core::carry::{self, agree};
use serde::{Deserialize, Serialize};

use crate::discovery::Found;

/// The environment variable with the number of the descriptor that leads to the process before.
pub(super) const PREDECESSOR_VARIABLE: &str = "CORELANE_UPGRADE";

/// The environment variable with the number of the descriptor that leads to the supervisor.
pub(super) const SUPERVISOR_VARIABLE: &str = "CORELANE_SUPERVISOR";

/// What both say first, so that nobody takes another program for a proxy.
pub(super) const MAGIC: &str = "corelane upgrade";

/// Versions of the hand-over that this program speaks, from and to.
pub(super) const VERSIONS: (u16, u16) = (1, 1);

/// Versions of the records of connections and verdicts that it reads, from and to.
pub(super) const RECORDS: (u16, u16) = (carry::VERSION_MIN, carry::VERSION);

/// The new process introduces itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) magic: String,
    pub(super) versions: (u16, u16),
    /// Versions of the records that it reads, from and to.
    pub(super) records: (u16, u16),
    /// Of the program, for people.
    pub(super) program: String,
}

/// The old process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) magic: String,
    /// The version that both speak.
    pub(super) version: u16,
    /// The file that means what runs, with the options of its sockets.
    pub(super) configuration: String,
    /// What its sources of servers named last, by upstream.
    #[serde(default)]
    pub(super) found: HashMap<String, Vec<Found>>,
    /// The file of its socket of commands, whose place the new one's takes.
    pub(super) command_file: Option<OwnFile>,
}

/// A file that is a process's own.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct OwnFile {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// The new process is to accept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Go {
    /// Of connections: those of the new process follow it.
    pub(super) last_id: u64,
    /// Who asked for the upgrade. None: the old process doesn't say.
    #[serde(default)]
    pub(super) by: Option<String>,
    /// What has changed lately, as far as the old process says.
    #[serde(default)]
    pub(super) events: Handed,
}

/// The new process accepts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Accepts {
    /// Sockets that it has, by owner and place: the old one leaves these open, and ends all others.
    pub(super) kept: Vec<(String, usize)>,
}

impl Hello {
    /// The newest version that both speak.
    ///
    /// # Errors
    /// When there is none, or the other program is no proxy; in words.
    pub(super) fn version(&self) -> Result<u16, String> {
        let Self {
            magic,
            versions: (its_least, its_most),
            records: (least_records, most_records),
            program,
        } = self;
        if magic != MAGIC {
            return Err("the new executable is no corelane".to_owned());
        }
        let (least, most) = VERSIONS;
        let version = most.min(*its_most);
        if version < least.max(*its_least) {
            return Err(format!(
                "corelane {program} takes over by versions {its_least} to {its_most} of the hand-over, and {} \
                 gives by {least} to {most}: restart instead",
                env!("CARGO_PKG_VERSION")
            ));
        }
        if agree(*least_records..=*most_records).is_none() {
            return Err(format!(
                "corelane {program} reads records of connections of versions {least_records} to {most_records}, and {} \
                 writes {}: restart instead",
                env!("CARGO_PKG_VERSION"),
                carry::VERSION
            ));
        }
        Ok(version)
    }
}

impl OwnFile {
    /// The one at a path now.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let found = rustix::fs::lstat(path).ok()?;
        Some(Self {
            device: found.st_dev,
            inode: found.st_ino,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(magic: &str, versions: (u16, u16)) -> Result<u16, String> {
        hello_with(magic, versions, RECORDS)
    }

    fn hello_with(magic: &str, versions: (u16, u16), records: (u16, u16)) -> Result<u16, String> {
        let (magic, program) = (magic.to_owned(), "9.9".to_owned());
        let hello = Hello {
            magic,
            versions,
            records,
            program,
        };
        hello.version()
    }

    #[test]
    fn the_newest_version_that_both_speak_is_spoken() {
        let (least, most) = VERSIONS;
        assert_eq!(hello(MAGIC, VERSIONS), Ok(most));
        assert_eq!(hello(MAGIC, (0, u16::MAX)), Ok(most));
        assert_eq!(hello(MAGIC, (0, least)), Ok(least));
        let newer = hello(MAGIC, (most + 1, most + 2)).unwrap_err();
        assert!(
            newer.contains("9.9") && newer.contains("restart"),
            "{newer}"
        );
        hello("nginx", VERSIONS).unwrap_err();
        let (_, newest) = RECORDS;
        assert_eq!(hello_with(MAGIC, VERSIONS, (newest, newest + 1)), Ok(most));
        let other = hello_with(MAGIC, VERSIONS, (newest + 1, newest + 1)).unwrap_err();
        assert!(
            other.contains("records") && other.contains("restart"),
            "{other}"
        );
    }

    #[test]
    fn one_that_says_less_or_more_is_understood() {
        let old: Go = serde_json::from_str(r#"{"last_id": 7}"#).unwrap();
        assert_eq!((old.last_id, old.by), (7, None));
        assert_eq!(old.events, Handed::default());
        let new = r#"{"last_id": 7, "by": "x", "events": {"count": 1, "events": [], "more": 1}, "more": 1}"#;
        let new: Go = serde_json::from_str(new).unwrap();
        assert_eq!(new.by.as_deref(), Some("x"));
    }
}
