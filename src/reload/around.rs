//! What a reload changes beside the workers: the access log, the admin server's address and names, the socket of commands.

use proxy_admin::Elsewhere;
use proxy_config::{Admin, Config};

use crate::access_log::{AccessLog, AccessLogs};
use crate::command_socket::CommandSocket;
use crate::proxy::Proxy;
use crate::start_error::{Asker, Explain, cannot_listen, cannot_start};
use crate::{aside, assemble};

/// What is ready to take the place of what runs. Dropped, it leaves nothing behind.
pub(super) struct Prepared {
    /// None: it stays.
    pub(super) access_log: Option<Option<AccessLog>>,
    /// None: it stays where it is.
    admin: Option<Elsewhere>,
    /// None: it stays where it is.
    commands: Option<Option<CommandSocket>>,
}

impl Prepared {
    /// Opens what is to be opened.
    ///
    /// # Errors
    /// What can't be, with what to do.
    pub(super) async fn new(new: &Config, running: &Config, proxy: &Proxy) -> anyhow::Result<Self> {
        let admin = match &proxy.admin {
            Some(admin) if new.admin.listen != running.admin.listen => {
                let address = assemble::listen_address(new.admin.listen);
                let asker = Asker {
                    name: "[admin]",
                    key: "`listen`",
                };
                let bound = proxy_admin::bind(&address).and_then(|socket| admin.prepare(socket));
                Some(bound.explain(|error| cannot_listen(asker, &address, error))?)
            }
            _ => None,
        };
        let path = |admin: &Admin| admin.socket.as_ref().map(|socket| socket.path.clone());
        let commands = if path(&new.admin) == path(&running.admin) {
            None
        } else {
            let opened = new.admin.socket.as_ref().map(CommandSocket::open);
            Some(opened.transpose()?)
        };
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
            admin,
            commands,
        })
    }

    /// Whether the socket of commands stays where it is.
    pub(super) fn keeps_commands(&self) -> bool {
        self.commands.is_none()
    }

    /// Puts it in force.
    pub(super) fn commit(
        self,
        new: &Admin,
        proxy: &mut Proxy,
        commands: &mut Option<CommandSocket>,
    ) {
        if let Some(log) = self.access_log {
            proxy.access_logs.put(log);
        }
        if let Some(admin) = &mut proxy.admin {
            if let Some(elsewhere) = self.admin {
                admin.move_to(elsewhere);
                tracing::info!("metrics http://{}/metrics", admin.address);
            }
            admin.answer_to(&new.hosts);
        }
        if let Some(socket) = self.commands {
            *commands = socket;
        }
    }
}

/// Gives the socket of commands, where it stays, the mode and the group that it is to have.
///
/// # Errors
/// When its file can't be given them.
pub(super) fn own(new: &Admin, commands: Option<&CommandSocket>) -> anyhow::Result<()> {
    match (&new.socket, commands) {
        (Some(configured), Some(socket)) => socket.change(configured),
        _ => Ok(()),
    }
}
