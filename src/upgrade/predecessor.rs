//! The old process, as the new one sees it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use proxy_admin::Observed;
use proxy_config::Config;
use proxy_core::backend::Adopter;
use proxy_core::carry::{Adoption, Elsewhere, Moment, apply_verdicts};
use proxy_core::{Inventory, Table, continue_ids};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, getppid};

use super::channel::{Channel, Kind, Message, anchor, now};
use super::taker::{Over, Taker};
use super::words::{
    Accepts, Go, Hello, MAGIC, OwnFile, PREDECESSOR_VARIABLE, RECORDS, VERSIONS, Welcome,
};
use crate::discovery::Found;
use crate::sockets::{Abandoned, Offered, Pause, Sockets, SocketsRecord};

/// How long the old process may take for an answer; it has other things to do.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// How long the new one looks for a word before it looks for signals.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How long it may take to end, once its end is seen.
const GONE_PATIENCE: Duration = Duration::from_secs(2);

/// Addresses that may come, at most: each costs a record.
const RECORDS_MAX: usize = 100_000;

/// The process that this one takes over from.
#[derive(Debug)]
pub(crate) struct Predecessor {
    channel: Arc<Channel>,
    /// The process's number, which is this one's parent.
    parent: Pid,
    welcome: Welcome,
    offered: Vec<Offered>,
    /// What it knows of servers, and its limits have counted.
    verdicts: Vec<u8>,
    /// The places that its connections have.
    places: Mutex<Elsewhere>,
    /// Who asked for the upgrade, as far as it says.
    by: Option<String>,
}

/// Tells the process before why this one can't take over.
#[derive(Clone, Debug)]
pub(crate) struct Refusing(Arc<Channel>);

impl Refusing {
    pub(crate) fn tell(&self, error: &anyhow::Error) {
        tell_failed(&self.0, error);
    }
}

impl Predecessor {
    /// The one that started this process for an upgrade, and what it listens on. None where nobody did.
    ///
    /// # Errors
    /// When it speaks no version that this one speaks, or no sense. It is told so.
    pub(crate) fn of_environment() -> anyhow::Result<Option<Self>> {
        let Some(number) = std::env::var_os(PREDECESSOR_VARIABLE) else {
            return Ok(None);
        };
        let number = number.to_str().and_then(|number| number.parse().ok());
        let number = number.with_context(|| format!("{PREDECESSOR_VARIABLE} is no number"))?;
        let socket = proxy_sys::inherited_descriptor(number).with_context(|| {
            format!("{PREDECESSOR_VARIABLE} is set, and descriptor {number} is not that of an upgrade; unset it")
        })?;
        let peer = socket_peercred(&socket).context("the process before is not known")?;
        let parent = peer.pid;
        let channel = Channel::of(socket);
        let met = meet(&channel).inspect_err(|error| tell_failed(&channel, error))?;
        let (welcome, offered, verdicts) = met;
        Ok(Some(Self {
            channel: Arc::new(channel),
            parent,
            welcome,
            offered,
            verdicts,
            places: Mutex::default(),
            by: None,
        }))
    }

    /// Its number.
    pub(crate) fn pid(&self) -> Pid {
        self.parent
    }

    /// Who asked for the upgrade.
    pub(crate) fn by(&self) -> &str {
        self.by.as_deref().unwrap_or("an upgrade")
    }

    /// Whether the file that its socket of commands has is at a path.
    pub(crate) fn has_file(&self, path: &Path) -> bool {
        let file = self.welcome.command_file.as_ref();
        file.is_some_and(|file| file.is_at(path))
    }

    /// What its sources of servers named last, by upstream.
    pub(crate) fn found(&self) -> &HashMap<String, Vec<Found>> {
        &self.welcome.found
    }

    /// Has what it knows of servers, and what its limits have counted, hold here: before any server is checked. What was set by hand
    /// comes to tables that are made afterwards.
    pub(crate) fn inform(&self, inventory: &Inventory, table: &Table) {
        // Their places are those of the last word.
        drop(apply(&self.verdicts, Moment::Start, inventory, table));
    }

    /// Lends its sockets.
    ///
    /// # Errors
    /// When they are not those that it tells of.
    pub(crate) fn give(&mut self, sockets: &Sockets) -> anyhow::Result<()> {
        let loaded = proxy_config::parse(&self.welcome.configuration, "the process before");
        // Another version may have had other keys. Then the sockets' options are set once more.
        let before = loaded.ok().map(|loaded| loaded.config);
        let before: Option<&Config> = before.as_ref();
        sockets
            .inherit(std::mem::take(&mut self.offered), before)
            .context("the sockets of the process before")
    }

    /// Says that this process would accept, and waits until it is to. What the old one has counted until then goes into `observed`,
    /// and so does what has changed there lately.
    ///
    /// # Errors
    /// When the old one doesn't want it any more. [`Abandoned`] when `pause` breaks off.
    pub(crate) fn is_ready(&mut self, observed: &Observed, pause: Pause<'_>) -> anyhow::Result<()> {
        let until = now() + ANSWER_PATIENCE;
        if let Err(error) = self.say(Kind::Ready, &[], until) {
            return if self.is_gone() {
                go_alone();
                Ok(())
            } else {
                Err(error)
            };
        }
        loop {
            while !self.channel.is_readable(LOOK_INTERVAL) {
                if pause(Duration::ZERO).is_break() {
                    return Err(Abandoned.into());
                }
                if now() >= until {
                    bail!("the process before doesn't answer");
                }
            }
            match self.channel.receive(until)? {
                Some(message) if message.kind == Kind::Go => {
                    let go: Go = serde_json::from_slice(&message.bytes)?;
                    continue_ids(go.last_id);
                    observed.events.follow(go.events);
                    self.by = go.by;
                    return Ok(());
                }
                Some(message) => self.hear(message, observed)?,
                None if self.is_gone() => {
                    tracing::error!(
                        "the process before has ended before it gave anything; this one goes on"
                    );
                    continue_ids(0);
                    return Ok(());
                }
                None => bail!("the process before doesn't want to be taken over from"),
            }
        }
    }

