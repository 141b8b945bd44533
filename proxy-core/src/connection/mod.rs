//! One connection, from accept to close, as one value.
//!
//! Everything that a connection is stands in [`Connection`]: two descriptors, the relay's state, a timer. It is
//! run by whoever owns it, so it can be handed to another core between two runs: as it is, where the scheduler's
//! sockets may go anywhere, or as a [`Detached`] one.

mod affinity;
mod asking;
mod attempts;
mod closing;
pub(crate) mod connect;
pub(crate) mod detached;
pub(crate) mod end;
mod ending;
pub(crate) mod ends;
mod entry;
mod first;
mod hand_over;
pub(crate) mod live;
pub(crate) mod origin;
pub(crate) mod probation;
mod prologue;
pub(crate) mod record;
mod silence;
pub(crate) mod times;
mod trial;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::connection::attempts::Attempts;
use crate::connection::closing::earliest;
use crate::connection::connect::{Client, Connect, Connected};
use crate::connection::entry::Entry;
use crate::connection::first::{First, Opening};
use crate::connection::origin::Origin;
use crate::connection::probation::{Course, Probation};
use crate::connection::prologue::Undecided;
use crate::connection::times::Clocks;
use crate::connection::trial::Trial;
use crate::listener::permit::Permit;
use crate::metrics::{Cause, Slot};
use crate::relay::buffer::BUFFER_BYTES;
use crate::relay::pace::Budget;
use crate::relay::{Progress, Relay, Sides, State};
use crate::route::Destination;
use crate::runtime::{Interest, Runtime, Socket, Timer};
use crate::transport::Transport;
use crate::upstream::taken::Taken;
use crate::worker::Worker;

/// How often a side that is not being read, as the other one is stalled or as its end was read, is looked at for a
/// reset.
pub const STALL_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a connection has been silent when it is looked at for bytes behind an urgent mark, where the scheduler isn't told
/// of marks. Once for each time that it falls silent.
pub const MARK_CHECK_AFTER: Duration = Duration::from_millis(250);

/// How long a side may take nothing, after the other one was lost, before what is on its way to it is given up and it is
/// reset. The idle timeout, where it is shorter.
pub const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(60);

/// Bytes from which a run of a connection is a long one: it takes several times as long as that of a small message, and
/// requests and answers of 16 KiB are not yet among them.
pub const LONG_TURN_BYTES: u64 = BUFFER_BYTES as u64 / 2;

/// A client's connection and what is done for it.
pub struct Connection<R: Runtime> {
    entry: Entry,
    phase: Phase<R>,
    timer: R::Timer,
    last_byte_at: Instant,
    stall_check_at: Option<Instant>,
    /// None where the listener has no times that need it.
    clocks: Option<Box<Clocks>>,
    mark_check_at: Option<Instant>,
    /// The worker that ran it last.
    ran_by: Slot,
    moves: u32,
    was_long: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "most connections are relaying for most of their time"
)]
enum Phase<R: Runtime> {
    /// It is not decided yet where it goes. Only where the listener hears its clients first, or has routes.
    Prologue {
        client: R::Socket,
        undecided: Box<Undecided>,
    },
    Connecting {
        client: R::Socket,
        /// Much more than what comes after it, which lasts longer.
        connect: Box<Connect<R>>,
    },
    Relaying(Relaying<R::Socket>),
    /// It ended, or was detached.
    Over,
}

/// Both sides, and what is between them.
struct Relaying<S> {
    /// Given back before the client can know of the end: it may come again at once.
    taken: Taken,
    client: S,
    server: S,
    attempts: Attempts,
    relay: Relay,
    /// Whether its server does anything with it; none: that is known, or nobody wants to know.
    trial: Option<Trial>,
    /// Another server may take the place of this one as long as it has nothing of the client's.
    probation: Option<Box<Probation>>,
}

