//! One direction of a relay with its system calls: small messages are copied, bulk goes through a pipe.

pub(super) mod carried;

use std::io;
use std::task::{Context, Poll};

use crate::relay::buffer::{BUFFER_BYTES, Buffers, Held};
use crate::relay::bulk::Bulk;
use crate::relay::direction::{Direction, Step};
use crate::relay::pipe::{PIPE_BYTES, Pipe};
use crate::runtime::{Interest, Socket};
use crate::transport::Transport;

/// Bytes that one direction forwards before others get their turn.
pub const TURN_BYTES_MAX: usize = 256 * 1024;

/// The same for a listener with very few shares: less would cost a pipe more than it saves.
pub const TURN_BYTES_MIN: usize = 16 * 1024;

/// Receives that one direction makes before others get their turn.
pub const TURN_STEPS_MAX: u32 = 32;

/// One direction: its state, and where the bytes are that the state counts as held.
#[derive(Debug)]
pub(crate) struct Flow {
    state: Direction,
    store: Store,
    bulk: Bulk,
    /// The next receive copies: only that passes an urgent mark.
    copies_next: bool,
    /// Bytes at the beginning of what is sent that are not the source's.
    own: u32,
    /// None but these are held, and nothing was done yet.
    opens: bool,
    /// The end of the source's stream is not passed on for now.
    holds_end: bool,
    /// Bytes were received that the destination did not take and that are gone.
    has_lost: bool,
    spliced: u64,
}

/// Where held bytes are.
#[derive(Debug)]
enum Store {
    Nowhere,
    Buffer(Held),
    Pipe(Pipe),
}

/// What a turn of one direction left.
#[derive(PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing can be done until a descriptor is ready.
    Waiting,
    /// The budget is spent.
    Spent,
}

/// What a direction is to do in a turn.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// Bytes that it may forward.
    pub(crate) budget: usize,
    /// No receive may take more than is left of it.
    pub(crate) is_paced: bool,
    pub(crate) on_end: OnEnd,
    pub(crate) source: Source,
}

/// What a direction works with in a turn: its two ends, and what its worker lends.
pub(crate) struct Way<'a, 'c, S> {
    pub(crate) cx: &'a mut Context<'c>,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) source: &'a S,
    pub(crate) destination: &'a S,
}

impl<S: Socket> Way<'_, '_, S> {
    /// Receives `most` bytes into the scratch buffer, [`BUFFER_BYTES`] at most.
    pub(crate) fn receive(&mut self, most: usize) -> Poll<io::Result<usize>> {
        let Self { cx, buffers, .. } = self;
        self.source.poll_io(cx, Interest::Read, |transport| {
            transport.receive(&mut buffers.scratch()[..most])
        })
    }
}

/// What to do at the end of the source's stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnEnd {
    PassOn,
    /// Leave it to the close, which comes next, as the other direction has ended: a system call less a connection.
    LeaveToClose,
}

/// What is known of the source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Bytes may come.
    Live,
    /// It was reset, or failed otherwise. What it had sent before lies in the kernel, and no event tells of it.
    Gone,
}

/// Which end of a direction failed.
pub(crate) enum End {
    Source(io::Error),
    Destination(io::Error),
}

impl Flow {
    pub(crate) const fn new(splice: bool) -> Self {
        Self {
            state: Direction::new(),
            store: Store::Nowhere,
            bulk: Bulk::new(splice),
            copies_next: false,
            own: 0,
            opens: false,
            holds_end: false,
            has_lost: false,
            spliced: 0,
        }
    }

    /// Has bytes go out first, of which the first `own` are not the source's. It is to be called before anything else.
    pub(crate) fn open_with(&mut self, held: Held, own: usize) {
        self.state.on_received(held.bytes().len());
        self.opens = held.bytes().len() == own;
        self.store = Store::Buffer(held);
        self.own = own as u32;
    }

    /// Bytes of the source's that it was opened with, as long as nothing was sent.
    pub(crate) const fn unsent_opening(&self) -> u64 {
        match self.state.forwarded() {
            0 => (self.state.held() as u64).saturating_sub(self.own as u64),
            _ => 0,
        }
    }

    /// Bytes of the source's that the destination took.
    pub(crate) const fn forwarded(&self) -> u64 {
        self.state.forwarded().saturating_sub(self.own as u64)
    }

    /// Bytes that were received since it began.
    pub(crate) const fn received(&self) -> u64 {
        self.state.forwarded() + self.state.held() as u64
    }

    /// How many of them went through a pipe.
    pub(crate) const fn spliced(&self) -> u64 {
        self.spliced
    }

    /// Bytes that were received and not sent.
    pub(crate) const fn held(&self) -> usize {
        self.state.held()
    }

    /// Whether the source is not being read: its bytes are held up, or its end was read.
    pub(crate) const fn is_resting(&self) -> bool {
        self.state.held() > 0 || self.state.is_ended()
    }

