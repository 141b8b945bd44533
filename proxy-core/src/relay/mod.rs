//! The relay: both directions of a connection, with their system calls.

pub(crate) mod buffer;
pub(crate) mod bulk;
mod carried;
pub mod direction;
pub(crate) mod flow;
pub(crate) mod pace;
pub(crate) mod pipe;

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::admission::bandwidth::{self, Bandwidth};
use crate::connection::end::Stage;
use crate::metrics::Slot;
use crate::relay::buffer::{BUFFER_BYTES, Buffers, Held};
use crate::relay::flow::{End, Flow, OnEnd, Source, TURN_BYTES_MAX, Terms, Turn, Way};
use crate::relay::pace::{Budget, Pace};
use crate::runtime::{Interest, Socket};
use crate::transport::Transport;

/// How long the first look for acknowledgements waits, after a side was lost. Each one waits twice as long as the one
/// before.
const FIRST_ACKNOWLEDGEMENT_CHECK: Duration = Duration::from_millis(1);

/// How long they come to wait.
const LAST_ACKNOWLEDGEMENT_CHECK: Duration = Duration::from_millis(128);

/// Both directions of a connection.
#[derive(Debug)]
pub(crate) struct Relay {
    /// From the client to the server.
    up: Flow,
    /// From the server to the client.
    down: Flow,
    /// A side is lost, and its last words are still to arrive.
    lost: Option<Box<Lost>>,
    /// None while its listener's bandwidth was never limited.
    pace: Option<Box<Pace>>,
}

/// A side that was reset, or failed otherwise. What it had sent before is delivered before the other side is reset.
#[derive(Debug)]
struct Lost {
    failure: Failure,
    /// What the other side had not acknowledged at the last look.
    unacknowledged: usize,
    /// How long to wait for the next look.
    check_after: Duration,
}

/// What a turn of the relay came to.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Bytes that the server took.
    pub(crate) up: u64,
    /// Bytes that the client took.
    pub(crate) down: u64,
    /// How many of all these were not copied.
    pub(crate) spliced: u64,
    /// Bytes arrived at a side, those of an earlier turn among them; or a side was lost, and the other one's patience begins.
    pub(crate) advanced: bool,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(crate) enum State {
    /// Nothing can be done until a descriptor is ready.
    Waiting,
    /// The budget is spent.
    Again,
    /// Both ends were passed on.
    Finished,
    /// A side is gone; the other one is to be reset.
    Failed(Failure),
}

/// Which side is gone, and what the kernel said.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) side: Side,
    pub(crate) error: io::Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What a turn of the relay works with: both sides, what the worker lends, and a budget.
pub(crate) struct Sides<'a, 'c, S> {
    pub(crate) cx: &'a mut Context<'c>,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) client: &'a S,
    pub(crate) server: &'a S,
    pub(crate) budget: Budget,
    pub(crate) slot: Slot,
    pub(crate) now: Instant,
}

impl<'c, S> Sides<'_, 'c, S> {
    /// The way from one side to the other.
    fn from(&mut self, side: Side) -> Way<'_, 'c, S> {
        let (source, destination) = match side {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        };
        Way {
            cx: self.cx,
            buffers: self.buffers,
            source,
            destination,
        }
    }
}

impl Relay {
    /// A relay that has seen no byte; `splice` says whether bulk may go through pipes.
    pub(crate) const fn new(splice: bool) -> Self {
        Self {
            up: Flow::new(splice),
            down: Flow::new(splice),
            lost: None,
            pace: None,
        }
    }

