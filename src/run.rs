//! `corelane run`.

use std::cell::RefCell;
use std::fmt::Write;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::bail;
use proxy_config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::command_socket::Commands;
use crate::config_file::Given;
use crate::deaths::Died;
use crate::notify::Notify;
use crate::proxy::{Origin, Proxy};
use crate::requests::Signals;
use crate::signals::{Ending, Hangup, Rotation, Upgrading, passed_on_as};
use crate::sockets::{Abandoned, AdminAddress, Inherited};
use crate::start_error::{Asker, Explain, cannot_start};
use crate::upgrade::{Parent, Predecessor};
use crate::watchdog::Watchdog;
use crate::workers::STOP_PATIENCE_AFTER_DEATH;
use crate::{
    assemble, cpus, deaths, drain, privileges, proxy, requests, restarts, switch, upgrade, workers,
};
use proxy_console::Announcement;

/// Pieces of memory of so many bytes and more are the system's again when they are freed: buffers of relaying, which workers keep
/// some of, and what clients say at length before they have a server.
const RETURNED_BYTES_MIN: usize = 32 * 1024;

/// How long workers may take to end their connections at the end of the process.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long the end of the process takes after the drain, at most: of two schedulers, and of the logs.
const END_TIME: Duration = Duration::from_secs(15);

/// Runs a proxy until a signal ends it, or another process has taken over. A signal before it has started ends it at once, and
/// that is no failure. Returns the exit code.
///
/// # Errors
/// What keeps it from starting, with what to do.
pub(crate) fn run(given: &Given) -> anyhow::Result<u8> {
    proxy_sys::return_memory_from(RETURNED_BYTES_MIN);
    let notify = Notify::of_environment()?;
    let parent = Parent::of_environment(&notify)?;
    let predecessor = Predecessor::of_environment()?;
    let refusing = predecessor.as_ref().map(Predecessor::refusing);
    let run = run_as(given, notify, parent, predecessor);
    if let (Err(error), Some(refusing)) = (&run, refusing) {
        refusing.tell(error);
    }
    run
}

