//! A check that is under way: a connect, and what is said then.

use std::io;
use std::time::Instant;

use proxy_checks::{Dialogue, Progress};
use proxy_core::metrics::ConnectFailure;
use proxy_core::runtime::Attempt;
use proxy_core::{Descriptor, Fault, Transport, Walk};
use rustix::event::PollFlags;

use super::asked::Asked;
use super::target::Failed;

/// How often a server is read at a turn: others have theirs then.
const RECEIVES_MAX: usize = 8;

/// The size of the buffer that answers are read into.
pub(super) const RECEIVE_BYTES: usize = 4096;

/// A check whose server has to do something.
pub(super) struct UnderWay {
    pub(super) target: usize,
    pub(super) socket: Descriptor,
    /// The server's addresses, of which the last one is tried now.
    pub(super) walk: Walk,
    pub(super) deadline: Instant,
    /// What is said, once it is connected to.
    pub(super) dialogue: Option<Dialogue>,
}

/// What has become of a check.
pub(super) enum Outcome {
    /// It goes on.
    More,
    /// The connect failed: another address may work.
    Unconnected(io::Error),
    /// It is over.
    Over(Result<(), Failed>),
}

impl UnderWay {
    /// What it waits for.
    pub(super) fn interest(&self) -> PollFlags {
        match &self.dialogue {
            None => PollFlags::OUT,
            Some(dialogue) if dialogue.output().is_empty() => PollFlags::IN,
            Some(_) => PollFlags::IN | PollFlags::OUT,
        }
    }

    /// Goes on, as what it waits for may have come.
    pub(super) fn advance(&mut self, target: &Asked, buffer: &mut [u8], now: Instant) -> Outcome {
        if self.dialogue.is_none() {
            match self.socket.take_error() {
                Err(error) => return Outcome::Unconnected(error),
                Ok(()) if target.is_checked_where_it_serves() => self.walk.on_success(),
                Ok(()) => {}
            }
            let (dialogue, progress) = match target.begin_dialogue() {
                Some(Ok(begun)) => begun,
                Some(Err(failed)) => return Outcome::Over(Err(failed)),
                None => {
                    self.greet(target.preface());
                    return Outcome::Over(Ok(()));
                }
            };
            let dialogue = self.dialogue.insert(dialogue);
            if let Some(over) = over(progress, &self.socket, dialogue) {
                return Outcome::Over(over);
            }
        }
        match self.talk(buffer) {
            None if self.deadline <= now => self.on_late(),
            None => Outcome::More,
            Some(over) => Outcome::Over(over),
        }
    }

    /// Its time is over.
    pub(super) fn on_late(&mut self) -> Outcome {
        match &self.dialogue {
            None => Outcome::Unconnected(io::ErrorKind::TimedOut.into()),
            Some(_) => Outcome::Over(Err(Failed {
                fault: ConnectFailure::Timeout.into(),
                detail: Some("it was connected to, and has not answered as it should".to_owned()),
            })),
        }
    }

    /// Tells a server that nobody is announced: without a header it would take the check for a broken client. A socket that was
    /// connected just now has room for it, and a server that is gone already has taken the connect all the same.
    fn greet(&self, preface: &[u8]) {
        if !preface.is_empty() {
            let _ = self.socket.send(preface);
        }
    }

    /// Sends and receives what it can; none: it goes on.
    fn talk(&mut self, buffer: &mut [u8]) -> Option<Result<(), Failed>> {
        let dialogue = self.dialogue.as_mut()?;
        for _ in 0..RECEIVES_MAX {
            // What a server has said before it closed counts, even if it didn't take all.
            let sent = send(&self.socket, dialogue);
            let progress = match self.socket.receive(buffer) {
                Ok(Attempt::Blocked) => {
                    return sent.err().map(|error| Err(Fault::of(&error).into()));
                }
                Ok(Attempt::Drained(0) | Attempt::Done(0)) => dialogue.on_end(),
                Ok(Attempt::Drained(count) | Attempt::Done(count)) => {
                    dialogue.on_receive(&buffer[..count])
                }
                Err(error) => return Some(Err(Fault::of(&error).into())),
            };
            let over = over(progress, &self.socket, dialogue);
            if over.is_some() {
                return over;
            }
        }
        None
    }
}

/// What is left to do for this progress: none, a farewell, or nothing any more.
fn over(
    progress: Progress,
    socket: &Descriptor,
    dialogue: &mut Dialogue,
) -> Option<Result<(), Failed>> {
    match progress {
        Progress::More => None,
        Progress::Passed => {
            // A server that is gone already has passed all the same.
            let _ = send(socket, dialogue);
            Some(Ok(()))
        }
        Progress::Failed(why) => Some(Err(Failed::answer(why))),
    }
}

fn send(socket: &Descriptor, dialogue: &mut Dialogue) -> io::Result<()> {
    while !dialogue.output().is_empty() {
        match socket.send(dialogue.output())? {
            Attempt::Blocked => return Ok(()),
            Attempt::Done(count) | Attempt::Drained(count) => dialogue.on_sent(count),
        }
    }
    Ok(())
}
