//! What a reload changes beside the workers: the access log, the admin server's names, the socket of commands.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use proxy_admin::Security;
use proxy_config::{Admin, Config};
use tokio::time::timeout;

use crate::access_log::{AccessLog, AccessLogs};
use crate::admin_door;
use crate::aside;
use crate::command_socket::{self, CommandSocket, Commands};
use crate::proxy::Proxy;
use crate::start_error::{Explain, cannot_start};

/// How long a check waits for a file system that may hang.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

/// What is ready to take the place of what runs. Dropped, it leaves nothing behind.
pub(super) struct Prepared {
    /// None: it stays.
    pub(super) access_log: Option<Option<AccessLog>>,
    /// None: it stays where it is.
    commands: Option<Option<CommandSocket>>,
    /// What is asked of those who come to the admin server, read again.
    security: Security,
}

impl Prepared {
    /// Opens what is to be opened.
    ///
    /// # Errors
    /// What can't be, with what to do.
    pub(super) async fn new(
        new: &Config,
        running: &Config,
        proxy: &Proxy,
        commands: &Commands,
    ) -> anyhow::Result<Self> {
        let socket = new.admin.socket.as_ref();
        let commands = if commands.come_from(socket) {
            None
        } else {
            let is_own = |path: &Path| proxy.sockets.has_file(path);
            let opened = socket.map(|configured| commands.open(configured, is_own));
            Some(opened.transpose()?)
        };
        let security = security(new).await?;
        // The last, as its file stays.
        let access_log =
            if new.access_log == running.access_log {
                None
            } else {
                let configured = new.access_log.clone();
                // A file system may hang.
                let opening = aside::run("corelane-open", move || {
                    AccessLogs::open(configured.as_ref())
                });
                let opened = opening.await;
                Some(opened.explain(|error| {
                    cannot_start("the thread that opens the access log", error)
                })??)
            };
        Ok(Self {
            access_log,
            commands,
            security,
        })
    }

    /// Gives the socket of commands, where it stays, the mode and the group that it is to have.
    ///
    /// # Errors
    /// When its file can't be given them.
    pub(super) fn own(
        &self,
        new: &Admin,
        running: &Admin,
        commands: &Commands,
    ) -> anyhow::Result<()> {
        match &new.socket {
            Some(configured) if self.commands.is_none() && new.socket != running.socket => {
                commands.change(configured)
            }
            _ => Ok(()),
        }
    }

    /// Has commands find their socket, before a listener's file at its path goes.
    pub(super) fn settle(&mut self) {
        if let Some(Some(socket)) = &mut self.commands {
            socket.settle();
        }
    }

    /// Puts it in force.
    pub(super) fn commit(self, new: &Admin, proxy: &mut Proxy, commands: &mut Commands) {
        if let Some(log) = self.access_log {
            proxy.access_logs.put(log);
        }
        if let Some(admin) = &proxy.admin {
            admin.answer_to(&new.hosts, self.security.clone());
        }
        proxy.security = self.security;
        if let Some(socket) = self.commands {
            commands.put(socket);
        }
    }
}

/// What is asked of those who come to the admin server.
async fn security(new: &Config) -> anyhow::Result<Security> {
    let admin = new.admin.clone();
    if admin.token_file.is_none() && admin.tls.is_none() {
        return Ok(Security::default());
    }
    // A file system may hang.
    let opening = aside::run("corelane-door", move || admin_door::open(&admin));
    let opened = timeout(CHECK_PATIENCE, opening).await;
    let opened = opened.context("the file system of `token_file` or `tls_certificate` hangs")?;
    opened.explain(|error| cannot_start("the thread that reads the token", error))?
}

/// Whether [`Prepared::new`] would work, as far as that shows without anybody noticing.
///
/// # Errors
/// As there.
pub(super) async fn check(
    new: &Config,
    running: &Config,
    commands: &Commands,
) -> anyhow::Result<()> {
    let socket = new.admin.socket.as_ref();
    if let Some(configured) = socket.filter(|_| !commands.come_from(socket)) {
        command_socket::check_path(configured)?;
    }
    security(new).await?;
    if new.access_log != running.access_log {
        let configured = new.access_log.clone();
        let checking = aside::run("corelane-check", move || {
            AccessLogs::check(configured.as_ref())
        });
        let checked = timeout(CHECK_PATIENCE, checking).await;
        let checked = checked.context("the file system of [access_log] hangs")?;
        checked
            .explain(|error| cannot_start("the thread that looks for the access log", error))??;
    }
    Ok(())
}
