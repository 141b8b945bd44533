//! The unix socket that takes commands: its path, its owner and its mode.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use nix::unistd;
use proxy_admin::Api;
use proxy_admin::commands::{Access, COMMANDS_WAITING_MAX, Command, Inbox, Served, serve};
use proxy_config::{Account, AdminSocket};
use proxy_core::ListenOptions;
use proxy_core::listen::{self, BindAddress, Reserved, SocketFile};
use rustix::process::getegid;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::start_error::{Asker, cannot_listen};

/// Connections that wait to be accepted.
const BACKLOG: u16 = 16;

/// What people call the socket.
const ASKER: Asker<'static> = Asker {
    name: "[admin]",
    key: "`socket`",
};

/// Commands, from whichever socket is configured, or none.
pub(crate) struct Commands {
    inbox: Inbox,
    sender: mpsc::Sender<Command>,
    /// What is served, once the proxy runs.
    served: Served,
    socket: Option<CommandSocket>,
}

/// A socket that takes commands on the current runtime, until it is dropped.
pub(crate) struct CommandSocket {
    access: Access,
    accepting: AbortHandle,
    /// The socket that is accepted from.
    socket: OwnedFd,
    /// Dropped, whoever waits is taken, and no one after.
    closing: Option<oneshot::Sender<()>>,
    file: SocketFile,
}

impl Commands {
    /// From nowhere yet.
    pub(crate) fn new() -> Self {
        let (sender, inbox) = mpsc::channel(COMMANDS_WAITING_MAX);
        Self {
            inbox,
            sender,
            served: Served::default(),
            socket: None,
        }
    }

    /// Where commands can be sent.
    pub(crate) fn sender(&self) -> mpsc::Sender<Command> {
        self.sender.clone()
    }

    /// Answers whoever asks, from now on.
    pub(crate) fn serve(&self, api: Arc<Api>) {
        // It is said once.
        let _ = self.served.set(api);
    }

    /// Listens where the configuration says; commands come from there once it is [put](Self::put). `is_own` says whether another
    /// file of this process's is at a path, whose place it takes then, once it is [settled](CommandSocket::settle).
    ///
    /// # Errors
    /// When the path can't be listened on, or the group isn't known; with what to do.
    pub(crate) fn open(
        &self,
        configured: &AdminSocket,
        is_own: impl Fn(&Path) -> bool,
    ) -> anyhow::Result<CommandSocket> {
        let address = BindAddress::Unix(configured.path.clone());
        let group = group(configured)?;
        let reserved = if is_own(&configured.path) || self.is_at(&configured.path) {
            listen::reserve_beside(&address, 1, &ListenOptions::default())
        } else {
            listen::reserve(&address, 1)
        };
        let reserved = reserved.map_err(|error| explain(&address, error))?;
        // Before it listens: nobody gets in meanwhile.
        let now = reserved.file().map(SocketFile::path_now);
        own(configured, now.unwrap_or(&configured.path), group)?;
        let access = Access::new(group);
        CommandSocket::listen(reserved, access, self.served.clone())
            .map_err(|error| explain(&address, error))
    }

    /// Takes commands from this socket from now on, or from none. Who waits at the one of before is still served.
    pub(crate) fn put(&mut self, socket: Option<CommandSocket>) {
        if let Some(old) = std::mem::replace(&mut self.socket, socket) {
            old.close();
        }
    }

    /// Has clients find the socket, in place of one that another process had.
    pub(crate) fn settle(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.settle();
        }
    }

    /// Has clients find this process where its configuration says, after one that had taken the path is gone.
    pub(crate) fn take_back(&mut self, configured: Option<&AdminSocket>) {
        if self.come_from(configured) {
            return;
        }
        let opened = configured.map(|configured| self.open(configured, |_| false));
        match opened.transpose() {
            Ok(socket) => self.put(socket),
            Err(error) => tracing::error!("no commands can be given until a reload: {error:#}"),
        }
    }

    /// Whether commands come from where a configuration says: nobody has removed the file.
    pub(crate) fn come_from(&self, configured: Option<&AdminSocket>) -> bool {
        match (configured, &self.socket) {
            (None, None) => true,
            (Some(configured), Some(socket)) => {
                configured.path == socket.file.path() && socket.file.is_found()
            }
            _ => false,
        }
    }

    /// Whether the file of the socket is at a path.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let socket = self.socket.as_ref();
        socket.is_some_and(|socket| socket.file.is_at(path))
    }

    /// Gives the socket's file another mode and group.
    ///
    /// # Errors
    /// When the file can't be given them, with what to do.
    pub(crate) fn change(&self, configured: &AdminSocket) -> anyhow::Result<()> {
        if let Some(socket) = &self.socket {
            let group = group(configured)?;
            own(configured, socket.file.path(), group)?;
            socket.access.set_group(group);
        }
        Ok(())
    }

    /// The next command.
    pub(crate) async fn next(&mut self) -> Command {
        match self.inbox.recv().await {
            Some(command) => command,
            // There is a sender here: it can't be.
            None => std::future::pending().await,
        }
    }
}

