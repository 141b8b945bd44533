//! Reading the configuration again while the proxy runs.
//!
//! A file is taken as a whole or not at all, so that what runs is always what some file says: everything that can fail is
//! prepared first, and then a new table is put in force.

mod around;
pub(crate) mod change;
pub(crate) mod changes;
pub(crate) mod client_lists;
pub(crate) mod discovered;
mod listeners;
mod removed;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use proxy_admin::commands::{Reply, Wish};
use proxy_admin::{EventKind, Events};
use proxy_config::{Config, Loaded};
use proxy_core::ListenerState;
use tokio::time::sleep;

use self::around::Prepared;
use self::change::Change;
use crate::access_log::AccessLog;
use crate::command_socket::Commands;
use crate::config_file::{Given, LoadError};
use crate::proxy::{Proxy, listening};
use crate::sockets::Preparing;
use crate::start_error::{Explain, cannot_start};
use crate::switch::{self, Begun};
use crate::{
    assemble, closings, command_socket, cpus, echo, privileges, scheduler, socket_options,
};

/// Lines of differences that the log has of one reload; of more, the number is told.
const LINES_MAX: usize = 200;

/// How long a switch waits for the process before, and how often it looks whether that is over.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(10);
const PREDECESSOR_LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Lines of differences that an event has of one reload.
const EVENT_LINES_MAX: usize = 5;

/// Notes what came of a reload among the events.
pub(crate) fn note_event(events: &Events, by: &str, result: &Result<Change, String>) {
    let words = match result {
        Err(reason) => format!("not reloaded: {reason}"),
        Ok(Change { lines, .. }) if lines.is_empty() => "reloaded; nothing has changed".to_owned(),
        Ok(Change { lines, .. }) => {
            let some = &lines[..lines.len().min(EVENT_LINES_MAX)];
            let more = match lines.len() - some.len() {
                0 => String::new(),
                more => format!("; and {more} more differences"),
            };
            format!("reloaded: {}{more}", some.join("; "))
        }
    };
    events.note(EventKind::Reload, by, &words);
}

/// The answer to a command.
pub(crate) fn answer(wish: &Wish, result: Result<Change, String>) -> Reply {
    let checks = *wish == Wish::Check;
    let change = match result {
        Ok(change) => change,
        Err(reason) if checks => {
            return Reply::Refused(format!("it would not be reloaded: {reason}\n"));
        }
        Err(reason) => {
            return Reply::Refused(format!("not reloaded, what ran goes on: {reason}\n"));
        }
    };
    let mut words = String::new();
    for line in change.lines.iter().take(LINES_MAX) {
        words.push_str(line);
        words.push('\n');
    }
    let more = change.lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        let _ = writeln!(words, "and {more} more differences");
    }
    words.push_str(match (checks, change.lines.is_empty()) {
        (true, true) => "nothing would change\n",
        (true, false) => "a reload would change this\n",
        (false, true) => "reloaded; nothing has changed\n",
        (false, false) => "reloaded\n",
    });
    Reply::Done(words)
}

/// Reads what was given again, and says what a reload would change. What can be tried is tried, as far as nobody notices.
pub(crate) async fn check(
    given: &Given,
    config: &Config,
    proxy: &Proxy,
    commands: &Commands,
) -> Result<Change, String> {
    let new = read(given, proxy).await?;
    if let Some(reason) = privileges::cannot_change(&new.runtime, &config.runtime) {
        return Err(reason);
    }
    let listening = listening(&new, &proxy.observed.tables.current());
    let tried = match proxy
        .sockets
        .check(&listening, &|path| commands.is_at(path))
    {
        Ok(()) => around::check(&new, config, commands).await,
        Err(error) => Err(error),
    };
    tried.map_err(|error| format!("{error:#}"))?;
    if is_switch(&new, config, proxy)
        && let Ok(cpus) = cpus::assign(&new.runtime)
        && let Some(reason) = scheduler::cannot_run(cpus.len(), &new.runtime)
    {
        return Err(reason);
    }
    Ok(change::diff(config, &new))
}

