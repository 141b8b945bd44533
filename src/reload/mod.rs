//! Reading the configuration again while the proxy runs (SIGHUP).
//!
//! A file is taken as a whole or not at all, so that what runs is always what some file says: everything that can fail is
//! prepared first, and then a new table is put in force.

mod around;
mod change;
mod changes;
mod client_lists;
mod discovered;
mod listeners;
mod removed;
mod waiting;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use proxy_admin::commands::{Reply, Wish};
use proxy_admin::{EventKind, Events};
use proxy_config::{Config, Loaded};
use proxy_core::ListenerState;
use proxy_core::lifeline::Death;
use tokio::time::sleep;

use self::around::Prepared;
use self::change::Change;
use self::changes::Running;
use self::waiting::{Asked, Waiting};
use crate::access_log::AccessLog;
use crate::command_socket::Commands;
use crate::config_file::{self, LoadError, Watch, Watched};
use crate::deaths::Died;
use crate::proxy::{Proxy, listening};
use crate::restarts::{self, Restarts};
use crate::retiring::COUNT_INTERVAL;
use crate::signals::{Hangup, Upgrading};
use crate::sockets::Preparing;
use crate::start_error::{Explain, cannot_start};
use crate::switch::{self, Begun, Switching};
use crate::upgrade::{self, Over, Upgraded};
use crate::workers::{Left, Workers};
use crate::{
    assemble, closings, command_socket, cpus, downs, echo, privileges, scheduler, socket_options,
};

/// Lines of differences that the log has of one reload; of more, the number is told.
const LINES_MAX: usize = 200;

/// How long a switch waits for the process before, and how often it looks whether that is over.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(10);
const PREDECESSOR_LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How long the answer to an upgrade has until this process ends.
const ANSWER_TIME: Duration = Duration::from_millis(20);

/// What [`at_each`] hears of besides commands.
pub(crate) struct Signals<'a> {
    pub(crate) hangup: &'a mut Hangup,
    pub(crate) upgrading: &'a mut Upgrading,
    pub(crate) died: &'a mut Died,
}

