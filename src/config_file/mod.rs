//! Reads the configuration's files, within bounds even where a file system hangs or nobody writes to a pipe.
//!
//! A thread reads ([`reading`]), and the caller waits for it only so long. One that hangs is left behind ([`readers`]).

mod content;
mod error;
mod gather;
mod given;
mod lists;
mod loading;
mod progress;
mod readers;
mod reading;
mod rewriting;
mod servers;
mod sources;
mod stdin;
mod watch;

pub(crate) use self::error::LoadError;
pub(crate) use self::given::{Given, parse};
pub(crate) use self::lists::{ReadLists, read_lists, read_lists_meanwhile};
pub(crate) use self::loading::load;
pub(crate) use self::reading::on_this_machine;
pub(crate) use self::rewriting::{Rewriting, rewrite_meanwhile};
pub(crate) use self::servers::{ServersFile, read_servers_meanwhile};
pub(crate) use self::sources::Sources;
pub(crate) use self::watch::{Watch, Watched};