/// Reads what was given and its lists of clients. All is in order, and fits this machine.
pub(crate) async fn read(given: &Given, proxy: &Proxy) -> Result<Config, String> {
    let new = read_given(given).await?;
    proxy.lists.again(&new).await?;
    socket_options::try_out(&new).map_err(|refused| refused.to_string())?;
    let fits = cpus::assign(&new.runtime).and_then(|_| {
        let socket = new.admin.socket.as_ref();
        socket.map_or(Ok(()), command_socket::check)
    });
    fits.map_err(|error| format!("{error:#}"))?;
    Ok(new)
}

/// Reads what was given again. All is in order; whether it fits this machine is seen when it is applied.
pub(crate) async fn read_given(given: &Given) -> Result<Config, String> {
    checked(given.load_again().await)
}

/// Notes how a reading went, which was refused for a reason, or succeeded.
fn note(proxy: &Proxy, refused: Option<&str>) {
    proxy.observed.reloads.note(refused);
    if let Some(reason) = refused {
        tracing::error!("the configuration is not reloaded, what ran goes on: {reason}");
    }
}

/// Applies what was read to the proxy that runs `config`. The log says what came of it.
pub(crate) async fn reload(
    new: Result<Config, String>,
    config: &mut Config,
    proxy: &mut Proxy,
    commands: &mut Commands,
) -> (Result<Change, String>, Option<Begun>) {
    let result = match new {
        Ok(new) => apply(new, config, proxy, commands).await,
        Err(reason) => Err(reason),
    };
    if result.is_err() {
        listeners::serve_all(proxy);
    }
    let refused = result.as_ref().err();
    note(proxy, refused.map(String::as_str));
    if let Ok((change, _)) = &result {
        let lines = change.lines.iter();
        lines
            .take(LINES_MAX)
            .for_each(|line| tracing::info!("{line}"));
        let (changes, hash) = (change.lines.len(), config.hash());
        tracing::info!(changes, hash, "reloaded the configuration");
    }
    match result {
        Ok((change, begun)) => (Ok(change), begun),
        Err(reason) => (Err(reason), None),
    }
}

