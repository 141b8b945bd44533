//! Commands: what changes the proxy, asked for over a unix socket.
//!
//! HTTP/1.1, as the admin server's: `POST /api/v1/reload` reads the configuration again, and with `?check` only says
//! what would change. Who may is decided by the kernel's word on who is at the other end (`SO_PEERCRED`, unix(7)).

mod access;
mod server;

use tokio::sync::{mpsc, oneshot};

pub use self::access::Access;
pub use self::server::serve;

/// Commands that wait for their turn; one more is told to come later.
pub const COMMANDS_WAITING_MAX: usize = 16;

/// Where commands come in.
pub type Inbox = mpsc::Receiver<Command>;

/// What somebody wants.
#[derive(Debug)]
pub struct Command {
    /// What is to be done.
    pub wish: Wish,
    reply: oneshot::Sender<Reply>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Reads the configuration again and applies it.
    Reload,
    /// Reads it, and says what a reload would change.
    Check,
}

/// What came of a command, in words for who asked: lines that each end in a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done(String),
    /// It was not, and nothing has changed.
    Refused(String),
}

impl Command {
    /// Tells who asked. Who has gone meanwhile is told nothing.
    pub fn answer(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}