/// Reloads at each SIGHUP, when a file is replaced that is watched, and when a command asks for it; upgrades at each SIGUSR2 and
/// when a command asks for it; and returns when another process has taken over. While the file is read, others have their turn.
/// While a switch runs, files are looked at, and upgrades and further switches wait for its end; other reloads only for as long as
/// the scheduler before accepts clients, or has connections that don't move.
///
/// Workers that die meanwhile are replaced. It returns why the process has to end where one can't be.
pub(crate) async fn at_each(
    signals: Signals<'_>,
    commands: &mut Commands,
    file: &Path,
    config: &mut Config,
    proxy: &mut Proxy,
) -> Option<String> {
    let Signals {
        hangup,
        upgrading,
        died,
    } = signals;
    let mut watch = Watch::new(Watched::Configuration);
    watch.restart_configuration(config.runtime.watch);
    let mut list_watch = Watch::new(Watched::Lists);
    list_watch.restart(proxy.lists.sources());
    let mut switching: Option<Switching> = None;
    let mut waiting = Waiting::default();
    let mut restarts = Restarts::default();
    loop {
        let next = if switching.is_none() {
            waiting.next()
        } else {
            None
        };
        let asked = match next {
            Some(asked) => asked,
            None => tokio::select! {
                death = died.next() => {
                    match restart(&death, &mut restarts, config, proxy, &mut switching).await {
                        Ok(()) => died.forget_before(proxy.workers.run()),
                        Err(reason) => return Some(reason),
                    }
                    continue;
                }
                () = hangup.next() => Asked::Silently(Wish::Reload, "SIGHUP"),
                () = upgrading.next() => Asked::Silently(Wish::Upgrade(None), "SIGUSR2"),
                () = watch.replaced() => Asked::Silently(Wish::Reload, "a file that was replaced"),
                command = commands.next() => Asked::By(command),
                () = is_over(&mut switching, &proxy.workers) => {
                    if let Some(switching) = switching.take() {
                        switching.end(proxy).await;
                    }
                    continue;
                }
                () = list_watch.replaced() => {
                    client_lists::read_again(config, proxy).await;
                    list_watch.restart(proxy.lists.sources());
                    continue;
                }
                () = proxy.control.changed() => {
                    discovered::apply(config, proxy);
                    continue;
                }
                () = sleep(COUNT_INTERVAL), if !proxy.retiring.is_empty() => {
                    if proxy.retiring.tick(&*proxy.workers.running, now()) {
                        proxy.workers.run_all();
                    }
                    continue;
                }
                () = sleep(downs::LOOK_INTERVAL), if !proxy.downs.is_empty() => {
                    if proxy.downs.look(now()) {
                        proxy.workers.run_all();
                    }
                    continue;
                }
            },
        };
        match (asked.wish(), &switching) {
            (Wish::Upgrade(binary), None) => {
                let refusal = cannot_upgrade(file, proxy);
                let upgraded = match refusal {
                    Some(words) => Upgraded::Refused(words),
                    None => upgrade::upgrade(proxy, config, commands, binary, hangup).await,
                };
                match upgraded {
                    Upgraded::Refused(words) => asked.answer(Reply::Refused(words)),
                    Upgraded::TakenBack(words, begun) => {
                        asked.answer(Reply::Refused(words));
                        switching = Some(*begun);
                    }
                    Upgraded::Over(words) => {
                        asked.answer(Reply::Done(words));
                        // Tasks that are ready run before this one does again.
                        sleep(ANSWER_TIME).await;
                        return None;
                    }
                }
            }
            (Wish::Upgrade(_), Some(switching)) => {
                let words = switching.words(&proxy.workers);
                tracing::info!("an upgrade waits: {words}");
                waiting.add(asked);
            }
            // What is only checked is still to be reloaded: the watch goes on from what was read before.
            (Wish::Check, _) => {
                let result = check(file, config, proxy, commands).await;
                asked.answer(answer(&Wish::Check, result));
            }
            (Wish::Difference, _) => asked.answer(match read(file, proxy).await {
                Ok(new) => Reply::Lines(change::diff(config, &new).lines),
                Err(reason) => Reply::Refused(format!("the files can't be taken: {reason}\n")),
            }),
            (Wish::Change(change), _) => {
                let switch = switching.as_ref().map(|one| one.words(&proxy.workers));
                let running = Running {
                    file,
                    config: &mut *config,
                    proxy: &mut *proxy,
                    commands: &mut *commands,
                    switch,
                };
                let (reply, begun) = changes::make(*change, asked.by(), running).await;
                list_watch.restart(proxy.lists.sources());
                if let Some(begun) = begun {
                    switching = Some(switch::go_over(proxy, begun, &config.runtime));
                }
                // Last: who asks what runs then finds it.
                asked.answer(reply);
            }
            (wish, None) => {
                proxy.notify.reloading();
                let new = checked(config_file::load_meanwhile(file).await);
                let (result, begun) = reload(new, config, proxy, commands).await;
                note_event(&proxy.observed.events, asked.by(), &result);
                watch.restart_configuration(config.runtime.watch);
                list_watch.restart(proxy.lists.sources());
                asked.answer(answer(&wish, result));
                switching = begun.map(|begun| switch::go_over(proxy, begun, &config.runtime));
                proxy.notify.ready(|| proxy.status());
            }
            (wish, Some(switching)) => match read(file, proxy).await {
                Err(reason) => {
                    proxy.notify.reloading();
                    note(proxy, Some(&reason));
                    proxy.notify.ready(|| proxy.status());
                    note_event(&proxy.observed.events, asked.by(), &Err(reason.clone()));
                    asked.answer(answer(&wish, Err(reason)));
                }
                // Only one switch runs at a time. What else changes is none of a scheduler that goes.
                Ok(new)
                    if !is_switch(&new, config, proxy) && proxy.workers.has_handed_over().await =>
                {
                    let (result, _) = reload(Ok(new), config, proxy, commands).await;
                    note_event(&proxy.observed.events, asked.by(), &result);
                    watch.restart_configuration(config.runtime.watch);
                    list_watch.restart(proxy.lists.sources());
                    asked.answer(answer(&wish, result));
                }
                Ok(_) if wish == Wish::ReloadAtOnce => {
                    let words = switching.words(&proxy.workers);
                    asked.answer(Reply::Later(format!("the reload waits: {words}\n")));
                }
                Ok(_) => {
                    let words = switching.words(&proxy.workers);
                    tracing::info!("a reload waits: {words}");
                    waiting.add(asked);
                }
            },
        }
    }
}