/// The new configuration, if it is in order.
fn checked(loaded: Result<Loaded, LoadError>) -> Result<Config, String> {
    // With what the system said, where it did.
    let loaded = loaded.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = cpus::warning(&loaded.config.runtime) {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

/// Prepares what may fail, and then puts the new configuration in force. Returns what has changed, and the scheduler that is
/// to take over.
async fn apply(
    new: Config,
    running: &mut Config,
    proxy: &mut Proxy,
    commands: &mut Commands,
) -> Result<(Change, Option<Begun>), String> {
    if let Some(reason) = privileges::cannot_change(&new.runtime, &running.runtime) {
        return Err(reason);
    }
    let observed = proxy.observed.clone();
    let change = change::diff(running, &new);
    let mut around = proxy.around.clone();
    let lists = proxy.lists.again(&new).await?;
    around.accesses = client_lists::accesses(&lists, &new).await;
    if around.echo.is_none() && assemble::wants_echo(&new) {
        let echo = echo::start().explain(|error| cannot_start("builtin:echo", error));
        around.echo = Some(echo.map_err(|error| format!("{error:#}"))?);
    }
    socket_options::try_out(&new).map_err(|refused| refused.to_string())?;
    // The sockets come before the access log, whose file would be there though nothing else is.
    let count = sockets_count(&new, running, proxy);
    let is_own = |path: &Path| commands.is_at(path);
    let listening = listening(&new, &proxy.observed.tables.current());
    let rebinding = proxy
        .sockets
        .prepare(&listening, count, &is_own, Preparing::All);
    let rebinding = rebinding.map_err(|error| format!("{error:#}"))?;
    let prepared = Prepared::new(&new, running, proxy, commands).await;
    let mut prepared = prepared.map_err(|error| format!("{error:#}"))?;
    if let Some(log) = &prepared.access_log {
        around.ends = log.as_ref().map(AccessLog::ends);
    }
    let complete = proxy.control.discover_meanwhile(&new).await;
    let complete = complete.map_err(|error| format!("{error:#}"))?;
    let table = assemble::table(&complete, &observed.inventory, &around);
    let control = proxy.control.prepare(&new, &table).await;
    let ready = control.and_then(|()| prepared.own(&new.admin, &running.admin, commands));
    if let Err(error) = ready {
        proxy.control.commit(running, &observed.tables.current());
        return Err(format!("{error:#}"));
    }
    let begun = if is_switch(&new, running, proxy) {
        match begin_switch(proxy, &new).await {
            Ok(begun) => Some(begun),
            Err(error) => {
                proxy.control.commit(running, &observed.tables.current());
                return Err(format!("{error:#}"));
            }
        }
    } else {
        None
    };
    // From here on nothing fails.
    let before = observed.tables.current();
    let table = observed.tables.publish(table);
    table.apply_shares(observed.running().profile.queues);
    let is_paced_otherwise = table.apply_bandwidth();
    observed.inventory.settle(&table, now());
    for gone in &before.listeners {
        if table.settings_of(&gone.listener).is_none() {
            // One that comes back begins as any other.
            gone.listener.set_state(ListenerState::Open);
        }
    }
    prepared.settle();
    listeners::commit(proxy, rebinding, &before, &table, begun.as_ref()).await;
    let patience = new.runtime.drain_timeout;
    let closing = closings::before_the_end(now(), patience, &new.runtime);
    let cut_at = now() + patience;
    let mut is_news = proxy.retiring.on_table(&before, &table, cut_at, closing);
    proxy.control.commit(&new, &table);
    is_news |= removed::end(running, &before, &new, &table, now());
    is_news |= proxy.downs.watch(&new, &table);
    if is_news || is_paced_otherwise {
        proxy.workers.run_all();
        if let Some(begun) = &begun {
            begun.backend().run_all();
        }
    }
    prepared.commit(&new.admin, proxy, commands);
    proxy.around = around;
    observed.client_lists.set(lists.shown());
    proxy.lists = lists;
    *running = new;
    observed.set_configuration(running.to_toml(), running.hash());
    Ok((change, begun))
}

/// Begins with another scheduler, once the process before has given all to the one that runs.
async fn begin_switch(proxy: &Proxy, new: &Config) -> anyhow::Result<Begun> {
    let until = now() + PREDECESSOR_PATIENCE;
    while proxy.predecessor.as_ref().is_some_and(|over| !over.is()) {
        if now() >= until {
            anyhow::bail!(
                "the process before this one still hands over what it has, so there can't be another scheduler yet; reload again"
            );
        }
        sleep(PREDECESSOR_LOOK_INTERVAL).await;
    }
    switch::begin(proxy, new).await
}

/// Whether a new configuration asks for other workers than those that run.
pub(crate) fn is_switch(new: &Config, old: &Config, proxy: &Proxy) -> bool {
    let runs = proxy.workers.running.profile().name;
    scheduler::differs(&new.runtime, &old.runtime, runs)
}

/// How many sockets the scheduler of a new configuration needs at each address.
fn sockets_count(new: &Config, old: &Config, proxy: &Proxy) -> usize {
    if is_switch(new, old, proxy) {
        // One that needs no more than one accepts from more, too.
        // Cores that there are not are refused, and counted, where the switch begins.
        return cpus::assign(&new.runtime).map_or(1, |cpus| cpus.len());
    }
    let running = &proxy.workers.running;
    running.profile().sockets.count(running.threads().len())
}

#[expect(clippy::disallowed_methods, reason = "when names are retired")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
