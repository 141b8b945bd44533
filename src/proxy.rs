//! A proxy: a configuration at work on a scheduler.

use std::borrow::Cow;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proxy_admin::commands::Command;
use proxy_admin::{Admin, Api, Discoveries, EventKind, Events, Observed, Running, Security};
use proxy_config::Config;
use proxy_core::backend::{Backend, Listening, Plan};
use proxy_core::lifeline::Deaths;
use proxy_core::listen::{BindAddress, Reserved};
use proxy_core::metrics::Slots;
use proxy_core::{Generation, Inventory, ListenerSettings, ListenerState, Table, Tables};
use tokio::sync::mpsc;

use crate::access_log::AccessLogs;
use crate::assemble::{self, Around};
use crate::control::Control;
use crate::downs::Downs;
use crate::lists::Lists;
use crate::notify::Notify;
use crate::retiring::Retiring;
use crate::scheduler::{self, STEALING};
use crate::socket_options;
use crate::sockets::{
    self, Abandoned, AdminAddress, Inherited, Pause, Preparing, Rebinding, Sockets, Taken,
};
use crate::start_error::{Explain, cannot_listen, cannot_start};
use crate::surroundings::Counts;
use crate::upgrade::{Over, Parent, Predecessor, Successor};
use crate::workers::Workers;
use crate::{admin_door, cpus, descriptors, echo, health, logging};

/// A proxy that runs.
pub(crate) struct Proxy {
    pub(crate) workers: Workers,
    pub(crate) observed: Arc<Observed>,
    /// What is listened on.
    pub(crate) sockets: Arc<Sockets>,
    /// They are to be finished after the workers are.
    pub(crate) access_logs: Arc<AccessLogs>,
    pub(crate) admin: Option<Admin>,
    pub(crate) api: Arc<Api>,
    /// What is asked of those who come to the admin server.
    pub(crate) security: Security,
    /// What to connect to: the listener's name, and its address with the port that the kernel chose.
    pub(crate) addresses: Vec<(String, BindAddress)>,
    pub(crate) around: Around,
    pub(crate) control: Control,
    pub(crate) lists: Lists,
    pub(crate) retiring: Retiring,
    pub(crate) downs: Downs,
    /// Whether the process that this one took over from is over; none: there was none.
    pub(crate) predecessor: Option<Over>,
    /// The process that takes over.
    pub(crate) successor: Option<Successor>,
    /// Who watches this process.
    pub(crate) parent: Parent,
    /// Who is told how it is.
    pub(crate) notify: Notify,
}

impl Proxy {
    /// Tells systemd that it serves, or goes on, and by which sockets the next process would if this one crashed.
    pub(crate) fn tell_ready(&self) {
        if !self.notify.is_heard() {
            return;
        }
        self.notify.ready(&self.status());
        match self.sockets.own_tcp() {
            Ok(sockets) => self.notify.keep(&sockets),
            Err(error) => {
                tracing::warn!(%error, "systemd keeps no sockets for the time after a crash")
            }
        }
    }

    /// How it is, in a line.
    fn status(&self) -> String {
        let profile = self.workers.running.profile();
        let cores = self.workers.running.threads().len();
        let connections = self.workers.connections();
        format!(
            "{connections} connections on {cores} cores under {}",
            profile.name
        )
    }
}

/// What a proxy listens on, before it does.
enum Places {
    Own(Taken),
    /// From a process that it takes over from.
    Inherited(Box<Predecessor>, Rebinding),
}

/// Who a process follows.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// Sockets that it was started with.
    pub(crate) inherited: Inherited,
    /// The one that it takes over from.
    pub(crate) predecessor: Option<Predecessor>,
}