impl CommandSocket {
    fn listen(reserved: Reserved, access: Access, served: Served) -> io::Result<Self> {
        let mut bound = reserved.listen(BACKLOG)?;
        let (Some(socket), Some(file)) = (bound.sockets.pop(), bound.file) else {
            unreachable!("one socket was asked for, and a unix socket has a file");
        };
        let socket = OwnedFd::from(socket);
        let listener = UnixListener::from(socket.try_clone()?);
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let (closing, closes) = oneshot::channel();
        let serving = serve(listener, access.clone(), served, closes);
        Ok(Self {
            access,
            accepting: tokio::spawn(serving).abort_handle(),
            socket,
            closing: Some(closing),
            file,
        })
    }

    /// Has clients find it, in place of a file of this process's.
    pub(crate) fn settle(&mut self) {
        if let Err(error) = self.file.settle() {
            tracing::error!(%error, path = %self.file.path().display(), "the socket of commands can't be found; reload again");
        }
    }

    /// Serves who waits, and nobody else.
    fn close(mut self) {
        if let Err(error) = listen::stop_taking(&self.socket) {
            tracing::debug!(%error, "the socket of commands takes clients until it is closed");
        }
        // The rest is the task's.
        drop(self.closing.take());
    }
}

impl Drop for CommandSocket {
    fn drop(&mut self) {
        if self.closing.is_some() {
            self.accepting.abort();
        }
    }
}

/// Whether the system knows what is configured.
///
/// # Errors
/// When it knows no such group, with what to do.
pub(crate) fn check(configured: &AdminSocket) -> anyhow::Result<()> {
    group(configured).map(drop)
}

/// Whether the system lets the socket's file be made where it is to be; nothing is made.
///
/// # Errors
/// When there is no such directory, or it can't be written to, with what to do.
pub(crate) fn check_path(configured: &AdminSocket) -> anyhow::Result<()> {
    let address = BindAddress::Unix(configured.path.clone());
    listen::check(&address, &ListenOptions::default()).map_err(|error| explain(&address, error))
}

fn explain(address: &BindAddress, error: io::Error) -> anyhow::Error {
    let text = cannot_listen(ASKER, address, &error);
    anyhow::Error::new(error).context(text)
}

/// The group whose members may give commands.
///
/// # Errors
/// When this system doesn't know it, with what to do.
pub(crate) fn group(configured: &AdminSocket) -> anyhow::Result<u32> {
    match &configured.group {
        None => Ok(getegid().as_raw()),
        Some(Account::Id(id)) => Ok(*id),
        Some(Account::Name(name)) => match unistd::Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => anyhow::bail!(
                "`socket_group` of [admin] is \"{name}\", and this system has no such group; \
                 `getent group` lists those that it has"
            ),
            Err(error) => Err(anyhow::Error::new(io::Error::from(error)).context(format!(
                "the group \"{name}\" of [admin] can't be looked up"
            ))),
        },
    }
}

/// Gives the file, which is at `path` now, its group and its mode.
fn own(configured: &AdminSocket, path: &Path, group: u32) -> anyhow::Result<()> {
    let shown = configured.path.display();
    chown(path, None, Some(group)).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "; root may give it any group, and who runs the proxy only one that it is in"
            }
            _ => "",
        };
        let text = format!("the socket {shown} of [admin] can't be given to group {group}{why}");
        anyhow::Error::new(error).context(text)
    })?;
    fs::set_permissions(path, Permissions::from_mode(configured.mode)).map_err(|error| {
        let text = format!(
            "the socket {shown} of [admin] can't be given the mode {:#o}",
            configured.mode
        );
        anyhow::Error::new(error).context(text)
    })
}
