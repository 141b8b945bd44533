//! What the old process does for an upgrade.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use proxy_admin::{Admin, Counted};
use proxy_config::Config;
use proxy_core::last_id;
use rustix::process::Signal;
use tokio::time::sleep;

use super::channel::{Channel, Kind, anchor, now};
use super::giver::Giver;
use super::meeting::{begin, hear, verdicts};
use super::successor::Successor;
use super::words::{Accepts, Go};
use crate::aside;
use crate::closings;
use crate::command_socket::Commands;
use crate::deaths::Died;
use crate::proxy::Proxy;
use crate::restarts;
use crate::signals::{Hangup, Rotation};
use crate::sockets::ADMIN;
use crate::start_error::{Explain, cannot_start};
use crate::switch::{self, Switching};

/// How long it may take to accept, once it is ready.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to hear that there is nothing more.
const DONE_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether connections are left, at first and at last.
const LOOK_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// How often a scheduler is tried to be started, where the new process has ended in the middle.
const TRIES_MAX: usize = 10;

/// How long is waited between two tries.
const TRY_INTERVAL: Duration = Duration::from_secs(1);

/// What came of an upgrade.
pub(crate) enum Upgraded {
    /// The new process has taken over, and this one has nothing any more; in words.
    Over(String),
    /// The same, and what a worker of this one took with it that died meanwhile; both in words.
    OverWithLoss(String, String),
    /// It can't, and this one goes on as if nothing had been asked; in words.
    Refused(String),
    /// It ended while it took over, and this one goes on; in words.
    TakenBack(String, Box<Switching>),
}

/// What is heard of during an upgrade.
pub(crate) struct Heard<'a> {
    pub(crate) hangup: &'a mut Hangup,
    pub(crate) died: &'a mut Died,
}

/// Has another process take over: the one of the executable that is `asked` for, or of what is at this one's path now.
/// Signals that tell of changes are passed on to it as soon as it accepts. A worker that dies before that ends the upgrade: it is to be
/// replaced first. The new process tells `by` whose wish it has taken over.
pub(crate) async fn upgrade(
    proxy: &mut Proxy,
    config: &Config,
    commands: &Commands,
    (asked, by): (Option<PathBuf>, &str),
    heard: Heard<'_>,
) -> Upgraded {
    let at = now();
    // Before the new one opens its logs: of what comes after that, it is told.
    let rotation = Rotation::catch().inspect_err(|error| {
        tracing::warn!(%error, "the new process isn't told of logs that are renamed meanwhile");
    });
    let begun = tokio::select! {
        biased;
        () = heard.died.come() => Err(anyhow!("a worker has died meanwhile, and is replaced; try again")),
        begun = begin(proxy, config, commands, asked) => begun,
    };
    let begun = match begun {
        Ok((successor, channel)) => accept(proxy, config, (successor, channel), (at, by)).await,
        Err(error) => Err(error),
    };
    match begun {
        Ok(handing) => handing.hand_over(proxy, config, heard, rotation.ok()).await,
        Err(error) => {
            let words = format!("not upgraded, what ran goes on: {error:#}\n");
            tracing::error!("{}", words.trim_end());
            proxy.observed.upgrades.count(false);
            Upgraded::Refused(words)
        }
    }
}

/// Waits until a file that is logged to was renamed.
async fn is_rotated(rotation: &mut Option<Rotation>) {
    match rotation {
        Some(rotation) => rotation.next().await,
        None => std::future::pending().await,
    }
}

/// Has the new process accept. What it does not keep is this process's.
async fn accept(
    proxy: &mut Proxy,
    config: &Config,
    (mut successor, channel): (Successor, Channel),
    (at, by): (Instant, &str),
) -> anyhow::Result<Handing> {
    // Whatever becomes of this process from here on, they are the new one's as well.
    proxy.sockets.set_shared(|_, _| true);
    proxy.sockets.set_counted_elsewhere(true);
    // It shows no more than what the new one is told.
    let counted = proxy.admin.take().map(Admin::retire);
    let metrics = counted.as_ref().map(Counted::totals);
    let verdicts = verdicts(proxy);
    let go = serde_json::to_vec(&Go {
        last_id: last_id(),
        by: Some(by.to_owned()),
        events: proxy.observed.events.hand_on(),
    })?;
    let accepting = move || {
        let until = now() + ACCEPT_PATIENCE;
        if let Some(metrics) = metrics {
            channel.send(Kind::Metrics, &metrics, &[], until)?;
        }
        channel.send(Kind::Verdicts, &verdicts, &[], until)?;
        channel.send(Kind::Go, &go, &[], until)?;
        let accepts = hear(&channel, Kind::Accepts, until)?;
        let accepts: Accepts = serde_json::from_slice(&accepts.bytes)?;
        Ok((channel, accepts))
    };
    let accepted: anyhow::Result<_> = match aside::run("corelane-upgrade", accepting).await {
        Ok(accepted) => accepted,
        Err(error) => Err(error.into()),
    };
    let begun = match accepted {
        Ok((channel, accepts)) => {
            successor.set_accepts();
            proxy.successor = Some(successor);
            let begun = Handing::begin(proxy, config, channel, accepts, (counted, at));
            begun.explain(|error| cannot_start("the thread that gives connections away", error))
        }
        Err(error) => {
            successor.kill();
            Err(error)
        }
    };
    match begun {
        Ok(begun) => Ok(begun),
        Err(error) => {
            if let Some(mut successor) = proxy.successor.take() {
                successor.kill();
            }
            proxy.sockets.set_shared(|_, _| false);
            proxy.sockets.set_counted_elsewhere(false);
            show_again(proxy, config);
            Err(error)
        }
    }
}

