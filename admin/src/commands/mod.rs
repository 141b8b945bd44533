//! Commands: what changes the proxy, asked for over a unix socket.
//!
//! HTTP/1.1, and the paths are the API's: `POST /api/v1/reload` reads the configuration again, and with `?check` only
//! says what would change. While a switch of the scheduler runs, a reload may have to wait for its end; with `?nowait` it answers that instead.
//! The kernel says which user asks (`SO_PEERCRED`, unix(7)), and that decides whether they may.

mod access;
pub(crate) mod change;
mod server;

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

pub use self::access::Access;
pub use self::change::{
    Change, ConnectionOrder, CoresChange, LISTENER_KEYS, ListenerChange, ListenerOrder, LogChange,
    LogLevel, NewServer, SchedulerChange, SchedulerName, ServerChange, ServerOrder, What,
};
pub use self::server::{Served, serve};

/// Commands that wait for their turn; one more is refused for now.
pub const COMMANDS_WAITING_MAX: usize = 16;

/// Where commands come in.
pub type Inbox = mpsc::Receiver<Command>;

/// What somebody wants.
#[derive(Debug)]
pub struct Command {
    /// What is to be done.
    pub wish: Wish,
    /// Who asks for it, as the log and events name them.
    pub by: String,
    reply: oneshot::Sender<Reply>,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Reads the configuration again and applies it.
    Reload,
    /// The same, unless it would have to wait: then it is told so, and nothing else happens.
    ReloadAtOnce,
    /// Reads it, and says what a reload would change.
    Check,
    /// The same, as lines.
    Difference,
    /// Has another process take over: of this executable, or of what is at the path of the one that runs.
    Upgrade(Option<PathBuf>),
    /// Changes something, without reading anything again.
    Change(Box<Change>),
}

/// The answer to a command, in words: lines that each end in a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done(String),
    /// What was asked for, a line each.
    Lines(Vec<String>),
    /// It was not, as it is about something that there is not.
    Absent(String),
    /// It was not, and nothing has changed.
    Refused(String),
    /// It would have to wait; nothing has changed.
    Later(String),
    /// Too many wait already; nothing has changed.
    Busy(String),
}

impl Command {
    /// A wish of somebody's, and where its answer comes.
    pub(crate) fn new(wish: Wish, by: String) -> (Self, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        (Self { wish, by, reply }, answer)
    }

    /// Sends the answer, unless the client has gone meanwhile.
    pub fn answer(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}