    /// What may be received now, `most` a direction, where the listener's bandwidth is or was limited.
    pub(crate) fn budget(
        &mut self,
        bandwidth: &Bandwidth,
        slot: Slot,
        now: Instant,
        most: usize,
    ) -> Budget {
        let pace = match &mut self.pace {
            Some(pace) if pace.is_of(bandwidth.generation()) => pace,
            pace => {
                let waits = pace.as_ref().is_none_or(|pace| pace.has_opening());
                pace.iter_mut().for_each(|pace| pace.give_up());
                let pace = pace.insert(Box::new(Pace::new(bandwidth, now)));
                let opening = self.up.unsent_opening();
                if waits && opening > 0 {
                    pace.on_opening(opening, now);
                }
                pace
            }
        };
        pace.budget(slot, now, most)
    }

    /// When a direction that waits for its budget may receive again.
    pub(crate) fn paced_until(&self) -> Option<Instant> {
        self.pace.as_ref()?.waits_until()
    }

    fn waits_for_budget(&self, way: bandwidth::Way) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.waits(way))
    }

    /// Has the server get these bytes first, of which the first `own` are not the client's. It is to be called before anything
    /// else.
    pub(crate) fn open_with(&mut self, held: Held, own: usize) {
        self.up.open_with(held, own);
    }

    /// Forwards what can be forwarded, within a budget.
    pub(crate) fn poll<S: Socket>(&mut self, mut sides: Sides<'_, '_, S>) -> Progress {
        let before = (self.up.forwarded(), self.down.forwarded(), self.spliced());
        let unacknowledged = self.unacknowledged();
        let both_lived = self.lost.is_none();
        let received = (self.up.received(), self.down.received());
        let state = self.turn(&mut sides);
        if sides.budget.is_paced
            && let Some(pace) = &mut self.pace
        {
            let (slot, now) = (sides.slot, sides.now);
            let up = self.up.received().saturating_sub(received.0);
            let down = self.down.received().saturating_sub(received.1);
            pace.on_received(bandwidth::Way::Up, slot, now, up);
            pace.on_received(bandwidth::Way::Down, slot, now, down);
        }
        let up = self.up.forwarded() - before.0;
        let down = self.down.forwarded() - before.1;
        if up > 0 {
            self.down.on_turned();
        }
        if down > 0 {
            self.up.on_turned();
        }
        Progress {
            up,
            down,
            spliced: self.spliced() - before.2,
            advanced: up + down > 0
                || self.unacknowledged() < unacknowledged
                || both_lived && self.lost.is_some(),
            state,
        }
    }

    /// Has the next turn ask the kernel itself for bytes and room, whatever the scheduler has heard of.
    pub(crate) fn assume_ready<S: Socket>(&mut self, client: &S, server: &S) {
        self.up.copy_next();
        self.down.copy_next();
        for socket in [client, server] {
            socket.assume_ready(Interest::Read);
            socket.assume_ready(Interest::Write);
        }
    }

    /// A side is lost, which something else than a turn has found out. The next turn delivers what it had said.
    pub(crate) fn on_lost(&mut self, buffers: &mut Buffers, failure: Failure) {
        match failure.side {
            Side::Client => self.down.give_up(buffers),
            Side::Server => self.up.give_up(buffers),
        }
        self.lost.get_or_insert_with(|| {
            Box::new(Lost {
                failure,
                unacknowledged: 0,
                check_after: FIRST_ACKNOWLEDGEMENT_CHECK,
            })
        });
    }

    /// How long to wait for the next look at whether the last words of a side that is lost have arrived; none while
    /// both sides live.
    pub(crate) fn check_after(&self) -> Option<Duration> {
        self.lost.as_ref().map(|lost| lost.check_after)
    }

    /// The loss of a side, if one is lost: nobody waits any longer for its last words to arrive.
    pub(crate) fn take_loss(&mut self) -> Option<Failure> {
        self.lost.take().map(|lost| lost.failure)
    }

    fn unacknowledged(&self) -> usize {
        self.lost.as_ref().map_or(0, |lost| lost.unacknowledged)
    }

    fn spliced(&self) -> u64 {
        self.up.spliced() + self.down.spliced()
    }

    /// Whether bytes are held for a side that is slow, or stuck.
    pub(crate) fn holds_bytes(&self) -> bool {
        self.up.held() > 0 || self.down.held() > 0
    }

    /// Whether it is the server alone that bytes are held for.
    pub(crate) fn waits_for_server(&self) -> bool {
        self.up.held() > 0 && self.down.held() == 0
    }

    /// Whether the client is read from: its stream is open, and no byte of it waits for the server.
    pub(crate) fn reads_client(&self) -> bool {
        !self.up.is_resting() && !self.waits_for_budget(bandwidth::Way::Up)
    }

    /// The same of the server.
    pub(crate) fn reads_server(&self) -> bool {
        !self.down.is_resting() && !self.waits_for_budget(bandwidth::Way::Down)
    }

    /// Whether the end of a side's stream was read.
    pub(crate) fn has_ended_side(&self) -> bool {
        self.up.source_has_ended() || self.down.source_has_ended()
    }

    /// Whether the end of this side's stream was read.
    pub(crate) fn has_ended(&self, side: Side) -> bool {
        match side {
            Side::Client => self.up.source_has_ended(),
            Side::Server => self.down.source_has_ended(),
        }
    }

    /// Bytes that the server is opened with.
    pub(crate) fn opening(&self) -> u64 {
        self.up.received()
    }

    /// Keeps the end of the server's stream from the client until [`Relay::release_end`].
    pub(crate) fn hold_end(&mut self) {
        self.down.hold_end();
    }

    /// Whether the end of the server's stream was kept from the client, which the next turn passes on.
    pub(crate) fn release_end(&mut self) -> bool {
        self.down.release_end()
    }

    /// Whether the server has nothing of the client's but what it was opened with, of so many bytes, and not even that.
    pub(crate) fn is_untouched(&self, opening: u64) -> bool {
        self.up.is_untouched(opening)
    }

    /// Whether a byte of the server's was received.
    pub(crate) fn server_has_spoken(&self) -> bool {
        self.down.received() > 0
    }

    /// What it is at.
    pub(crate) fn stage(&self) -> Stage {
        if self.down.source_has_ended() {
            Stage::Last
        } else {
            Stage::Data
        }
    }

    /// Whether a side is not being read, so that its reset would go unnoticed: because the other side holds it up,
    /// or because its end was read before.
    pub(crate) fn has_unread_side(&self) -> bool {
        self.lost.is_none() && (self.up.is_resting() || self.down.is_resting())
    }

    /// Looks for a reset of a side that is not being read.
    pub(crate) fn check_unread<S: Socket>(&self, client: &S, server: &S) -> Result<(), Failure> {
        for (flow, socket, side) in [
            (&self.up, client, Side::Client),
            (&self.down, server, Side::Server),
        ] {
            if flow.is_resting() {
                socket
                    .transport()
                    .take_error()
                    .map_err(|error| Failure { side, error })?;
            }
        }
        Ok(())
    }

    /// Gives its memory back.
    pub(crate) fn release(&mut self, buffers: &mut Buffers) {
        self.pace.iter_mut().for_each(|pace| pace.give_up());
        self.up.release(buffers);
        self.down.release(buffers);
    }

    fn turn<S: Socket>(&mut self, sides: &mut Sides<'_, '_, S>) -> State {
        if self.lost.is_none() {
            match self.both(sides) {
                Ok(state) => return state,
                Err(failure) => self.on_lost(sides.buffers, failure),
            }
        }
        self.last_words(sides)
    }

    fn both<S: Socket>(&mut self, sides: &mut Sides<'_, '_, S>) -> Result<State, Failure> {
        let budget = sides.budget;
        let terms = |flow: &Flow, other: &Flow, bytes| Terms {
            budget: budget.of(bytes, flow),
            is_paced: budget.is_paced,
            on_end: on_end_beside(other),
            source: Source::Live,
        };
        let up_terms = terms(&self.up, &self.down, budget.up);
        let up = if budget.holds_up {
            Turn::Waiting
        } else {
            let polled = self.up.poll(&mut sides.from(Side::Client), up_terms);
            polled.map_err(|end| failure(end, Side::Client, Side::Server))?
        };
        let down_terms = terms(&self.down, &self.up, budget.down);
        let down = self
            .down
            .poll(&mut sides.from(Side::Server), down_terms)
            .map_err(|end| failure(end, Side::Server, Side::Client))?;
        Ok(if self.up.is_ended() && self.down.is_ended() {
            State::Finished
        } else if up == Turn::Spent && budget.up > 0 || down == Turn::Spent && budget.down > 0 {
            State::Again
        } else {
            State::Waiting
        })
    }

    /// Delivers what the kernel still has of a side that is lost. It fails once that has arrived at the other side, which
    /// is to be reset then, and no sooner: a reset throws away what is on its way.
    fn last_words<S: Socket>(&mut self, sides: &mut Sides<'_, '_, S>) -> State {
        let Some(lost) = &mut self.lost else {
            return State::Waiting;
        };
        let side = lost.failure.side;
        let (flow, other, bytes) = match side {
            Side::Client => (&mut self.up, Side::Server, sides.budget.up),
            Side::Server => (&mut self.down, Side::Client, sides.budget.down),
        };
        let terms = Terms {
            budget: sides.budget.of(bytes, flow),
            is_paced: sides.budget.is_paced,
            on_end: OnEnd::PassOn,
            source: Source::Gone,
        };
        let told = match flow.poll(&mut sides.from(side), terms) {
            Ok(Turn::Spent) if bytes > 0 => return State::Again,
            Ok(_) => flow.is_ended(),
            // Now both are.
            Err(_) => return self.failed(),
        };
        if told {
            // Who can't be asked is not waited for, nor who was reset after its end: a receive doesn't say that, and the kernel goes on
            // counting what nobody acknowledges any more.
            let sides = sides.from(side);
            let transport = sides.destination.transport();
            let lives = transport.take_error();
            let left = lives.and_then(|()| transport.unacknowledged());
            lost.unacknowledged = left.unwrap_or(0);
            if lost.unacknowledged == 0 {
                return self.failed();
            }
        }
        lost.check_after = (lost.check_after * 2).min(LAST_ACKNOWLEDGEMENT_CHECK);
        // A peer that is stuck in sending to the one that is lost would never come to listen.
        match discard(&mut sides.from(other), TURN_BYTES_MAX) {
            Ok(Turn::Spent) => State::Again,
            Ok(Turn::Waiting) => State::Waiting,
            Err(_) => self.failed(),
        }
    }

    fn failed(&mut self) -> State {
        self.take_loss().map_or(State::Waiting, State::Failed)
    }
}

/// Receives what can't be delivered any more, within a budget of so many bytes.
fn discard<S: Socket>(way: &mut Way<'_, '_, S>, budget: usize) -> io::Result<Turn> {
    let mut discarded = 0;
    while discarded < budget {
        match way.receive(BUFFER_BYTES) {
            Poll::Ready(Ok(0)) | Poll::Pending => return Ok(Turn::Waiting),
            Poll::Ready(Ok(count)) => discarded += count,
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    Ok(Turn::Spent)
}

/// What a direction does with the end of its stream beside the `other` one. Once the other one has ended too, both
/// sockets are closed, with nothing unread in them: that passes the end on.
fn on_end_beside(other: &Flow) -> OnEnd {
    if other.is_ended() {
        OnEnd::LeaveToClose
    } else {
        OnEnd::PassOn
    }
}

fn failure(end: End, source: Side, destination: Side) -> Failure {
    match end {
        End::Source(error) => Failure {
            side: source,
            error,
        },
        End::Destination(error) => Failure {
            side: destination,
            error,
        },
    }
}