/// Serves the metrics again.
fn show_again(proxy: &mut Proxy, config: &Config) {
    let Some(address) = proxy.sockets.admin_address().and_then(|at| at.local()) else {
        return;
    };
    let (observed, api) = (proxy.observed.clone(), proxy.api.clone());
    let security = proxy.security.clone();
    let started = proxy_admin::start(address, observed, &config.admin.hosts, api, security);
    let served = started.and_then(|mut admin| {
        admin.serve(
            proxy
                .sockets
                .lend(ADMIN, 1)?
                .into_iter()
                .flatten()
                .collect(),
        )?;
        Ok(admin)
    });
    match served {
        Ok(admin) => proxy.admin = Some(admin),
        Err(error) => tracing::error!(%error, "the admin server can't be started again; restart"),
    }
}

/// A new process accepts.
struct Handing {
    giver: Arc<Giver>,
    counted: Option<Counted>,
    at: Instant,
    /// When what is left of the connections is cut.
    until: Instant,
    /// When those see that they end before which have not gone; none: there are none, or they have seen it.
    closes_at: Option<Instant>,
    /// Connections that stay have a scheduler of their own.
    has_rest: bool,
    /// What a worker took with it that died.
    lost: Option<String>,
}

impl Handing {
    /// Stops accepting, and gives away what there is.
    fn begin(
        proxy: &mut Proxy,
        config: &Config,
        channel: Channel,
        accepts: Accepts,
        (counted, at): (Option<Counted>, Instant),
    ) -> io::Result<Self> {
        let cores = proxy.workers.generation.cores.clone();
        let giver = Giver::start(channel, anchor(), cores)?;
        let kept: BTreeSet<_> = accepts.kept.into_iter().collect();
        let is_kept = |owner: &str, place| kept.contains(&(owner.to_owned(), place));
        proxy.sockets.set_shared(is_kept);
        // Of those that nobody has any more.
        proxy.sockets.pause_taking();
        if let Some(successor) = &proxy.successor {
            proxy.parent.tell(successor.pid());
            tracing::info!(pid = %successor.pid(), "the new process accepts");
        }
        let patience = switch::time_to_move(&config.runtime);
        let until = now() + patience;
        // Those that go have gone well before.
        let last = patience / 2;
        let closing = closings::before_the_end(until - last, last, &config.runtime);
        proxy.workers.evacuate(giver.clone(), patience, closing);
        Ok(Self {
            giver,
            counted,
            at,
            until,
            closes_at: closing.map(|closing| closing.begins_at),
            has_rest: false,
            lost: None,
        })
    }

