//! `corelane run`.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use proxy_core::listen::BindAddress;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::console::Announcement;
use crate::proxy::Proxy;
use crate::signals::{Ending, Hangup, Rotation};
use crate::start_error::{Asker, Explain, cannot_listen, cannot_start};
use crate::{admin, config_file, console, drain, proxy, reload};

/// How long workers may take to end their connections at the last.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a proxy until it is told to end.
///
/// # Errors
/// What keeps it from starting, with what to do.
pub(crate) fn run(file: &Path) -> anyhow::Result<()> {
    let loaded = config_file::load(file)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut config = loaded.config;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .explain(|error| cannot_start("the main thread's runtime", error))?;
    // Caught before anything listens: a signal must never find the default action.
    let (mut ending, mut hangup, rotation) = {
        let _context = runtime.enter();
        let caught =
            Ending::catch().and_then(|ending| Ok((ending, Hangup::catch()?, Rotation::catch()?)));
        caught.explain(|error| cannot_start("the handlers of signals", error))?
    };
    let proxy = proxy::start(&config)?;
    if let Some(log) = proxy.observed.access_log.clone() {
        drop(runtime.spawn(rotation.each(move || log.reopen())));
    }
    let listen = config.admin.listen;
    let admin = admin::start(listen, proxy.observed.clone()).explain(|error| {
        let asker = Asker {
            name: "[admin]",
            key: "`listen`",
        };
        cannot_listen(asker, &BindAddress::Tcp(listen), error)
    })?;
    let announcement = announce(&proxy, admin.address);
    runtime.block_on(async {
        tokio::select! {
            () = ending.next() => {}
            () = reload::at_each(&mut hangup, file, &mut config, &proxy) => {}
        }
        drain::drain(&proxy, config.runtime.drain_timeout, &mut ending).await;
    });
    for path in unix_sockets(&proxy) {
        // Somebody else may have removed it already.
        let _ = std::fs::remove_file(path);
    }
    // What is left is reset.
    proxy.running.stop(STOP_PATIENCE);
    if let Some(log) = proxy.access_log {
        log.finish();
    }
    announcement.finish();
    Ok(())
}

/// Says on stdout what to connect to, and where the metrics are.
fn announce(proxy: &Proxy, admin: std::net::SocketAddr) -> Announcement {
    let mut lines = String::new();
    for (name, address) in &proxy.addresses {
        let _ = writeln!(lines, "listening {name} {address}");
    }
    let _ = writeln!(lines, "metrics http://{admin}/metrics\nready");
    tracing::info!(
        scheduler = proxy.observed.scheduler,
        mode = proxy.observed.mode,
        workers = proxy.observed.threads.len(),
        "running"
    );
    console::announce(lines)
}

fn unix_sockets(proxy: &Proxy) -> Vec<std::path::PathBuf> {
    let paths = proxy
        .addresses
        .iter()
        .filter_map(|(_, address)| match address {
            BindAddress::Unix(path) => Some(path.clone()),
            BindAddress::Tcp(_) | BindAddress::Every(_) => None,
        });
    paths.collect()
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
