//! What is asked of a proxy that runs: by signals, commands, files that are replaced, and by what happens to its workers. One
//! after the other.

mod waiting;

use std::time::{Duration, Instant};

use proxy_admin::EventKind;
use proxy_admin::commands::{Reply, Wish};
use proxy_config::Config;
use proxy_core::lifeline::Death;
use tokio::time::sleep;

use self::waiting::{Asked, Waiting};
use crate::command_socket::Commands;
use crate::config_file::{Given, Watch, Watched};
use crate::deaths::Died;
use crate::proxy::Proxy;
use crate::reload::changes::Running;
use crate::restarts::{self, Restarts};
use crate::retiring::COUNT_INTERVAL;
use crate::signals::{Hangup, Upgrading};
use crate::switch::{self, Switching};
use crate::upgrade::{self, Over, Upgraded};
use crate::workers::{Left, Workers};
use crate::{downs, reload};

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
    given: &Given,
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
                    reload::client_lists::read_again(config, proxy).await;
                    list_watch.restart(proxy.lists.sources());
                    continue;
                }
                () = proxy.control.changed() => {
                    reload::discovered::apply(config, proxy);
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
                let refusal = cannot_upgrade(given, proxy);
                let upgraded = match refusal {
                    Some(words) => Upgraded::Refused(words),
                    None => {
                        let heard = upgrade::Heard {
                            hangup: &mut *hangup,
                            died: &mut *died,
                        };
                        let asked = (binary, asked.by());
                        upgrade::upgrade(proxy, config, commands, asked, heard).await
                    }
                };
                if let Upgraded::Refused(words) | Upgraded::TakenBack(words, _) = &upgraded {
                    let events = &proxy.observed.events;
                    events.note(EventKind::Process, asked.by(), words.trim_end());
                }
                match upgraded {
                    Upgraded::Refused(words) => asked.answer(Reply::Refused(words)),
                    Upgraded::TakenBack(words, begun) => {
                        // Who is told so finds it.
                        commands.take_back(config.admin.socket.as_ref());
                        asked.answer(Reply::Refused(words));
                        switching = Some(*begun);
                    }
                    Upgraded::Over(words) => {
                        asked.answer(Reply::Done(words));
                        send_away(&mut waiting, commands).await;
                        return None;
                    }
                    Upgraded::OverWithLoss(words, lost) => {
                        asked.answer(Reply::Done(words));
                        sleep(ANSWER_TIME).await;
                        return Some(lost);
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
                let result = reload::check(given, config, proxy, commands).await;
                asked.answer(reload::answer(&Wish::Check, result));
            }
            (Wish::Difference, _) => asked.answer(match reload::read(given, proxy).await {
                Ok(new) => Reply::Lines(reload::change::diff(config, &new).lines),
                Err(reason) => Reply::Refused(format!("the files can't be taken: {reason}\n")),
            }),
            (Wish::Change(change), _) => {
                let switch = switching.as_ref().map(|one| one.words(&proxy.workers));
                let running = Running {
                    given,
                    config: &mut *config,
                    proxy: &mut *proxy,
                    commands: &mut *commands,
                    switch,
                };
                let (reply, begun) = reload::changes::make(*change, asked.by(), running).await;
                list_watch.restart(proxy.lists.sources());
                if let Some(begun) = begun {
                    switching = Some(switch::go_over(proxy, begun, &config.runtime));
                }
                // Last: who asks what runs then finds it.
                asked.answer(reply);
            }
            (_, None) => {
                let new = reload::read_given(given);
                switching = take(new, asked, config, proxy, commands).await;
                watch.restart_configuration(config.runtime.watch);
                list_watch.restart(proxy.lists.sources());
            }
            (wish, Some(switching)) => match reload::read(given, proxy).await {
                // Only one switch runs at a time. What else changes is none of a scheduler that goes.
                Ok(new)
                    if !reload::is_switch(&new, config, proxy)
                        && proxy.workers.has_handed_over().await =>
                {
                    take(async { Ok(new) }, asked, config, proxy, commands).await;
                    watch.restart_configuration(config.runtime.watch);
                    list_watch.restart(proxy.lists.sources());
                }
                Err(reason) => {
                    take(async { Err(reason) }, asked, config, proxy, commands).await;
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

/// Takes what is read, or says why not, to who asked, among the events and to systemd. Returns the switch that has begun with it.
async fn take(
    new: impl Future<Output = Result<Config, String>>,
    asked: Asked,
    config: &mut Config,
    proxy: &mut Proxy,
    commands: &mut Commands,
) -> Option<Switching> {
    proxy.notify.reloading();
    let (result, begun) = reload::reload(new.await, config, proxy, commands).await;
    reload::note_event(&proxy.observed.events, asked.by(), &result);
    let answer = reload::answer(&asked.wish(), result);
    asked.answer(answer);
    let switching = begun.map(|begun| switch::go_over(proxy, begun, &config.runtime));
    proxy.tell_ready();
    switching
}

/// Why there can't be an upgrade now; none: there can.
fn cannot_upgrade(given: &Given, proxy: &Proxy) -> Option<String> {
    if given.is_read_once() {
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
    proxy.workers.pulses.bury(death);
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
    if replaced.is_ok() {
        let by = format!("worker {}", death.worker);
        let words = format!("{death}, and new workers have taken over");
        let events = &proxy.observed.events;
        events.note(EventKind::Process, &by, &words);
    }
    replaced.map_err(|error| restarts::cannot(death, &error))
}

/// Answers whoever waits, or asks in the last moment, that another process has taken over. Answers go out meanwhile.
async fn send_away(waiting: &mut Waiting, commands: &mut Commands) {
    let reply = || Reply::Busy("another process has just taken over: ask again\n".to_owned());
    while let Some(asked) = waiting.next() {
        asked.answer(reply());
    }
    let until = now() + ANSWER_TIME;
    loop {
        tokio::select! {
            command = commands.next() => command.answer(reply()),
            () = sleep(until.saturating_duration_since(now())) => return,
        }
    }
}

/// Waits until a switch is over that runs.
async fn is_over(switching: &mut Option<Switching>, workers: &Workers) {
    match switching {
        Some(switching) => switching.is_over(workers).await,
        None => std::future::pending().await,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "when names are retired, and how often workers die"
)]
fn now() -> Instant {
    Instant::now()
}