    /// Hears what the old process has counted.
    fn hear(&self, message: Message, observed: &Observed) -> anyhow::Result<()> {
        match message.kind {
            Kind::Metrics => observed.earlier.set(&message.bytes).context("its metrics"),
            Kind::Verdicts => {
                let (inventory, table) = (&observed.inventory, observed.tables.current());
                let places = apply(&message.bytes, Moment::Takeover, inventory, &table);
                *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places;
                Ok(())
            }
            _ => bail!("the process before speaks out of turn"),
        }
    }

    /// Whether the old process has ended: it may be about to, as it closes its descriptors before that.
    fn is_gone(&self) -> bool {
        let until = now() + GONE_PATIENCE;
        while getppid() == Some(self.parent) {
            if now() >= until {
                return false;
            }
            std::thread::park_timeout(LOOK_INTERVAL);
        }
        true
    }

    /// Says that this process accepts, from these sockets of the old one's.
    ///
    /// # Errors
    /// When the old one is gone, which is no reason not to go on.
    pub(crate) fn accepts(&self, kept: Vec<(String, usize)>) -> anyhow::Result<()> {
        let words = serde_json::to_vec(&Accepts { kept })?;
        self.say(Kind::Accepts, &words, now() + ANSWER_PATIENCE)
    }

    fn say(&self, kind: Kind, words: &[u8], until: Instant) -> anyhow::Result<()> {
        let said = self.channel.send(kind, words, &[], until);
        said.context("the process before can't be told")
    }

    /// For who finds out that this process can't take over.
    pub(crate) fn refusing(&self) -> Refusing {
        Refusing(self.channel.clone())
    }

    /// Takes what it gives, for the scheduler that runs.
    ///
    /// # Errors
    /// When there is no thread left.
    pub(crate) fn follow(self, observed: Arc<Observed>, to: Arc<dyn Adopter>) -> io::Result<Over> {
        let places = self.places.into_inner();
        let places = places.unwrap_or_else(PoisonError::into_inner);
        Taker::start(self.channel, observed, anchor(), places, to)
    }
}

/// What isn't understood is no reason not to take over.
fn apply(bytes: &[u8], moment: Moment, inventory: &Inventory, table: &Table) -> Elsewhere {
    let adoption = Adoption::new(inventory, table, anchor(), now());
    apply_verdicts(bytes, moment, &adoption).unwrap_or_else(|error| {
        tracing::warn!(%error, "not all that the process before knows of servers and limits holds here");
        Elsewhere::default()
    })
}

impl OwnFile {
    fn is_at(&self, path: &Path) -> bool {
        let found = rustix::fs::lstat(path);
        found.is_ok_and(|found| (found.st_dev, found.st_ino) == (self.device, self.inode))
    }
}

/// Goes on though the process before is gone: nobody else has its sockets.
fn go_alone() {
    tracing::error!("the process before has ended before it gave any connection; this one goes on");
    continue_ids(0);
}

/// Introduces itself, and hears of what there is.
fn meet(channel: &Channel) -> anyhow::Result<(Welcome, Vec<Offered>, Vec<u8>)> {
    let until = now() + ANSWER_PATIENCE;
    let hello = Hello {
        magic: MAGIC.to_owned(),
        versions: VERSIONS,
        records: RECORDS,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    channel
        .send(Kind::Hello, &serde_json::to_vec(&hello)?, &[], until)
        .context("the process before can't be told")?;
    let next = || -> anyhow::Result<Message> {
        let message = channel.receive(until)?;
        message.ok_or_else(|| anyhow!("the process before has ended, or doesn't want to go on"))
    };
    let message = next()?;
    if message.kind != Kind::Welcome {
        bail!("the process before speaks out of turn");
    }
    let welcome: Welcome = serde_json::from_slice(&message.bytes)?;
    let (least, most) = VERSIONS;
    if welcome.magic != MAGIC || !(least..=most).contains(&welcome.version) {
        bail!("the process before speaks another version of this");
    }
    let (mut offered, mut verdicts) = (Vec::new(), Vec::new());
    loop {
        let message = next()?;
        match message.kind {
            Kind::Sockets if offered.len() < RECORDS_MAX => {
                if message.lacking > 0 {
                    bail!(
                        "the sockets are more than this process may have files open; raise that limit"
                    );
                }
                let record: SocketsRecord = serde_json::from_slice(&message.bytes)?;
                offered.push((record, message.descriptors));
            }
            Kind::Verdicts => verdicts = message.bytes,
            Kind::SocketsEnd => return Ok((welcome, offered, verdicts)),
            _ => bail!("the process before speaks out of turn"),
        }
    }
}

fn tell_failed(channel: &Channel, error: &anyhow::Error) {
    let words = format!("{error:#}");
    // Who can't be told is gone.
    let _ = channel.send(Kind::Failed, words.as_bytes(), &[], now() + ANSWER_PATIENCE);
}
