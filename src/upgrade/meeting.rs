//! How the old process starts a new one, and makes itself known to it: until that is ready, nothing has changed.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use proxy_config::Config;
use proxy_core::carry::encode_verdicts;
use tokio::time::sleep;

use super::channel::{Channel, Kind, Message, anchor, now};
use super::successor::{Successor, binary};
use super::words::{Hello, MAGIC, OwnFile, Welcome};
use crate::aside;
use crate::command_socket::Commands;
use crate::proxy::Proxy;
use crate::sockets::Offered;
use crate::start_error::{Explain, cannot_start};

/// How long a new process may take to introduce itself, from when it is run: another program never does.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take to be ready: to read the configuration, to hear of servers, and to check them, all of which have limits
/// of their own.
const READY_PATIENCE: Duration = Duration::from_secs(120);

/// How long one that can't take over has to end by itself: how it ends is told, too.
const END_TIME: Duration = Duration::from_millis(500);

/// Characters of a new process's reason that are told; its log has all of it.
const REASON_CHARS_MAX: usize = 2000;

/// How often it is looked whether a new process that fails has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Starts the new process, and waits until it is ready.
pub(super) async fn begin(
    proxy: &Proxy,
    config: &Config,
    commands: &Commands,
    asked: Option<PathBuf>,
) -> anyhow::Result<(Successor, Channel)> {
    let binary = binary(asked)?;
    let line = proxy.parent.line()?;
    let socket = config.admin.socket.as_ref();
    let own = socket.filter(|socket| commands.is_at(&socket.path));
    let welcome = Welcome {
        magic: MAGIC.to_owned(),
        version: 0,
        configuration: config.to_toml(),
        found: proxy.control.found(),
        command_file: own.and_then(|socket| OwnFile::at(&socket.path)),
    };
    let offered = proxy.sockets.offer();
    let offered = offered.context("no descriptors are left to give the sockets away")?;
    let verdicts = verdicts(proxy);
    let (mut successor, channel) = Successor::start(&binary, line.its.as_ref(), line.own)?;
    tracing::info!(binary = %binary.display(), pid = %successor.pid(), "an upgrade begins");
    let meeting = move || {
        let version = meet(&channel)?;
        let welcome = Welcome { version, ..welcome };
        introduce(&channel, welcome, offered, &verdicts)?;
        hear(&channel, Kind::Ready, now() + READY_PATIENCE)?;
        Ok(channel)
    };
    let met: anyhow::Result<Channel> = aside::run("corelane-upgrade", meeting)
        .await
        .explain(|error| cannot_start("the thread of an upgrade", error))?;
    match met {
        Ok(channel) => Ok((successor, channel)),
        Err(error) => {
            // It may be about to end.
            let until = now() + END_TIME;
            while successor.ended().is_none() && now() < until {
                sleep(LOOK_INTERVAL).await;
            }
            let binary = binary.display();
            Err(match successor.kill() {
                Some(status) => error.context(format!("{binary} ended ({status})")),
                None => error.context(format!("{binary} doesn't take over")),
            })
        }
    }
}

/// Hears which versions the new process speaks.
fn meet(channel: &Channel) -> anyhow::Result<u16> {
    let hello = hear(channel, Kind::Hello, now() + HELLO_PATIENCE).context(
        "it is no corelane that can take over, or an old one; restart instead, or name another executable",
    )?;
    let hello: Hello = serde_json::from_slice(&hello.bytes).context("it makes no sense")?;
    hello.version().map_err(anyhow::Error::msg)
}

/// Tells it what there is, and gives it the sockets.
fn introduce(
    channel: &Channel,
    welcome: Welcome,
    offered: Vec<Offered>,
    verdicts: &[u8],
) -> anyhow::Result<()> {
    let until = now() + HELLO_PATIENCE;
    let send = |kind, words: &[u8], descriptors: &[BorrowedFd<'_>]| {
        let sent = channel.send(kind, words, descriptors, until);
        // It may have said why it ends.
        sent.map_err(|error| match hear(channel, Kind::Ready, now()) {
            Err(reason) => reason,
            Ok(_) => error.into(),
        })
    };
    send(Kind::Welcome, &serde_json::to_vec(&welcome)?, &[])?;
    for (record, descriptors) in &offered {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        send(Kind::Sockets, &serde_json::to_vec(record)?, &descriptors)?;
    }
    send(Kind::Verdicts, verdicts, &[])?;
    send(Kind::SocketsEnd, &[], &[])
}

/// What is known of servers now, and what limits have counted.
pub(super) fn verdicts(proxy: &Proxy) -> Vec<u8> {
    let observed = &proxy.observed;
    let mut bytes = Vec::new();
    let table = observed.tables.current();
    encode_verdicts(&observed.inventory, &table, anchor(), now(), &mut bytes);
    bytes
}

/// The next message, which has to be of this kind.
pub(super) fn hear(channel: &Channel, kind: Kind, until: Instant) -> anyhow::Result<Message> {
    match channel.receive(until)? {
        Some(message) if message.kind == kind => Ok(message),
        Some(message) if message.kind == Kind::Failed => {
            let words = String::from_utf8_lossy(&message.bytes);
            Err(anyhow!(
                "{}",
                words.chars().take(REASON_CHARS_MAX).collect::<String>()
            ))
        }
        Some(_) => bail!("it speaks out of turn"),
        None => bail!("it ended before it could take over, as its log says"),
    }
}
