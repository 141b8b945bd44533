//! Every address of a start, taken before any of them listens: a start that fails has accepted no client.

use std::fmt::Display;
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Context;
use proxy_config::{self as config, Config};
use proxy_core::ListenOptions;
use proxy_core::listen::{self, BindAddress, Bound, Reserved};

use super::inherited::{Inherited, Request};
use super::owner::ADMIN;
use crate::start_error::{Asker, Explain, cannot_listen};
use crate::{assemble, handover};

/// How long a start tries again to bind addresses that are in use, all of them together: a process that was killed keeps
/// its addresses for a moment, while the kernel takes apart its io_uring.
const BIND_PATIENCE_MAX: Duration = Duration::from_secs(2);

/// How long a start waits between two attempts.
const BIND_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Waits while a start waits for something. It breaks off when the process is asked to end.
pub(crate) type Pause<'a> = &'a dyn Fn(Duration) -> ControlFlow<()>;

/// The process was asked to end before it had started.
#[derive(Debug, thiserror::Error)]
#[error("asked to end before it had started")]
pub(crate) struct Abandoned;

/// Where an admin server is to be, and who wants it there.
#[derive(Clone, Debug)]
pub(crate) struct AdminAddress {
    /// An address of TCP.
    pub(crate) listen: BindAddress,
    pub(crate) asker: Asker<'static>,
}

/// Addresses that are taken, and not listened on yet.
pub(crate) struct Taken {
    /// By listener, in the configuration's order.
    pub(crate) listeners: Vec<Vec<Reserved>>,
    pub(crate) admin: Option<Reserved>,
}

impl Taken {
    /// Takes the listeners' addresses with `count` sockets each, and that of the admin server: what was `inherited`, and for the
    /// rest new sockets.
    ///
    /// # Errors
    /// When an address can't be listened on, with what to do. [`Abandoned`] when `pause` breaks off.
    pub(crate) fn reserve(
        config: &Config,
        count: usize,
        admin: Option<&AdminAddress>,
        inherited: &mut Inherited,
        pause: Pause<'_>,
    ) -> anyhow::Result<Self> {
        let mut patience = Patience { pause, until: None };
        let mut listeners: Vec<Vec<_>> = config.listeners.iter().map(|_| Vec::new()).collect();
        let mut admin_socket = None;
        // Files of unix sockets come last: until they are listened on, they look like those of a process that is gone.
        for unix in [false, true] {
            for (configured, taken) in config.listeners.iter().zip(&mut listeners) {
                for (place, bind) in configured.binds.iter().enumerate() {
                    if matches!(bind, config::BindAddress::Unix(_)) != unix {
                        continue;
                    }
                    let address = assemble::bind_address(bind);
                    let options = assemble::listen_options(configured);
                    let wanted = Request {
                        listener: &configured.name,
                        bind,
                        address: address.as_ref(),
                        options: &options,
                        count,
                    };
                    if let Some(reserved) = inherited.take(wanted) {
                        let reserved =
                            reserved.with_context(|| cannot_inherit(&configured.name, bind))?;
                        taken.push((place, reserved));
                        continue;
                    }
                    let address = address.with_context(|| not_inherited(&configured.name, bind))?;
                    let reserve = || listen::reserve_with(&address, count, &options);
                    let reserved = patience.retry(&address, reserve, || {})?.explain(|error| {
                        listener_cannot_listen(&configured.name, &address, error)
                    })?;
                    taken.push((place, reserved));
                }
            }
            if let Some(AdminAddress { listen, asker }) = admin.filter(|_| !unix) {
                let wanted = Request {
                    listener: ADMIN,
                    bind: &config.admin.listen.into(),
                    address: Some(listen),
                    options: &ListenOptions::default(),
                    count: 1,
                };
                if let Some(reserved) = inherited.take(wanted) {
                    admin_socket =
                        Some(reserved.with_context(|| cannot_inherit(ADMIN, wanted.bind))?);
                    continue;
                }
                let socket = patience
                    .retry(
                        listen,
                        || listen::reserve(listen, 1),
                        || {
                            if let Some(port) = listen.port() {
                                handover::ask(port);
                            }
                        },
                    )?
                    .explain(|error| cannot_listen(*asker, listen, error))?;
                admin_socket = Some(socket);
            }
        }
        let in_order = |mut taken: Vec<(usize, Reserved)>| {
            taken.sort_by_key(|&(place, _)| place);
            taken.into_iter().map(|(_, reserved)| reserved).collect()
        };
        Ok(Self {
            listeners: listeners.into_iter().map(in_order).collect(),
            admin: admin_socket,
        })
    }
}