/// What a run of a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It waits for a descriptor or its timer: the scheduler knows which.
    Waiting,
    /// It has more to do, and others are to have their turn first.
    Again,
    /// It is over and counted: drop it.
    Ended(Cause),
}

impl<R: Runtime> Connection<R> {
    /// A connection that was admitted, on the worker that will run it first.
    pub fn new(
        runtime: &R,
        worker: &Worker,
        permit: Permit,
        client: R::Socket,
        origin: Origin,
    ) -> Self {
        worker.cells().started.increment();
        let undecided = Undecided::new(permit.settings(), origin, client.transport());
        let in_prologue = undecided.as_ref().is_some_and(|one| one.is_hearing());
        let phase = match undecided {
            Some(undecided) => {
                if undecided.awaits_bytes() {
                    // They are mostly there before the scheduler has heard of them.
                    client.assume_ready(Interest::Read);
                }
                Phase::Prologue { client, undecided }
            }
            None => {
                let upstream = permit.settings().pool.upstream();
                upstream.cells.of(worker.slot()).waits_begun.increment();
                let (accepted_at, now) = (origin.accepted_at, worker.now);
                let (to, peer) = (Destination::DEFAULT, origin.peer);
                let connect = Box::new(Connect::new(accepted_at, peer, to, None, now));
                Phase::Connecting { client, connect }
            }
        };
        Self {
            entry: Entry::new(permit, worker.slot(), origin, in_prologue),
            phase,
            timer: runtime.timer(),
            last_byte_at: worker.now,
            stall_check_at: None,
            clocks: None,
            mark_check_at: None,
            ran_by: worker.slot(),
            moves: 0,
            was_long: false,
        }
    }

    /// Whether its last run moved [`LONG_TURN_BYTES`] or more, so that the next one may as well. A scheduler may
    /// want to run others first.
    pub const fn was_long(&self) -> bool {
        self.was_long
    }

    /// Does what can be done now. A panic ends the connection, and no other one.
    ///
    /// After [`Turn::Ended`] it must not be run again.
    pub fn poll(&mut self, cx: &mut Context<'_>, runtime: &R, worker: &mut Worker) -> Turn {
        // What a panic leaves half done is this connection's, which is over then.
        catch_unwind(AssertUnwindSafe(|| self.run(cx, runtime, worker)))
            .unwrap_or_else(|_| self.end_after_panic(worker))
    }

    fn run(&mut self, cx: &mut Context<'_>, runtime: &R, worker: &mut Worker) -> Turn {
        self.settle(worker);
        if !matches!(self.phase, Phase::Relaying(_))
            && let Some(turn) = self.find_server(cx, runtime, worker)
        {
            return turn;
        }
        let mut turn = self.relay(cx, worker);
        if turn == Turn::Waiting
            && (self.has_expired(worker.now) || self.is_mark_check_due(worker.now))
        {
            // The process, or its machine, may have stood still: what came meanwhile is not idleness.
            if let Phase::Relaying(Relaying {
                client,
                server,
                relay,
                ..
            }) = &mut self.phase
            {
                relay.assume_ready(client, server);
            }
            turn = self.relay(cx, worker);
        }
        // Sides that never stop sending have their time end, too.
        if turn == Turn::Waiting || self.has_expired(worker.now) {
            self.wait(cx, worker)
        } else {
            turn
        }
    }

    /// What comes before it has a server. None once it has one.
    fn find_server(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &R,
        worker: &mut Worker,
    ) -> Option<Turn> {
        let begun_at = self.entry.record.accepted_at();
        let ending = earliest(self.ending(worker, begun_at), self.lifetime());
        if let Some(ending) = ending.filter(|ending| ending.at <= worker.now) {
            // There is nothing to be closed in an orderly manner.
            self.reset_both();
            return Some(self.end(worker, ending.cause));
        }
        let turn = self.find_server_by(cx, runtime, worker);
        if let (Some(Turn::Waiting), Some(ending)) = (turn, ending) {
            // Its moment is ahead, so this only arms.
            let _ = self.timer.poll_until(cx, worker.now, ending.at);
        }
        turn
    }

