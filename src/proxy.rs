//! A proxy: a configuration at work on a scheduler.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use proxy_config::{Config, Destination};
use proxy_core::listen::{self, BindAddress};
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::plan::{Listening, Plan, Running};
use proxy_core::{Activity, Share};

use crate::access_log::AccessLog;
use crate::assemble::{self, Assembled};
use crate::backlog::Backlogs;
use crate::observed::Observed;
use crate::scheduler::Choice;
use crate::start_error::{Asker, Explain, cannot_listen, cannot_start, cannot_write};
use crate::{configuration, cpus, descriptors, echo, health, reload, resolver};

/// A proxy that runs.
pub(crate) struct Proxy {
    pub(crate) running: Box<dyn Running>,
    pub(crate) observed: Arc<Observed>,
    /// It is to be finished after the workers are.
    pub(crate) access_log: Option<AccessLog>,
    /// What to connect to: the listener's name, and its address with the port that the kernel chose.
    pub(crate) addresses: Vec<(String, BindAddress)>,
}

/// Starts everything but the admin server.
///
/// # Errors
/// When the scheduler can't run here, an address can't be listened on, or a CPU is not to be had; each says what
/// to do.
pub(crate) fn start(config: &Config) -> anyhow::Result<Proxy> {
    let choice = Choice::of(&config.runtime)?;
    let cpus = cpus::assign(&config.runtime)?;
    let workers = cpus.len();
    let echo = if assemble::wants_echo(config) {
        Some(echo::start().explain(|error| cannot_start("builtin:echo", error))?)
    } else {
        None
    };
    let access_log = match &config.access_log {
        Some(configured) => Some(
            AccessLog::start(configured, workers)
                .explain(|error| cannot_log(&configured.destination, error))?,
        ),
        None => None,
    };
    let shared = access_log.as_ref().map(|log| log.shared.clone());
    let ends = shared.as_ref().map(|shared| shared.ends.clone());
    let Assembled {
        listeners,
        upstreams,
        names,
    } = assemble::assemble(config, workers, echo, ends);
    let mut addresses = Vec::new();
    let mut listening = Vec::new();
    let mut backlogs = Backlogs::default();
    for (configured, listener) in config.listeners.iter().zip(&listeners) {
        let mut bounds = Vec::new();
        for bind in &configured.binds {
            let address = assemble::bind_address(bind);
            let backlog = configured.backlog.get();
            let bound =
                listen::bind(&address, backlog, choice.sockets(workers)).explain(|error| {
                    let name = format!("[listeners.{}]", configured.name);
                    let asker = Asker {
                        name: &name,
                        key: "`bind`",
                    };
                    cannot_listen(asker, &address, error)
                })?;
            addresses.push((configured.name.clone(), bound.address.clone()));
            bounds.push(bound);
        }
        backlogs
            .add(&bounds)
            .explain(|error| cannot_start("watching the listening sockets", error))?;
        listening.push(Listening {
            listener: listener.clone(),
            sockets: bounds.into_iter().map(|bound| bound.sockets).collect(),
        });
    }
    resolver::start(names).explain(|error| cannot_start("the resolver's thread", error))?;
    let cores = Arc::new(PerWorker::new(workers, || CoreCells::new(workers)));
    let activity = Arc::new(Activity::default());
    // A turn holds up the connections of all listeners.
    if let Some(least) = listeners.iter().filter_map(|all| all.latency).min() {
        reload::shares(&listeners).for_each(|share| share.limit(least));
    }
    let plan = Plan {
        cpus,
        cores: cores.clone(),
        activity: activity.clone(),
        listeners: listening,
    };
    // Before anybody accepts.
    proxy_core::descriptors::reserve(workers);
    let started = choice.start(plan, &config.runtime)?;
    let threads = started.running.threads().to_vec();
    health::start(config, &upstreams)
        .explain(|error| cannot_start("the health checks' thread", error))?;
    descriptors::warn(config);
    if choice != Choice::Glommio {
        Share::weigh(reload::shares(&listeners));
    }
    let observed = Observed::new(
        choice,
        threads,
        cores,
        activity,
        listeners,
        upstreams,
        started.own,
        now(),
    );
    let rebalances = choice == Choice::Glommio && config.runtime.glommio.rebalance.enabled;
    let observed = observed
        .with_backlogs(backlogs)
        .with_access_log(shared)
        .with_rebalancing(rebalances);
    observed.set_configuration(configuration::written(config));
    Ok(Proxy {
        running: started.running,
        observed: Arc::new(observed),
        access_log,
        addresses,
    })
}

fn cannot_log(destination: &Destination, error: &io::Error) -> String {
    match destination {
        Destination::Stdout => cannot_start("[access_log] on stdout", error),
        Destination::File(path) => cannot_write("[access_log]", "`path`", path, error),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "when the configuration was read, for people"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