/// Starts a proxy, with an admin server where one is `asked` for. Workers that die are reported to `deaths`, and what the API is
/// asked for goes to `commands`. Listeners take the sockets of theirs that came with its `origin`.
///
/// What can fail comes first: no client is accepted before all threads, rings and addresses are there. `pause` waits where
/// an address is in use, and is asked once more just before the first client could come.
///
/// # Errors
/// When the scheduler can't run here, an address can't be listened on, or a CPU is not available; each says what
/// to do. [`Abandoned`] when `pause` breaks off.
pub(crate) fn start(
    config: &Config,
    asked: Option<AdminAddress>,
    deaths: Deaths,
    commands: mpsc::Sender<Command>,
    origin: Origin,
    pause: Pause<'_>,
) -> anyhow::Result<Proxy> {
    let cpus = cpus::assign(&config.runtime)?;
    let workers = cpus.len();
    socket_options::try_out(config)?;
    let echo = if assemble::wants_echo(config) {
        Some(echo::start().explain(|error| cannot_start("builtin:echo", error))?)
    } else {
        None
    };
    let access_logs = Arc::new(AccessLogs::default());
    access_logs.put(AccessLogs::open(config.access_log.as_ref())?);
    let ends = access_logs.ends();
    let lists = Lists::load(config).map_err(anyhow::Error::msg)?;
    let around = Around {
        echo,
        ends,
        accesses: Arc::new(lists.accesses(config)),
    };
    let events = Arc::new(Events::default());
    let inventory = Arc::new(Inventory::witnessed(events.clone()));
    let discoveries = Arc::new(Discoveries::default());
    let mut control = Control::new(discoveries.clone());
    if let Some(predecessor) = &origin.predecessor {
        control.go_on_with(predecessor.found());
    }
    let complete = control.discover(config)?;
    let mut table = assemble::table(&complete, &inventory, &around);
    inventory.settle(&table, now());
    if let Some(predecessor) = &origin.predecessor {
        table.apply_bandwidth();
        predecessor.inform(&inventory, &table);
        health::forget_unasked(&complete, &table, now());
        // With the weights that were set by hand.
        table = assemble::table(&complete, &inventory, &around);
    }
    let tables = Tables::new(table);
    let table = tables.current();
    let generation = Generation::new(
        workers,
        &Slots::default(),
        Arc::default(),
        Arc::default(),
        Arc::new(tables),
    )?;
    let generation = Arc::new(generation);
    let plan = Plan {
        cpus,
        generation: generation.clone(),
        deaths: deaths.clone(),
    };
    // Before anybody accepts.
    proxy_core::descriptors::reserve(workers);
    let running = scheduler::start(plan, &config.runtime)?;
    let profile = running.profile();
    table.apply_shares(profile.queues);
    table.apply_bandwidth();
    control.start(config, &table)?;
    let Origin {
        inherited,
        predecessor,
    } = origin;
    let sockets = Arc::new(Sockets::default());
    let asking = Asking {
        config,
        count: profile.sockets.count(workers),
        admin: asked.as_ref(),
        pause,
    };
    let places = Places::prepare(&asking, &table, &sockets, inherited, predecessor)?;
    let mut observed = Observed::new(
        observe(&*running, generation.clone()),
        STEALING,
        inventory,
        utc_now(),
    );
    observed.discoveries = discoveries;
    observed.events = events;
    let observed = observed.with_surroundings(Arc::new(Counts {
        sockets: sockets.clone(),
        access_logs: access_logs.clone(),
    }));
    observed.switches.between(&scheduler::NAMES);
    observed.set_configuration(config.to_toml(), config.hash());
    observed.client_lists.set(lists.shown());
    let observed = Arc::new(observed);
    observed.log.set(logging::shown());
    let api = Arc::new(Api::new(observed.clone(), commands));
    let mut security = Security::default();
    let mut admin = match places.admin(&sockets) {
        Some(address) => {
            let hosts = &config.admin.hosts;
            security = admin_door::open(&config.admin)?;
            let started = tcp_address(&address).and_then(|address| {
                proxy_admin::start(
                    address,
                    observed.clone(),
                    hosts,
                    api.clone(),
                    security.clone(),
                )
            });
            Some(started.explain(|error| cannot_start("the admin server", error))?)
        }
        None => None,
    };

    // Nearly all that stays open is open now.
    descriptors::warn(config);
    let mut begun = places.begin(&asking, &table, &sockets, &observed)?;
    sockets.steer(&*running);
    let watched = running.listen(std::mem::take(&mut begun.listening));
    watched.explain(|error| cannot_start("watching the listening sockets", error))?;
    sockets.set_served();
    if let (Some(admin), Some(reserved)) = (admin.as_mut(), begun.admin) {
        if let (Some(reserved), Some(AdminAddress { listen, asker })) = (reserved, asking.admin) {
            let bound = reserved.listen(proxy_admin::BACKLOG);
            let bound = bound.explain(|error| cannot_listen(*asker, listen, error))?;
            sockets.own_admin(config.admin.listen.into(), bound);
        }
        let lent = sockets.lend(sockets::ADMIN, 1);
        let serves = lent.and_then(|lent| admin.serve(lent.into_iter().flatten().collect()));
        serves.explain(|error| cannot_start("the admin server", error))?;
    }
    let predecessor = match begun.predecessor {
        Some((predecessor, kept)) => {
            // It accepts from here on, whatever becomes of the one before.
            sockets.set_shared(|_, _| false);
            let accepts = predecessor.accepts(kept);
            if let Err(error) = accepts {
                tracing::warn!("{error:#}");
            }
            let words = format!(
                "process {} has taken over from process {}",
                std::process::id(),
                predecessor.pid()
            );
            let events = &observed.events;
            events.note(EventKind::Process, predecessor.by(), &words);
            let over = predecessor.follow(observed.clone(), running.adopter());
            Some(over.explain(|error| cannot_start("the thread of an upgrade", error))?)
        }
        None => None,
    };
    let mut downs = Downs::default();
    downs.watch(config, &table);
    let mut workers = Workers::new(running, generation, deaths);
    if let Some(over) = &predecessor {
        workers.set_arriving(over.arriving());
    }
    Ok(Proxy {
        workers,
        observed,
        sockets,
        admin,
        api,
        security,
        access_logs,
        addresses: begun.addresses,
        around,
        control,
        lists,
        retiring: Retiring::default(),
        downs,
        predecessor,
        successor: None,
        parent: Parent::Anybody,
        notify: Notify::default(),
    })
}