    /// Whether nothing more will be done.
    pub(crate) const fn is_ended(&self) -> bool {
        self.state.is_ended()
    }

    /// Whether the source's end was read.
    pub(crate) const fn source_has_ended(&self) -> bool {
        self.state.source_has_ended()
    }

    /// Passes on no end of the source's stream until [`Flow::release_end`].
    pub(crate) const fn hold_end(&mut self) {
        self.holds_end = true;
    }

    /// Whether an end was held, which the next turn passes on.
    pub(crate) const fn release_end(&mut self) -> bool {
        self.holds_end = false;
        matches!(self.state.step(), Step::ShutDown)
    }

    /// Whether the destination has no byte of the source's, and none was received besides the first `bytes` that it was opened with.
    pub(crate) const fn is_untouched(&self, bytes: u64) -> bool {
        self.forwarded() == 0 && self.received() <= bytes && !self.has_lost
    }

    /// Has the next receive copy.
    pub(crate) const fn copy_next(&mut self) {
        self.copies_next = true;
    }

    /// The other direction moved bytes.
    pub(crate) const fn on_turned(&mut self) {
        self.bulk.on_turned();
    }

    /// Forwards what can be forwarded.
    pub(crate) fn poll<S: Socket>(
        &mut self,
        way: &mut Way<'_, '_, S>,
        terms: Terms,
    ) -> Result<Turn, End> {
        let begin = self.state.forwarded();
        let mut steps = 0;
        loop {
            let spent = (self.state.forwarded() - begin) as usize;
            let done = match self.state.step() {
                Step::Receive => {
                    if steps == TURN_STEPS_MAX || spent >= terms.budget {
                        return Ok(Turn::Spent);
                    }
                    steps += 1;
                    let most = if terms.is_paced {
                        BUFFER_BYTES.min(terms.budget - spent)
                    } else {
                        BUFFER_BYTES
                    };
                    if terms.source == Source::Gone {
                        self.copy_last(way, most)
                    } else {
                        let copies = std::mem::take(&mut self.copies_next);
                        // Whether there is a mark is asked only where it matters.
                        let splices = self.bulk.splices() && !copies && !way.source.has_mark();
                        match splices.then(|| way.buffers.pipes.lend()).flatten() {
                            Some(pipe) => {
                                let count = PIPE_BYTES.min(terms.budget - spent);
                                self.splice_in(way, pipe, count, most)
                            }
                            None => self.copy(way, most),
                        }
                    }
                }
                Step::Send if std::mem::take(&mut self.opens) => self.open(way, terms),
                Step::Send => self.send_held(way),
                Step::ShutDown if self.holds_end => return Ok(Turn::Waiting),
                Step::ShutDown if terms.on_end == OnEnd::LeaveToClose => {
                    self.state.on_shut_down();
                    Poll::Ready(Ok(()))
                }
                Step::ShutDown => match way.destination.transport().shutdown_write() {
                    Ok(()) => {
                        self.state.on_shut_down();
                        Poll::Ready(Ok(()))
                    }
                    Err(error) => Poll::Ready(Err(End::Destination(error))),
                },
                Step::Rest => return Ok(Turn::Waiting),
            };
            match done {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => {
                    if matches!(end, End::Destination(_)) {
                        self.give_up(way.buffers);
                    }
                    return Err(end);
                }
                Poll::Pending => return Ok(Turn::Waiting),
            }
        }
    }

    /// Sends the bytes that are not the source's, together with the source's first ones where these are there: a send less, and
    /// a server that is woken once.
    fn open<S: Socket>(&mut self, way: &mut Way<'_, '_, S>, terms: Terms) -> Poll<Result<(), End>> {
        let Store::Buffer(held) = &self.store else {
            return self.send_held(way);
        };
        let (own, source) = (held.bytes().len(), way.source);
        let most = terms.budget.min(BUFFER_BYTES).saturating_sub(own);
        if most == 0 || terms.source == Source::Gone {
            return self.send_held(way);
        }
        let end = own + most;
        let room = &mut way.buffers.scratch()[own..end];
        let received = source.poll_io(way.cx, Interest::Read, |transport| transport.receive(room));
        match received {
            Poll::Pending => self.send_held(way),
            Poll::Ready(Err(error)) => Poll::Ready(Err(End::Source(error))),
            Poll::Ready(Ok(count)) => {
                self.state.on_received_more(count);
                if count == 0 {
                    return self.send_held(way);
                }
                way.buffers.scratch()[..own].copy_from_slice(held.bytes());
                self.release(way.buffers);
                self.bulk.on_copied(count, BUFFER_BYTES);
                self.send_from_scratch(way, own + count)
            }
        }
    }

    /// The destination is gone: nothing more is forwarded.
    pub(crate) fn give_up(&mut self, buffers: &mut Buffers) {
        // Before the state forgets what is held: a pipe with bytes in it must not go to another connection.
        self.release(buffers);
        self.state.on_abort();
    }

