//! Takes what the old process gives, on a thread of its own.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use proxy_admin::Observed;
use proxy_core::backend::{Adopter, Evacuation, Pace};
use proxy_core::carry::{Adoption, Anchor, Elsewhere};
use proxy_core::{Descriptor, Detached};

use super::batch::{answer, split};
use super::channel::{Channel, Kind, Message, now};

/// How long a message may take to come whole, and an answer to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes connections, and gives them to this process's scheduler.
pub(super) struct Taker {
    channel: Arc<Channel>,
    observed: Arc<Observed>,
    anchor: Anchor,
    /// The places of those that have not come.
    places: Elsewhere,
    /// How they come to the workers.
    arriving: Arc<Evacuation>,
}

/// Whether the process before has given away all it had, or is gone.
#[derive(Clone, Debug)]
pub(crate) struct Over {
    is: Arc<AtomicBool>,
    arriving: Arc<Evacuation>,
}

impl Over {
    pub(crate) fn is(&self) -> bool {
        self.is.load(Relaxed)
    }

    /// How its connections come to the workers.
    pub(crate) fn arriving(&self) -> Arc<Evacuation> {
        self.arriving.clone()
    }
}

impl Taker {
    /// Takes until the old process has nothing any more, or is gone.
    ///
    /// # Errors
    /// When there is no thread left.
    pub(super) fn start(
        channel: Arc<Channel>,
        observed: Arc<Observed>,
        anchor: Anchor,
        places: Elsewhere,
        to: Arc<dyn Adopter>,
    ) -> io::Result<Over> {
        // The old process has a pace, and keeps it.
        let arriving = Evacuation::new(to, Pace::new(now(), 0, 1, Duration::ZERO));
        let over = Over {
            is: Arc::default(),
            arriving: arriving.clone(),
        };
        let taker = Self {
            channel,
            observed,
            anchor,
            places,
            arriving,
        };
        let told = over.is.clone();
        thread::Builder::new()
            .name("corelane-take".to_owned())
            .spawn(move || {
                let result = taker.take_all();
                let connections = taker.arriving.moved();
                match result {
                    Ok(()) => tracing::info!(connections, "the process before has given all it had"),
                    Err(error) => {
                        tracing::error!(%error, connections, "the process before has ended while it gave what it had");
                    }
                }
                taker.observed.upgrades.count(true);
                told.store(true, Relaxed);
            })?;
        Ok(over)
    }

    fn take_all(&self) -> io::Result<()> {
        loop {
            // It may take as long as its connections do.
            while !self.channel.is_readable(PATIENCE) {}
            let message = self.channel.receive(now() + PATIENCE)?;
            let message = message.ok_or(ErrorKind::UnexpectedEof)?;
            match message.kind {
                Kind::Done => return Ok(()),
                Kind::Connections => self.take(message)?,
                Kind::Metrics => self.observed.earlier.set(&message.bytes)?,
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }

    fn take(&self, message: Message) -> io::Result<()> {
        let Message {
            bytes,
            descriptors,
            lacking,
            ..
        } = message;
        let records = split(&bytes, descriptors, lacking).ok_or(ErrorKind::InvalidData)?;
        let table = self.observed.tables.current();
        let adoption = Adoption::new(&self.observed.inventory, &table, self.anchor, now());
        let adoption = adoption.with_places(&self.places);
        let decode = |(record, descriptors): (&[u8], Vec<OwnedFd>)| {
            let decoded = Detached::<Descriptor>::decode_with(record, descriptors, &adoption);
            decoded
                .inspect_err(
                    |error| tracing::warn!(%error, "a connection stays with the process before"),
                )
                .ok()
        };
        let connections: Vec<_> = records.into_iter().map(decode).collect();
        let taken: Vec<_> = connections.iter().map(Option::is_some).collect();
        // Before anything is done with them: from then on they are this process's alone. If the old one is gone, they are, too.
        self.acknowledge(&answer(&taken));
        for detached in connections.into_iter().flatten() {
            self.arriving.send(detached);
        }
        Ok(())
    }

    fn acknowledge(&self, words: &[u8]) {
        loop {
            let sent = self.channel.send(Kind::Taken, words, &[], now() + PATIENCE);
            match sent {
                // It stands still, and may go on.
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                _ => return,
            }
        }
    }
}