/// The listeners of a configuration that are to listen: all but those that somebody has drained.
pub(crate) fn listening<'c>(config: &'c Config, table: &Table) -> Cow<'c, Config> {
    let is_drained = |name: &str| {
        let mut known = table.listeners.iter().map(|settings| &settings.listener);
        let known = known.find(|listener| listener.name == name);
        known.is_some_and(|listener| listener.state() == ListenerState::Drained)
    };
    if !config.listeners.iter().any(|one| is_drained(&one.name)) {
        return Cow::Borrowed(config);
    }
    let mut config = config.clone();
    config.listeners.retain(|one| !is_drained(&one.name));
    Cow::Owned(config)
}

/// What a proxy has begun to listen on.
struct Begun {
    listening: Vec<Listening>,
    addresses: Vec<(String, BindAddress)>,
    /// None: there is no admin server. Nothing inside: its sockets listen.
    admin: Option<Option<Reserved>>,
    /// The process before, and those of its sockets that stay.
    predecessor: Option<(Predecessor, Vec<(String, usize)>)>,
}

/// Who wants to listen.
struct Asking<'a> {
    config: &'a Config,
    /// Sockets at each address, at least.
    count: usize,
    admin: Option<&'a AdminAddress>,
    pause: Pause<'a>,
}

impl Places {
    /// All that can fail: clients notice nothing of it.
    fn prepare(
        asking: &Asking<'_>,
        table: &Table,
        sockets: &Sockets,
        mut inherited: Inherited,
        predecessor: Option<Predecessor>,
    ) -> anyhow::Result<Self> {
        let &Asking {
            config,
            count,
            admin,
            pause,
        } = asking;
        match predecessor {
            None => {
                let taken = Taken::reserve(config, count, admin, &mut inherited, pause)?;
                inherited.close_unclaimed();
                sockets.set_inherited(inherited);
                Ok(Self::Own(taken))
            }
            Some(mut predecessor) => {
                predecessor.give(sockets)?;
                let is_own = |path: &Path| predecessor.has_file(path);
                let config = listening(config, table);
                let rebinding = sockets.prepare(&config, count, &is_own, Preparing::Silently)?;
                Ok(Self::Inherited(Box::new(predecessor), rebinding))
            }
        }
    }