/// Listens on what was taken for a listener.
///
/// # Errors
/// When another process was faster.
pub(crate) fn listen(
    configured: &proxy_config::Listener,
    reserved: Vec<Reserved>,
) -> anyhow::Result<Vec<Bound>> {
    let listened = reserved.into_iter().map(|reserved| {
        let address = reserved.address().clone();
        reserved
            .listen(configured.backlog.get())
            .explain(|error| listener_cannot_listen(&configured.name, &address, error))
    });
    listened.collect()
}

/// How much longer a start tries to bind.
struct Patience<'a> {
    pause: Pause<'a>,
    /// It begins with the first address that is in use.
    until: Option<Instant>,
}

impl Patience<'_> {
    /// Binds, again and again while the address is in use; `ask` asks who has it to let go.
    ///
    /// # Errors
    /// [`Abandoned`]. What came of the bind is inside.
    fn retry<T>(
        &mut self,
        address: &dyn Display,
        mut bind: impl FnMut() -> io::Result<T>,
        ask: impl Fn(),
    ) -> Result<io::Result<T>, Abandoned> {
        let mut told = false;
        loop {
            let error = match bind() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
                result => {
                    if told && result.is_ok() {
                        tracing::info!(%address, "the address is free now");
                    }
                    return Ok(result);
                }
            };
            let now = now();
            if now >= *self.until.get_or_insert(now + BIND_PATIENCE_MAX) {
                return Ok(Err(error));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(
                    %address,
                    "the address is in use; trying again for {BIND_PATIENCE_MAX:?}, in case its process is just ending"
                );
            }
            ask();
            if (self.pause)(BIND_RETRY_INTERVAL).is_break() {
                return Err(Abandoned);
            }
        }
    }
}

/// Why a listener can't have sockets that the process was started with.
pub(super) fn cannot_inherit(name: &str, bind: &config::BindAddress) -> String {
    format!(
        "{} can't listen on \"{bind}\" by the socket that this process was started with",
        shown(name)
    )
}

/// Why a listener has no socket.
pub(super) fn not_inherited(name: &str, bind: &config::BindAddress) -> String {
    let socket = bind.to_string();
    let socket = socket.strip_prefix("fd:").unwrap_or(&socket);
    format!(
        "{} can't listen on \"{bind}\": this process was started without a socket of that name; write \
         FileDescriptorName={socket} into the socket unit, start that, and then the service",
        shown(name)
    )
}

/// Why a listener, or the admin server, can't listen.
pub(super) fn listener_cannot_listen(
    name: &str,
    address: &BindAddress,
    error: &io::Error,
) -> String {
    let asker = Asker {
        name: &shown(name),
        key: if name == ADMIN { "`listen`" } else { "`bind`" },
    };
    cannot_listen(asker, address, error)
}

/// What errors call a listener, or the admin server.
pub(super) fn shown(name: &str) -> String {
    match name {
        ADMIN => name.to_owned(),
        _ => format!("[listeners.{name}]"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a start, not a worker")]
fn now() -> Instant {
    Instant::now()
}

/// The pause of a command that a signal ends at once.
#[expect(clippy::disallowed_methods, reason = "a start, not a worker")]
pub(crate) fn sleep(duration: Duration) -> ControlFlow<()> {
    std::thread::sleep(duration);
    ControlFlow::Continue(())
}