    /// Waits until there is nothing any more.
    async fn hand_over(
        mut self,
        proxy: &mut Proxy,
        config: &Config,
        heard: Heard<'_>,
        mut rotation: Option<Rotation>,
    ) -> Upgraded {
        let Heard { hangup, died } = heard;
        let (mut interval, longest) = LOOK_INTERVALS;
        while proxy.workers.has_connections() && now() < self.until {
            tokio::select! {
                () = sleep(interval) => {}
                () = hangup.next() => {
                    proxy.successor.iter().for_each(|successor| successor.signal(Signal::HUP));
                }
                // This one's own are reopened as ever.
                () = is_rotated(&mut rotation) => {
                    proxy.successor.iter().for_each(|successor| successor.signal(Signal::USR1));
                }
                death = died.next() => {
                    if proxy.workers.has(death.run) {
                        self.lost = Some(restarts::while_upgrading(&death));
                    }
                    let run = proxy.workers.run();
                    let patience = self.until.saturating_duration_since(now());
                    if !switch::rescue(proxy, config, &death, patience).await {
                        break;
                    }
                    self.has_rest |= run != proxy.workers.run();
                }
            }
            interval = longest.min(2 * interval);
            if self.closes_at.is_some_and(|at| at <= now()) {
                self.closes_at = None;
                proxy.workers.run_all();
            }
            if proxy.downs.look(now()) {
                proxy.workers.run_all();
            }
            let ended = proxy.successor.as_mut().and_then(Successor::ended);
            match (ended, self.giver.broken()) {
                // Somebody has asked it to end, which goes for both.
                (Some(status), _) if status.success() => {
                    proxy.successor = None;
                    self.keep_rest(proxy, config);
                }
                (Some(status), _) => {
                    return self.take_back(proxy, config, &status.to_string()).await;
                }
                (None, Some(error)) if proxy.successor.is_some() => {
                    return self.take_back(proxy, config, &error).await;
                }
                (None, _) => {}
            }
            if self.giver.refused() > 0 {
                self.keep_rest(proxy, config);
            }
        }
        let cut = proxy.workers.connections();
        if cut > 0 {
            tracing::warn!(
                cut,
                "connections of this process were not over in time: they are reset"
            );
        }
        // Who can't be told is gone.
        let metrics = self.counted.as_ref().map(Counted::totals);
        if let Err(error) = self.giver.finish(metrics.as_deref(), DONE_PATIENCE) {
            tracing::warn!(%error, "the new process doesn't hear that this one has nothing any more");
            if let Some(why) = self.failure(proxy).await {
                return self.take_back(proxy, config, &why).await;
            }
        }
        let (took, moved) = (now() - self.at, proxy.workers.evacuated());
        tracing::info!(?took, moved, "the upgrade is over");
        let successor = proxy.successor.as_ref();
        let words = match successor {
            Some(successor) => format!(
                "upgraded: process {} runs, and {moved} connections went over\n",
                successor.pid()
            ),
            None => {
                "the new process took over, and was ended; the old one ends as well\n".to_owned()
            }
        };
        match self.lost {
            Some(lost) => Upgraded::OverWithLoss(words, lost),
            None => Upgraded::Over(words),
        }
    }

    /// Why the new process, which no longer hears this one, is of no use: it has failed, or doesn't end either. None where somebody
    /// has ended it, which goes for both.
    async fn failure(&self, proxy: &mut Proxy) -> Option<String> {
        let successor = proxy.successor.as_mut()?;
        let until = now() + DONE_PATIENCE;
        while now() < until {
            match successor.ended() {
                Some(status) if status.success() => return None,
                Some(status) => return Some(status.to_string()),
                None => sleep(LOOK_INTERVALS.0).await,
            }
        }
        Some("it doesn't hear this one".to_owned())
    }

    /// Has the connections that the new process doesn't take finish here, on a scheduler that accepts nobody.
    fn keep_rest(&mut self, proxy: &mut Proxy, config: &Config) {
        if !self.has_rest {
            let patience = self.until.saturating_duration_since(now());
            if !switch::start_rest(proxy, config, patience) {
                return;
            }
            self.has_rest = true;
        }
        let to = proxy.workers.running.adopter();
        match proxy.successor {
            Some(_) => self.giver.give_refused(&*to),
            None => self.giver.give_instead(&to),
        }
    }

    /// The new process has ended in the middle, or does not answer any more: this one accepts again.
    async fn take_back(self, proxy: &mut Proxy, config: &Config, why: &str) -> Upgraded {
        let words =
            format!("the new process failed while it took over ({why}), and the old one goes on\n");
        tracing::error!("{}", words.trim_end());
        if let Some(mut successor) = proxy.successor.take() {
            successor.kill();
        }
        proxy.observed.upgrades.count(false);
        proxy.parent.tell(rustix::process::getpid());
        proxy.sockets.set_shared(|_, _| false);
        proxy.sockets.set_counted_elsewhere(false);
        proxy.sockets.take_again();
        let mut tries = 0;
        let begun = loop {
            match switch::begin(proxy, config).await {
                Ok(begun) => break begun,
                Err(error) if tries < TRIES_MAX => {
                    tries += 1;
                    tracing::error!("no scheduler can be started, trying again: {error:#}");
                    sleep(TRY_INTERVAL).await;
                }
                Err(error) => {
                    tracing::error!("no scheduler can be started, so this process ends: {error:#}");
                    return Upgraded::Over(words);
                }
            }
        };
        proxy.sockets.steer(begun.backend());
        proxy.sockets.set_served();
        self.giver.give_instead(&begun.backend().adopter());
        show_again(proxy, config);
        let switching = switch::go_over(proxy, begun, &config.runtime);
        Upgraded::TakenBack(words, Box::new(switching))
    }
}