fn run_as(
    given: &Given,
    notify: Notify,
    parent: Parent,
    predecessor: Option<Predecessor>,
) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .explain(|error| cannot_start("the main thread's runtime", error))?;
    // One that comes while the file is read asks for what is being done.
    let (mut hangup, mut upgrading) = {
        let _context = runtime.enter();
        let caught = Hangup::catch().and_then(|hangup| Ok((hangup, Upgrading::catch()?)));
        caught.explain(|error| cannot_start("the handlers of SIGHUP and SIGUSR2", error))?
    };
    let loaded = given.load()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut config = loaded.config;
    if let Some(warning) = cpus::warning(&config.runtime) {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    privileges::take_on(&config)?;
    // Caught before anything listens: a signal must never find the default action.
    let (mut ending, rotation) = {
        let _context = runtime.enter();
        let caught = Ending::catch().and_then(|ending| Ok((ending, Rotation::catch()?)));
        caught.explain(|error| cannot_start("the handlers of signals", error))?
    };
    if predecessor.is_some() {
        ending.set_passed_on();
    }
    let (deaths, mut died) = deaths::channel();
    let admin = AdminAddress {
        listen: assemble::listen_address(config.admin.listen),
        asker: match given.file() {
            Some(_) => Asker {
                name: "[admin]",
                key: "`listen`",
            },
            None => Asker {
                name: "the admin server",
                key: "--admin",
            },
        },
    };
    let mut commands = Commands::new();
    if let Some(configured) = &config.admin.socket {
        let _context = runtime.enter();
        let is_own = |path: &Path| {
            let predecessor = predecessor.as_ref();
            predecessor.is_some_and(|predecessor| predecessor.has_file(path))
        };
        let socket = commands.open(configured, is_own)?;
        commands.put(Some(socket));
    }
    let inherited = Inherited::of_environment();
    let asked = RefCell::new(&mut ending);
    let pause = |duration| runtime.block_on(asked.borrow_mut().within(duration));
    let sender = commands.sender();
    let origin = Origin {
        inherited,
        predecessor,
    };
    let started = proxy::start(&config, Some(admin), deaths, sender, origin, &pause);
    let mut proxy = match started {
        Err(error) if error.is::<Abandoned>() => {
            tracing::info!("{error}");
            return Ok(0);
        }
        started => started?,
    };
    proxy.parent = parent;
    proxy.notify = notify;
    // The process before has answered who gave it the command.
    commands.settle();
    let access_logs = proxy.access_logs.clone();
    drop(runtime.spawn(rotation.each(move || access_logs.reopen())));
    commands.serve(proxy.api.clone());
    if std::process::id() == upgrade::FIRST_PROCESS {
        let _context = runtime.enter();
        match upgrade::reap() {
            Ok(reaping) => drop(runtime.spawn(reaping)),
            Err(error) => tracing::warn!(%error, "processes whose parents end stay as zombies"),
        }
    }
    let announcement = announce(&proxy);
    proxy.tell_ready();
    if let Some(watchdog) = Watchdog::of_environment(&proxy.notify, &proxy.workers.pulses) {
        drop(runtime.spawn(watchdog.feed()));
    }
    let reason = runtime.block_on(async {
        let signals = Signals {
            hangup: &mut hangup,
            upgrading: &mut upgrading,
            died: &mut died,
        };
        let signal = tokio::select! {
            signal = ending.next() => signal,
            reason = requests::at_each(signals, &mut commands, given, &mut config, &mut proxy) => return reason,
        };
        proxy.notify.stopping(config.runtime.drain_timeout + END_TIME);
        // It ends as this one does. A supervisor knows of it, and passes on what it gets.
        if !matches!(proxy.parent, Parent::Supervisor(_)) {
            let successor = proxy.successor.iter();
            successor.for_each(|successor| successor.signal(passed_on_as(signal)));
        }
        // A successor may have its own.
        drop(commands);
        drain(&mut proxy, &config, &mut ending, &mut died).await
    });
    // While the sockets are there: nobody has taken the paths over.
    proxy.sockets.remove_files();
    // What is left is reset; a worker that is dead doesn't do it.
    let patience = if reason.is_none() {
        STOP_PATIENCE
    } else {
        if let Err(error) = proxy_sys::reset_connections_on_close() {
            tracing::warn!(%error, "connections of the dead worker end as if they were over");
        }
        STOP_PATIENCE_AFTER_DEATH
    };
    let successor = proxy.successor.take();
    let runs = proxy.workers.live_runs();
    proxy.workers.stop(patience);
    let reason = reason.or_else(|| {
        // Its connections are gone before it is heard of: the drain may have been over by that.
        let mut late = std::iter::from_fn(|| died.try_next());
        let death = late.find(|death| successor.is_none() && runs.contains(&death.run))?;
        Some(restarts::while_draining(&death))
    });
    proxy.access_logs.finish();
    announcement.finish();
    match (successor, reason) {
        (None, None) => Ok(0),
        (None, Some(reason)) => bail!(reason),
        (Some(successor), reason) => {
            reason.iter().for_each(|reason| tracing::error!("{reason}"));
            let pending = || {
                runtime.block_on(async {
                    let mut pending = ending.pending().await;
                    pending.extend(hangup.pending().await);
                    pending.extend(upgrading.pending().await);
                    pending
                })
            };
            Ok(upgrade::leave(successor, pending))
        }
    }
}

/// Drains, and returns what a worker took with it that died meanwhile.
async fn drain(
    proxy: &mut Proxy,
    config: &Config,
    ending: &mut Ending,
    died: &mut Died,
) -> Option<String> {
    let until = workers::now() + config.runtime.drain_timeout;
    let mut runtime = config.runtime.clone();
    let mut lost = None;
    loop {
        let (runs, pulses) = (proxy.workers.live_runs(), proxy.workers.pulses.clone());
        let death = {
            let mut drain = pin!(drain::drain(proxy, &runtime, ending));
            loop {
                tokio::select! {
                    () = &mut drain => return lost,
                    death = died.next() => if runs.contains(&death.run) {
                        lost = Some(restarts::while_draining(&death));
                        pulses.bury(&death);
                        if death.halts_all {
                            break death;
                        }
                    }
                }
            }
        };
        // The drain begins once more, with what is left of the time.
        runtime.drain_timeout = until.saturating_duration_since(workers::now());
        if !switch::rescue(proxy, config, &death, runtime.drain_timeout).await {
            return lost;
        }
    }
}

/// Prints what to connect to, and where the metrics are.
fn announce(proxy: &Proxy) -> Announcement {
    let mut lines = String::new();
    for (name, address) in &proxy.addresses {
        let _ = writeln!(lines, "listening {name} {address}");
    }
    if let Some(admin) = &proxy.admin {
        let _ = writeln!(lines, "metrics {}/metrics", admin.url());
    }
    lines.push_str("ready\n");
    let profile = proxy.workers.running.profile();
    tracing::info!(
        scheduler = profile.scheduler,
        mode = profile.mode,
        workers = proxy.workers.running.threads().len(),
        page = proxy
            .admin
            .as_ref()
            .map(|admin| format!("{}/", admin.url())),
        "running"
    );
    proxy_console::announce(&lines)
}

/// A connection needs two descriptors, and the soft limit is often 1024.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}