    /// Gives its memory back, and what is in it up.
    pub(crate) fn release(&mut self, buffers: &mut Buffers) {
        match std::mem::replace(&mut self.store, Store::Nowhere) {
            Store::Nowhere => {}
            Store::Buffer(held) => buffers.release(held),
            Store::Pipe(pipe) if self.state.held() == 0 => buffers.pipes.give_back(pipe),
            // It is closed, and what is in it is lost.
            Store::Pipe(_) => {}
        }
    }

    /// Receives into the scratch buffer, and sends from there what the destination takes.
    fn copy<S: Socket>(&mut self, way: &mut Way<'_, '_, S>, most: usize) -> Poll<Result<(), End>> {
        match way.receive(most) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(End::Source(error))),
            Poll::Ready(Ok(count)) => self.send_scratch(way, count),
        }
    }

    /// The same for a source that is gone: the kernel itself is asked for what is left. Where it says that there is nothing
    /// yet, the source only takes nothing any more, as a unix socket can (`SHUT_RD`), and may go on talking.
    fn copy_last<S: Socket>(
        &mut self,
        way: &mut Way<'_, '_, S>,
        most: usize,
    ) -> Poll<Result<(), End>> {
        way.source.assume_ready(Interest::Read);
        match way.receive(most) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(count @ 1..)) => self.send_scratch(way, count),
            // A socket that has told of its reset once looks like one at the end of its stream.
            Poll::Ready(Ok(0) | Err(_)) => {
                self.state.on_source_lost();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Sends the first bytes of the scratch buffer, which were received just now, and keeps what is not taken. None are
    /// the end of the source's stream.
    fn send_scratch<S: Socket>(
        &mut self,
        way: &mut Way<'_, '_, S>,
        received: usize,
    ) -> Poll<Result<(), End>> {
        self.state.on_received(received);
        self.bulk.on_copied(received, BUFFER_BYTES);
        self.send_from_scratch(way, received)
    }

    /// Sends the first bytes of the scratch buffer, which count as held, and keeps what is not taken.
    fn send_from_scratch<S: Socket>(
        &mut self,
        way: &mut Way<'_, '_, S>,
        received: usize,
    ) -> Poll<Result<(), End>> {
        let Way {
            cx,
            buffers,
            destination,
            ..
        } = way;
        let mut sent = 0;
        while sent < received {
            let bytes = &buffers.scratch()[sent..received];
            match destination.poll_io(cx, Interest::Write, |transport| transport.send(bytes)) {
                Poll::Ready(Ok(count)) => {
                    sent += count;
                    self.state.on_sent(count);
                }
                Poll::Ready(Err(error)) => {
                    self.has_lost = true;
                    return Poll::Ready(Err(End::Destination(error)));
                }
                Poll::Pending => {
                    self.store = Store::Buffer(buffers.hold(sent..received));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what the source has into a pipe.
    fn splice_in<S: Socket>(
        &mut self,
        way: &mut Way<'_, '_, S>,
        pipe: Pipe,
        count: usize,
        most: usize,
    ) -> Poll<Result<(), End>> {
        let received = way.source.poll_io(way.cx, Interest::Read, |transport| {
            transport.splice_in(&pipe, count)
        });
        match received {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.state.on_received(count);
                self.bulk.on_spliced(count);
                self.store = Store::Pipe(pipe);
                return Poll::Ready(Ok(()));
            }
            _ => way.buffers.pipes.give_back(pipe),
        }
        match received {
            Poll::Pending => Poll::Pending,
            // The end, or an urgent mark that came with it: a receive tells.
            Poll::Ready(Ok(_)) => {
                way.source.assume_ready(Interest::Read);
                self.copy(way, most)
            }
            // The socket can't do it: copying can.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                self.bulk.on_refused();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(End::Source(error))),
        }
    }

    /// Sends what is held, from wherever it is.
    fn send_held<S: Socket>(&mut self, way: &mut Way<'_, '_, S>) -> Poll<Result<(), End>> {
        let Way {
            cx,
            buffers,
            destination,
            ..
        } = way;
        let held = self.state.held();
        let sent = destination.poll_io(cx, Interest::Write, |transport| match &self.store {
            Store::Buffer(held) => transport.send(held.bytes()),
            Store::Pipe(pipe) => transport.splice_out(pipe, held),
            Store::Nowhere => unreachable!("bytes that are held are somewhere"),
        });
        match sent {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Destination(error))),
            Poll::Ready(Ok(count)) => {
                self.state.on_sent(count);
                match &mut self.store {
                    Store::Buffer(held) => held.consume(count),
                    Store::Pipe(_) => self.spliced += count as u64,
                    Store::Nowhere => {}
                }
            }
        }
        if self.state.held() == 0 {
            self.release(buffers);
        }
        Poll::Ready(Ok(()))
    }
}
