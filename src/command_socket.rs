//! The unix socket that takes commands: its path, its owner and its mode.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;

use nix::unistd;
use proxy_admin::commands::{Access, COMMANDS_WAITING_MAX, Command, Inbox, serve};
use proxy_config::{AdminSocket, Group};
use proxy_core::listen::{self, BindAddress, SocketFile};
use rustix::process::getegid;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::start_error::{Asker, cannot_listen};

/// Connections that wait to be accepted.
const BACKLOG: u16 = 16;

/// A socket that takes commands on the current runtime, until it is dropped.
pub(crate) struct CommandSocket {
    inbox: Inbox,
    access: Access,
    accepting: AbortHandle,
    _file: SocketFile,
}

impl CommandSocket {
    /// Listens where the configuration says.
    ///
    /// # Errors
    /// When the path can't be listened on, or the group isn't known; with what to do.
    pub(crate) fn open(configured: &AdminSocket) -> anyhow::Result<Self> {
        let address = BindAddress::Unix(configured.path.clone());
        let asker = Asker {
            name: "[admin]",
            key: "`socket`",
        };
        let explain = |error| {
            let text = cannot_listen(asker, &address, &error);
            anyhow::Error::new(error).context(text)
        };
        let group = group(configured)?;
        let reserved = listen::reserve(&address, 1).map_err(explain)?;
        // Before it listens: nobody gets in meanwhile.
        own(configured, group)?;
        let mut bound = reserved.listen(BACKLOG).map_err(explain)?;
        let (Some(socket), Some(file)) = (bound.sockets.pop(), bound.file) else {
            unreachable!("one socket was asked for, and a unix socket has a file");
        };
        let listener = UnixListener::from(OwnedFd::from(socket));
        let listener = tokio::net::UnixListener::from_std(listener).map_err(explain)?;
        let (commands, inbox) = mpsc::channel(COMMANDS_WAITING_MAX);
        let access = Access::new(group);
        let accepting = tokio::spawn(serve(listener, access.clone(), commands)).abort_handle();
        Ok(Self {
            inbox,
            access,
            accepting,
            _file: file,
        })
    }

    /// Is of another mode and group from now on, at the same path.
    ///
    /// # Errors
    /// When the file can't be given them, with what to do.
    pub(crate) fn change(&self, configured: &AdminSocket) -> anyhow::Result<()> {
        let group = group(configured)?;
        own(configured, group)?;
        self.access.set_group(group);
        Ok(())
    }

    /// The next command.
    pub(crate) async fn next(&mut self) -> Command {
        match self.inbox.recv().await {
            Some(command) => command,
            // The task that accepts is gone.
            None => std::future::pending().await,
        }
    }
}

impl Drop for CommandSocket {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Whether the system knows what is configured.
///
/// # Errors
/// When it knows no such group, with what to do.
pub(crate) fn check(configured: &AdminSocket) -> anyhow::Result<()> {
    group(configured).map(drop)
}

/// The group whose members may give commands.
fn group(configured: &AdminSocket) -> anyhow::Result<u32> {
    match &configured.group {
        None => Ok(getegid().as_raw()),
        Some(Group::Id(id)) => Ok(*id),
        Some(Group::Name(name)) => match unistd::Group::from_name(name) {
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

/// Gives the file its group and its mode.
fn own(configured: &AdminSocket, group: u32) -> anyhow::Result<()> {
    let path = &configured.path;
    chown(path, None, Some(group)).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "; root may give it any group, and who runs the proxy only one that it is in"
            }
            _ => "",
        };
        let text = format!(
            "the socket {} of [admin] can't be given to group {group}{why}",
            path.display()
        );
        anyhow::Error::new(error).context(text)
    })?;
    fs::set_permissions(path, Permissions::from_mode(configured.mode)).map_err(|error| {
        let text = format!(
            "the socket {} of [admin] can't be given the mode {:#o}",
            path.display(),
            configured.mode
        );
        anyhow::Error::new(error).context(text)
    })
}
