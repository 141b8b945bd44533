//! A proxy: a configuration at work on a scheduler.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proxy_admin::commands::Command;
use proxy_admin::{Admin, Api, Discoveries, Observed, Running};
use proxy_config::Config;
use proxy_core::backend::{Backend, Listening, Plan};
use proxy_core::lifeline::Deaths;
use proxy_core::listen::{BindAddress, Reserved};
use proxy_core::metrics::Slots;
use proxy_core::{Generation, Inventory, Tables};
use tokio::sync::mpsc;

use crate::access_log::AccessLogs;
use crate::assemble::{self, Around};
use crate::control::Control;
use crate::downs::Downs;
use crate::lists::Lists;
use crate::retiring::Retiring;
use crate::scheduler::{self, STEALING};
use crate::socket_options;
use crate::sockets::{self, Abandoned, AdminAddress, Inherited, Pause, Sockets, Taken};
use crate::start_error::{Explain, cannot_listen, cannot_start};
use crate::surroundings::Counts;
use crate::workers::Workers;
use crate::{cpus, descriptors, echo};

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
    /// What to connect to: the listener's name, and its address with the port that the kernel chose.
    pub(crate) addresses: Vec<(String, BindAddress)>,
    pub(crate) around: Around,
    pub(crate) control: Control,
    pub(crate) lists: Lists,
    pub(crate) retiring: Retiring,
    pub(crate) downs: Downs,
}

/// Starts a proxy, with an admin server where one is `asked` for. Workers that die are reported to `deaths`, and what the API is
/// asked for goes to `commands`. Listeners take the sockets of theirs that were `inherited`.
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
    mut inherited: Inherited,
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
    let inventory = Arc::new(Inventory::default());
    let discoveries = Arc::new(Discoveries::default());
    let mut control = Control::new(discoveries.clone());
    let complete = control.discover(config)?;
    let tables = Tables::new(assemble::table(&complete, &inventory, &around));
    let table = tables.current();
    inventory.settle(&table, now());
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
    let taken = Taken::reserve(
        config,
        profile.sockets.count(workers),
        asked.as_ref(),
        &mut inherited,
        pause,
    )?;
    let lend = |reserved: &Vec<_>| {
        let lent = Sockets::lend_reserved(reserved);
        lent.explain(|error| cannot_start("watching the listening sockets", error))
    };
    let lent = taken.listeners.iter().map(lend);
    let lent = lent.collect::<anyhow::Result<Vec<_>>>()?;
    inherited.close_unclaimed();
    let sockets = Arc::new(Sockets::new(inherited));
    let mut observed = Observed::new(
        observe(&*running, generation.clone()),
        STEALING,
        inventory,
        utc_now(),
    );
    observed.discoveries = discoveries;
    let observed = observed.with_surroundings(Arc::new(Counts {
        sockets: sockets.clone(),
        access_logs: access_logs.clone(),
    }));
    observed.switches.between(&scheduler::NAMES);
    observed.set_configuration(config.to_toml(), config.hash());
    observed.client_lists.set(lists.shown());
    let observed = Arc::new(observed);
    let api = Arc::new(Api::new(observed.clone(), commands));
    let mut admin = match &taken.admin {
        Some(reserved) => {
            let hosts = &config.admin.hosts;
            let started = admin_address(reserved).and_then(|address| {
                proxy_admin::start(address, observed.clone(), hosts, api.clone())
            });
            Some(started.explain(|error| cannot_start("the admin server", error))?)
        }
        None => None,
    };

    // Nearly all that stays open is open now.
    descriptors::warn(config);
    if pause(Duration::ZERO).is_break() {
        return Err(Abandoned.into());
    }
    let (mut addresses, mut listening) = (Vec::new(), Vec::new());
    let reserved = config.listeners.iter().zip(taken.listeners);
    let lent = table.listeners.iter().zip(lent);
    for ((configured, reserved), (settings, lent)) in reserved.zip(lent) {
        let bound = sockets::listen(configured, reserved)?;
        let addressed = bound
            .iter()
            .map(|bound| (configured.name.clone(), bound.address.clone()));
        addresses.extend(addressed);
        sockets.own(configured, bound);
        listening.push(Listening {
            settings: settings.clone(),
            sockets: lent,
        });
    }
    sockets.steer(&*running);
    let watched = running.listen(listening);
    watched.explain(|error| cannot_start("watching the listening sockets", error))?;
    if let (Some(admin), Some(asked), Some(reserved)) = (admin.as_mut(), asked, taken.admin) {
        let AdminAddress { listen, asker } = asked;
        let bound = reserved.listen(proxy_admin::BACKLOG);
        let bound = bound.explain(|error| cannot_listen(asker, &listen, error))?;
        sockets.own_admin(config.admin.listen.into(), bound);
        let lent = sockets.lend(sockets::ADMIN, 1);
        let serves = lent.and_then(|lent| admin.serve(lent.into_iter().flatten().collect()));
        serves.explain(|error| cannot_start("the admin server", error))?;
    }
    let mut downs = Downs::default();
    downs.watch(config, &table);
    Ok(Proxy {
        workers: Workers::new(running, generation, deaths),
        observed,
        sockets,
        admin,
        api,
        access_logs,
        addresses,
        around,
        control,
        lists,
        retiring: Retiring::default(),
        downs,
    })
}

/// Where an admin server is to be, with the port that the kernel chose.
fn admin_address(reserved: &Reserved) -> io::Result<SocketAddr> {
    let address = match reserved.address() {
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