/// Why there can't be an upgrade now; none: there can.
fn cannot_upgrade(file: &Path, proxy: &Proxy) -> Option<String> {
    if file == Path::new(config_file::STDIN) {
        return Some("not upgraded: the configuration came from standard input, which is read once; restart\n".to_owned());
    }
    let is_over = proxy.predecessor.as_ref().is_none_or(Over::is);
    (!is_over).then(|| {
        "not upgraded: the process before still hands over what it has; try again later\n"
            .to_owned()
    })
}

/// Replaces a worker that died. One of a scheduler that is being replaced already takes only its own connections with it.
///
/// # Errors
/// Why the process is to end.
async fn restart(
    death: &Death,
    restarts: &mut Restarts,
    config: &Config,
    proxy: &mut Proxy,
    switching: &mut Option<Switching>,
) -> Result<(), String> {
    if death.run != proxy.workers.run() {
        if death.halts_all
            && let Some(Left { moved, cut }) = proxy.workers.end_halted(death.run).await
        {
            tracing::warn!(
                moved,
                cut,
                "the scheduler that is left has ended with its worker"
            );
        }
        return Ok(());
    }
    if !restarts.may(now()) {
        return Err(restarts::too_many(death));
    }
    proxy.observed.restarts.begin(death.worker);
    let replaced = switch::replace(proxy, config, switching, death).await;
    replaced.map_err(|error| restarts::cannot(death, &error))
}

/// Waits until a switch is over that runs.
async fn is_over(switching: &mut Option<Switching>, workers: &Workers) {
    match switching {
        Some(switching) => switching.is_over(workers).await,
        None => std::future::pending().await,
    }
}

/// Lines of differences that an event has of one reload.
const EVENT_LINES_MAX: usize = 5;