    /// Where the admin server is to be.
    fn admin(&self, sockets: &Sockets) -> Option<BindAddress> {
        match self {
            Self::Own(taken) => Some(taken.admin.as_ref()?.address().clone()),
            Self::Inherited(..) => sockets.admin_address(),
        }
    }

    /// Clients may come from here on.
    fn begin(
        self,
        asking: &Asking<'_>,
        table: &Table,
        sockets: &Sockets,
        observed: &Observed,
    ) -> anyhow::Result<Begun> {
        let &Asking {
            config,
            count,
            pause,
            ..
        } = asking;
        let cannot_watch =
            |error: &io::Error| cannot_start("watching the listening sockets", error);
        let (lent, admin, predecessor) = match self {
            Self::Own(taken) => {
                let lend = |reserved: &Vec<_>| Sockets::lend_reserved(reserved);
                let lent = taken.listeners.iter().map(lend);
                let lent = lent.collect::<io::Result<Vec<_>>>().explain(cannot_watch)?;
                if pause(Duration::ZERO).is_break() {
                    return Err(Abandoned.into());
                }
                for (configured, reserved) in config.listeners.iter().zip(taken.listeners) {
                    sockets.own(configured, sockets::listen(configured, reserved)?);
                }
                (lent, taken.admin.map(Some), None)
            }
            Self::Inherited(mut predecessor, rebinding) => {
                let kept = rebinding.kept();
                predecessor.is_ready(observed, pause)?;
                sockets.begin(rebinding);
                let lend = |settings: &Arc<ListenerSettings>| {
                    let listener = &settings.listener;
                    match listener.state() {
                        ListenerState::Open => sockets.lend(&listener.name, count),
                        _ => Ok(Vec::new()),
                    }
                };
                let lent = table.listeners.iter().map(lend);
                let lent = lent.collect::<io::Result<Vec<_>>>().explain(cannot_watch)?;
                (lent, Some(None), Some((*predecessor, kept)))
            }
        };
        let listening = table.listeners.iter().zip(lent);
        let is_open =
            |settings: &ListenerSettings| settings.listener.state() == ListenerState::Open;
        let listening = listening.filter(|(settings, _)| is_open(settings));
        let listening = listening.map(|(settings, sockets)| Listening {
            settings: settings.clone(),
            sockets,
        });
        Ok(Begun {
            listening: listening.collect(),
            addresses: sockets.addresses(config),
            admin,
            predecessor,
        })
    }
}

/// Where an admin server is to be, with the port that the kernel chose.
fn tcp_address(address: &BindAddress) -> io::Result<SocketAddr> {
    let address = match address {
        BindAddress::Tcp(address) => Some(*address),
        BindAddress::Every(port) => Some((Ipv6Addr::UNSPECIFIED, *port).into()),
        BindAddress::Unix(_) => None,
    };
    address.ok_or_else(|| io::Error::other("it listens on TCP"))
}

/// What the admin server reads of a scheduler.
pub(crate) fn observe(running: &dyn Backend, generation: Arc<Generation>) -> Running {
    Running {
        profile: running.profile(),
        threads: running.threads().to_vec(),
        generation,
        own: running.own_metrics(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "when the configuration was read, for people"
)]
fn utc_now() -> SystemTime {
    SystemTime::now()
}

#[expect(clippy::disallowed_methods, reason = "when names are retired")]
fn now() -> Instant {
    Instant::now()
}
