//! What the two processes say of themselves: JSON, in which a later version may say more.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// The environment variable with the number of the descriptor that leads to the process before.
pub(super) const PREDECESSOR_VARIABLE: &str = "CORELANE_UPGRADE";

/// The environment variable with the number of the descriptor that leads to the supervisor.
pub(super) const SUPERVISOR_VARIABLE: &str = "CORELANE_SUPERVISOR";

/// What both say first, so that nobody takes another program for a proxy.
pub(super) const MAGIC: &str = "corelane upgrade";

/// Versions of the hand-over that this program speaks, from and to.
pub(super) const VERSIONS: (u16, u16) = (1, 1);

/// The new process introduces itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) magic: String,
    pub(super) versions: (u16, u16),
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
        let (magic, program) = (magic.to_owned(), "9.9".to_owned());
        let hello = Hello {
            magic,
            versions,
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
    }
}
