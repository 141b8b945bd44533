//! Gives connections to the new process, on a thread of its own: a batch at a time, and each is kept until it is acknowledged.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use proxy_core::Taken;
use proxy_core::backend::{Adopter, Moving};
use proxy_core::carry::Anchor;
use proxy_core::metrics::{CoreCells, PerWorker};

use super::batch::{Batch, answers};
use super::channel::{Channel, Kind, now};

/// How long the new process may take for a batch: it only reads it. One that takes longer stands still, and is ended.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Takes the connections that leave this process's scheduler.
#[derive(Debug)]
pub(crate) struct Giver {
    channel: Channel,
    anchor: Anchor,
    /// Counts who has a connection.
    cores: Arc<PerWorker<CoreCells>>,
    state: Mutex<State>,
    /// There is something to give, or an end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Moving>,
    /// Those that the new process has no place for.
    refused: Vec<Moving>,
    /// Places of connections that the new process has, at servers that clients wait for: nobody gets them here.
    places: Vec<Taken>,
    /// Where all go from now on, instead of to the new process.
    instead: Option<Arc<dyn Adopter>>,
    /// Why no more can be given.
    broken: Option<String>,
    /// Whether the new process is certainly gone.
    is_gone: bool,
    /// A batch is on its way.
    is_giving: bool,
    /// Nothing comes any more.
    is_over: bool,
}

impl Giver {
    /// Begins to give.
    ///
    /// # Errors
    /// When there is no thread left.
    pub(super) fn start(
        channel: Channel,
        anchor: Anchor,
        cores: Arc<PerWorker<CoreCells>>,
    ) -> io::Result<Arc<Self>> {
        let giver = Arc::new(Self {
            channel,
            anchor,
            cores,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let its = giver.clone();
        thread::Builder::new()
            .name("corelane-give".to_owned())
            .spawn(move || its.run())?;
        Ok(giver)
    }

    /// Why it can't give any more; the new process is to be ended then, if it hasn't.
    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// How many the new process has refused.
    pub(super) fn refused(&self) -> usize {
        self.lock().refused.len()
    }

    /// Those that are refused go there.
    pub(super) fn give_refused(&self, to: &dyn Adopter) {
        let refused = std::mem::take(&mut self.lock().refused);
        refused.into_iter().for_each(|moving| to.adopt(moving));
    }

    /// The new process is gone: all that it hasn't acknowledged goes there, and what comes from now on.
    pub(super) fn give_instead(&self, to: &Arc<dyn Adopter>) {
        let mut state = self.lock();
        state.is_gone = true;
        self.changed.notify_all();
        // What it has acknowledged last is its.
        while state.is_giving {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.instead = Some(to.clone());
        let waiting = std::mem::take(&mut state.waiting);
        let refused = std::mem::take(&mut state.refused);
        let places = std::mem::take(&mut state.places);
        drop(state);
        for moving in waiting.into_iter().chain(refused) {
            to.adopt(moving);
        }
        // What had them is gone with the new process. Last, and without the lock: clients that wait get them.
        drop(places);
    }

    /// Nothing comes any more. Sends what metrics have counted, and that it is over.
    ///
    /// # Errors
    /// When the new process can't be told.
    pub(super) fn finish(&self, metrics: Option<&[u8]>, patience: Duration) -> io::Result<()> {
        self.lock().is_over = true;
        self.changed.notify_all();
        let until = now() + patience;
        if let Some(metrics) = metrics {
            self.channel.send(Kind::Metrics, metrics, &[], until)?;
        }
        self.channel.send(Kind::Done, &[], &[], until)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            if state.is_over || state.is_gone {
                return;
            }
            if state.waiting.is_empty() || state.broken.is_some() {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_giving = true;
            let some = Batch::take(&mut state.waiting, self.anchor);
            drop(state);
            state = self.give(some);
            state.is_giving = false;
            self.changed.notify_all();
        }
    }

    /// Gives a batch. What comes of it stands in the state that it returns.
    fn give(&self, batch: Batch) -> MutexGuard<'_, State> {
        let result = self.exchange(&batch);
        match result {
            Ok(taken) => self.settle(batch, &taken),
            Err(error) => {
                let mut state = self.lock();
                state.broken = Some(error.to_string());
                self.changed.notify_all();
                // Whether it has the batch is only certain when it is gone.
                while !state.is_gone {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                drop(state);
                // What it has said before it ended is still there.
                match self.hear(&batch) {
                    Ok(taken) => self.settle(batch, &taken),
                    Err(_) => {
                        let mut state = self.lock();
                        batch
                            .into_iter()
                            .rev()
                            .for_each(|moving| state.waiting.push_front(moving));
                        state
                    }
                }
            }
        }
    }

    /// Lets go of those that the new process has taken.
    fn settle(&self, batch: Batch, taken: &[bool]) -> MutexGuard<'_, State> {
        let (mut refused, mut places) = (Vec::new(), Vec::new());
        for (moving, taken) in batch.into_iter().zip(taken) {
            if *taken {
                // A plain close: the other process has it.
                let (carried, place) = moving.arrive().release(&self.cores);
                drop(carried);
                places.extend(place.filter(Taken::is_waited_for));
            } else {
                refused.push(moving);
            }
        }
        let mut state = self.lock();
        state.refused.extend(refused);
        state.places.extend(places);
        state
    }

    fn exchange(&self, batch: &Batch) -> io::Result<Vec<bool>> {
        let descriptors: Vec<BorrowedFd<'_>> = batch.descriptors();
        let until = now() + ANSWER_PATIENCE;
        self.channel
            .send(Kind::Connections, batch.bytes(), &descriptors, until)?;
        self.hear(batch)
    }

    /// Which ones of a batch the new process has taken.
    fn hear(&self, batch: &Batch) -> io::Result<Vec<bool>> {
        let message = self.channel.receive(now() + ANSWER_PATIENCE)?;
        let message = message.filter(|message| message.kind == Kind::Taken);
        let message = message.ok_or(ErrorKind::UnexpectedEof)?;
        answers(&message.bytes, batch.len()).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Adopter for Giver {
    fn takes_waiting(&self) -> bool {
        true
    }

    fn adopt(&self, moving: Moving) {
        let mut state = self.lock();
        match state.instead.clone() {
            Some(instead) => {
                drop(state);
                instead.adopt(moving);
            }
            None => {
                state.waiting.push_back(moving);
                drop(state);
                self.changed.notify_all();
            }
        }
    }
}