    fn find_server_by(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &R,
        worker: &mut Worker,
    ) -> Option<Turn> {
        if let Some(turn) = self.begin(cx, worker) {
            return Some(turn);
        }
        if let Phase::Connecting { client, connect } = &mut self.phase {
            if let Client::Gone = connect.check_client(client.transport(), worker.now) {
                client.transport().reset_on_close();
                return Some(self.end(worker, Cause::ClientReset));
            }
            match connect.poll(
                cx,
                runtime,
                worker,
                &mut self.entry,
                client,
                &mut self.timer,
            ) {
                Poll::Pending => {
                    if let Client::Gone = connect.watch_client(cx, client) {
                        client.transport().reset_on_close();
                        return Some(self.end(worker, Cause::ClientReset));
                    }
                    return Some(Turn::Waiting);
                }
                Poll::Ready(Err(no_server)) => return Some(self.end_unserved(worker, no_server)),
                Poll::Ready(Ok(connected)) => self.begin_relaying(worker, connected),
            }
            // Its server may have been removed meanwhile.
            self.on_change(worker);
        }
        None
    }

    /// As among the live connections.
    pub fn id(&self) -> u64 {
        self.entry.record.id()
    }

    /// How often it was attached to another worker.
    pub fn moves(&self) -> u32 {
        self.moves
    }

    /// It is decided where it goes.
    fn begin_connecting(
        &mut self,
        worker: &Worker,
        destination: Destination,
        first: Option<Box<First>>,
    ) {
        if let Phase::Prologue { client, .. } = std::mem::replace(&mut self.phase, Phase::Over) {
            let pool = self.entry.settings().pool_of(destination);
            let cells = pool.upstream().cells.of(worker.slot());
            cells.waits_begun.increment();
            let record = &self.entry.record;
            let (accepted_at, who) = (record.accepted_at(), record.client());
            self.phase = Phase::Connecting {
                client,
                connect: Box::new(Connect::new(
                    accepted_at,
                    who,
                    destination,
                    first,
                    worker.now,
                )),
            };
        }
    }

    fn begin_relaying(&mut self, worker: &mut Worker, connected: Connected<R::Socket>) {
        if let Phase::Connecting {
            client,
            mut connect,
        } = std::mem::replace(&mut self.phase, Phase::Over)
        {
            self.last_byte_at = worker.now;
            let record = &self.entry.record;
            record.on_connected(connected.taken.server().clone(), worker.now);
            let settings = self.entry.settings();
            self.clocks = Clocks::start(&settings.times, record, worker.now);
            let (pool, way) = (connect.pool(settings), connect.way());
            pool.upstream()
                .cells
                .of(worker.slot())
                .waits_over
                .increment();
            let has_spoken = connect.has_spoken();
            let mut relay = Relay::new(settings.splice);
            let send_proxy = pool.settings().send_proxy;
            let first = connect.first.take();
            let mut search = None;
            // Who has said something already has served it, about TLS as well. And another search would begin with the settings that it has.
            if connected.lost.is_none() && !connected.was_asked && way.is_some() {
                let at = (connected.place, connected.walk);
                search = connect.into_search(&pool, first.as_deref(), at);
            }
            if first.is_some() || send_proxy.is_some() {
                let local = || client.transport().local_address().ok().flatten();
                let send_proxy = send_proxy.filter(|_| !connected.was_asked);
                let opening = Opening::new(first, send_proxy, record, local);
                if let Some(Opening { held, own }) = opening {
                    relay.open_with(held, own);
                }
            }
            let probation = search.map(|search| {
                relay.hold_end();
                Box::new(Probation::new(search, relay.opening(), &pool, worker.now))
            });
            if let Some(failure) = connected.lost {
                relay.on_lost(&mut worker.buffers, failure);
            }
            // The client's first bytes are often there before the scheduler has heard of them. Those that follow the ones of a
            // prologue are waited for: a receive that left any keeps its readiness.
            if !has_spoken {
                client.assume_ready(Interest::Read);
            }
            client.assume_ready(Interest::Write);
            let is_tried = pool.early().is_some();
            let way = way.filter(|_| is_tried);
            let trial = way.map(|way| Trial::begin(way, connected.place, worker.now));
            self.phase = Phase::Relaying(Relaying {
                taken: connected.taken,
                client,
                server: connected.socket,
                attempts: connected.attempts,
                relay,
                trial,
                probation,
            });
        }
    }