/// Notes what came of a reload among the events.
fn note_event(events: &Events, by: &str, result: &Result<Change, String>) {
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
fn answer(wish: &Wish, result: Result<Change, String>) -> Reply {
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

/// Reads `file` again, and says what a reload would change. What can be tried is tried, as far as nobody notices.
async fn check(
    file: &Path,
    config: &Config,
    proxy: &Proxy,
    commands: &Commands,
) -> Result<Change, String> {
    let new = read(file, proxy).await?;
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

/// Reads `file` and its lists of clients. All is in order, and fits this machine.
async fn read(file: &Path, proxy: &Proxy) -> Result<Config, String> {
    let new = checked(config_file::load_meanwhile(file).await)?;
    proxy.lists.again(&new).await?;
    socket_options::try_out(&new).map_err(|refused| refused.to_string())?;
    let fits = cpus::assign(&new.runtime).and_then(|_| {
        let socket = new.admin.socket.as_ref();
        socket.map_or(Ok(()), command_socket::check)
    });
    fits.map_err(|error| format!("{error:#}"))?;
    Ok(new)
}

/// Notes how a reading went, which was refused for a reason, or succeeded.
fn note(proxy: &Proxy, refused: Option<&str>) {
    proxy.observed.reloads.note(refused);
    if let Some(reason) = refused {
        tracing::error!("the configuration is not reloaded, what ran goes on: {reason}");
    }
}

/// Applies what was read to the proxy that runs `config`. The log says what came of it.
async fn reload(
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
fn is_switch(new: &Config, old: &Config, proxy: &Proxy) -> bool {
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
mod tests {
    use proptest::prelude::*;
    use proxy_core::{Inventory, Table, Tables};

    use super::change::tests::{config, text};
    use super::*;
    use crate::assemble::Around;

    /// All that is configured in a table, without identities.
    fn written(table: &Table) -> Vec<String> {
        let listeners = table.listeners.iter().map(|settings| {
            let mut text = format!(
                "{} to {}",
                settings.listener.name,
                settings.pool.upstream().name
            );
            let pool = &settings.pool;
            let same = table
                .pools
                .iter()
                .any(|one| std::sync::Arc::ptr_eq(one, pool));
            assert!(same, "its pool is that of the table");
            text += &format!(
                " {} {:?} {:?} {:?} {} {:?}",
                settings.shares,
                settings.latency,
                settings.idle_timeout,
                settings.times,
                settings.splice,
                settings.max_connections
            );
            let limits = &settings.limits;
            text += &format!(
                " {:?} {:?} {:?} {:?} {:?}",
                limits.rate.as_ref().map(|meter| meter.rate()),
                limits.source_connections,
                limits.source_bits,
                limits.over,
                settings.bandwidth
            );
            text
        });
        let pools = table.pools.iter().map(|pool| {
            let members = pool.members().iter().map(|member| {
                let server = &member.server;
                format!("{}/{} {}", server.upstream, server.label, member.weight)
            });
            let members: Vec<_> = members.collect();
            format!(
                "{} {members:?} {:?} {:?} {:?}",
                pool.upstream().name,
                pool.settings(),
                pool.ejection(),
                pool.connect_options()
            )
        });
        listeners.chain(pools).collect()
    }

    /// The names that are shown as configured.
    fn shown(inventory: &Inventory, table: &Table) -> Vec<String> {
        let view = inventory.view(table, now());
        let listeners = view.listeners.iter().filter(|view| view.settings.is_some());
        let listeners = listeners.map(|view| view.listener.name.clone());
        let servers = view.upstreams.iter().flat_map(|view| view.members());
        let servers = servers.map(|server| format!("{}/{}", server.upstream, server.label));
        listeners.chain(servers).collect()
    }

    proptest! {
        /// After any sequence of files, what is in force is what a start with the last one gives; and who stays is who it
        /// was.
        #[test]
        fn a_sequence_of_files_leads_to_what_a_start_with_the_last_one_gives(
            texts in prop::collection::vec(text(), 1..6),
        ) {
            let (inventory, around) = (Inventory::default(), Around::default());
            let tables = Tables::new(Table::default());
            let mut before = tables.current();
            for text in &texts {
                let config = config(text);
                let table = tables.publish(assemble::table(&config, &inventory, &around));
                table.apply_shares(false);
                inventory.settle(&table, now());
                for settings in &table.listeners {
                    let name = &settings.listener.name;
                    let mut old = before.listeners.iter();
                    if let Some(old) = old.find(|old| old.listener.name == *name) {
                        prop_assert_eq!(old.listener.id, settings.listener.id);
                    }
                }
                let fresh_inventory = Inventory::default();
                let fresh = assemble::table(&config, &fresh_inventory, &around);
                fresh.apply_shares(false);
                fresh_inventory.settle(&fresh, now());
                prop_assert_eq!(written(&table), written(&fresh));
                prop_assert_eq!(shown(&inventory, &table), shown(&fresh_inventory, &fresh));
                let turns = |table: &Table| -> Vec<usize> {
                    let shares = table.listeners.iter().map(|one| &one.listener.share);
                    shares.map(|share| share.turn_bytes()).collect()
                };
                prop_assert_eq!(turns(&table), turns(&fresh));
                before = table;
            }
        }
    }
}