    /// Counts the run, and a move since the last one.
    fn settle(&mut self, worker: &Worker) {
        let cells = worker.cells();
        cells.polls.increment();
        worker.activity.note();
        if self.ran_by != worker.slot() {
            cells.taken_from.of(self.ran_by).increment();
            self.ran_by = worker.slot();
            self.entry.record.on_moved(worker.index);
        }
    }

    fn relay(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> Turn {
        if self.is_on_probation() && self.check_server(worker) == Course::Connects {
            return Turn::Again;
        }
        let Phase::Relaying(relaying) = &mut self.phase else {
            return Turn::Waiting;
        };
        let listener = &self.entry.settings().listener;
        let most = listener.share.turn_bytes();
        let budget = if listener.bandwidth.generation() == 0 {
            Budget::both(most)
        } else {
            let (slot, now) = (worker.slot(), worker.now);
            relaying.relay.budget(&listener.bandwidth, slot, now, most)
        };
        let progress = relaying.poll(cx, worker, budget);
        self.was_long = progress.up + progress.down >= LONG_TURN_BYTES;
        if progress.up + progress.down > 0 {
            let cells = listener.cells.of(worker.slot());
            cells.bytes_in.add(progress.up);
            cells.bytes_out.add(progress.down);
            cells.bytes_spliced.add(progress.spliced);
            let record = &self.entry.record;
            if let Some(server) = record.server() {
                let cells = server.cells.of(worker.slot());
                cells.bytes_in.add(progress.up);
                cells.bytes_out.add(progress.down);
            }
            record.on_bytes(progress.up, progress.down, worker.now);
        }
        if progress.advanced {
            self.last_byte_at = worker.now;
            if self.mark_check_at.is_none() && !relaying.client.sees_marks() {
                self.mark_check_at = Some(worker.now + MARK_CHECK_AFTER);
            }
        }
        if let Some(clocks) = &mut self.clocks {
            clocks.on_turn(&progress, &relaying.relay, worker.now);
        }
        let mut course = Course::Relays;
        if relaying.probation.is_some() {
            course = self.judge_server(worker, &progress.state);
        }
        let Phase::Relaying(relaying) = &mut self.phase else {
            // It looks for another server.
            return Turn::Again;
        };
        if let Some(trial) = relaying.trial {
            let settings = self.entry.settings();
            let relay = &relaying.relay;
            if trial.on_turn(relay, &progress.state, settings, worker.now) {
                relaying.trial = None;
            }
        }
        match progress.state {
            State::Waiting if course == Course::EndsNext => Turn::Again,
            State::Waiting => Turn::Waiting,
            State::Again => Turn::Again,
            State::Finished => self.end(worker, Cause::Finished),
            State::Failed(failure) => self.fail(worker, failure),
        }
    }
}

impl<S: Socket> Relaying<S> {
    fn poll(&mut self, cx: &mut Context<'_>, worker: &mut Worker, budget: Budget) -> Progress {
        let (slot, now) = (worker.slot(), worker.now);
        let buffers = &mut worker.buffers;
        self.relay.poll(Sides {
            cx,
            buffers,
            client: &self.client,
            server: &self.server,
            budget,
            slot,
            now,
        })
    }
}
