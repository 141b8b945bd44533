//! The relay: both directions of a connection, with their system calls.

use std::io;
use std::task::{Context, Poll};

use crate::buffer::{Buffers, Held};
use crate::direction::{Direction, Step};
use crate::runtime::{Interest, Socket};
use crate::transport::Transport;

/// Bytes that one direction forwards before others get their turn.
pub const TURN_BYTES_MAX: usize = 256 * 1024;

/// Receives that one direction makes before others get their turn.
pub const TURN_STEPS_MAX: u32 = 32;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// From the client to the server.
    up: Flow,
    /// From the server to the client.
    down: Flow,
}

/// What a turn of the relay came to.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Bytes that the server took.
    pub(crate) up: u64,
    /// Bytes that the client took.
    pub(crate) down: u64,
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

impl Relay {
    /// Forwards what can be forwarded, within the budget.
    pub(crate) fn poll<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
        client: &S,
        server: &S,
    ) -> Progress {
        let before = (self.up.state.forwarded(), self.down.state.forwarded());
        let state = self.turn(cx, buffers, client, server);
        Progress {
            up: self.up.state.forwarded() - before.0,
            down: self.down.state.forwarded() - before.1,
            state,
        }
    }

    /// Whether bytes are held for a side that is slow, or stuck.
    pub(crate) fn holds_bytes(&self) -> bool {
        self.up.state.held() > 0 || self.down.state.held() > 0
    }

    /// Whether a side is not being read, so that its reset would go unnoticed: because the other side holds it up,
    /// or because its end was read before.
    pub(crate) fn has_unread_side(&self) -> bool {
        self.up.is_resting() || self.down.is_resting()
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
        for flow in [&mut self.up, &mut self.down] {
            if let Some(held) = flow.held.take() {
                buffers.release(held);
            }
        }
    }

    fn turn<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
        client: &S,
        server: &S,
    ) -> State {
        let up = match self.up.poll(cx, buffers, client, server, OnEnd::PassOn) {
            Ok(up) => up,
            Err(End::Source(error)) => return failed(Side::Client, error),
            Err(End::Destination(error)) => {
                // The server may have answered before it reset: what it said is still to be read.
                let _ = self.down.poll(cx, buffers, server, client, OnEnd::Ignore);
                return failed(Side::Server, error);
            }
        };
        let down = match self.down.poll(cx, buffers, server, client, OnEnd::PassOn) {
            Ok(down) => down,
            Err(End::Source(error)) => return failed(Side::Server, error),
            Err(End::Destination(error)) => {
                let _ = self.up.poll(cx, buffers, client, server, OnEnd::Ignore);
                return failed(Side::Client, error);
            }
        };
        if self.up.state.is_ended() && self.down.state.is_ended() {
            State::Finished
        } else if up == Turn::Spent || down == Turn::Spent {
            State::Again
        } else {
            State::Waiting
        }
    }
}

fn failed(side: Side, error: io::Error) -> State {
    State::Failed(Failure { side, error })
}

/// One direction: its state, and the bytes that the state counts as held between turns.
#[derive(Debug, Default)]
struct Flow {
    state: Direction,
    held: Option<Held>,
}

#[derive(PartialEq, Eq)]
enum Turn {
    Waiting,
    Spent,
}

/// What to do at the end of the source's stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnEnd {
    PassOn,
    /// The source was reset: a socket that has said so once looks like one at the end of its stream.
    Ignore,
}

/// Which end of a direction failed.
enum End {
    Source(io::Error),
    Destination(io::Error),
}

impl Flow {
    /// Whether the source is not being read.
    fn is_resting(&self) -> bool {
        self.state.held() > 0 || self.state.is_ended()
    }

    fn poll<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
        source: &S,
        destination: &S,
        on_end: OnEnd,
    ) -> Result<Turn, End> {
        let begin = self.state.forwarded();
        let mut steps = 0;
        loop {
            match self.state.step() {
                Step::Receive => {
                    if steps == TURN_STEPS_MAX
                        || self.state.forwarded() - begin >= TURN_BYTES_MAX as u64
                    {
                        return Ok(Turn::Spent);
                    }
                    steps += 1;
                    let received = source.poll_io(cx, Interest::Read, |transport| {
                        transport.receive(buffers.scratch())
                    });
                    match received {
                        Poll::Pending => return Ok(Turn::Waiting),
                        Poll::Ready(Err(error)) => return self.fail(End::Source(error), buffers),
                        Poll::Ready(Ok(count)) => {
                            self.state.on_received(count);
                            self.send_scratch(cx, buffers, destination, count)?;
                        }
                    }
                }
                Step::Send => {
                    let Some(held) = &mut self.held else {
                        unreachable!("bytes are held in a buffer between turns");
                    };
                    let sent = destination.poll_io(cx, Interest::Write, |transport| {
                        transport.send(held.bytes())
                    });
                    match sent {
                        Poll::Pending => return Ok(Turn::Waiting),
                        Poll::Ready(Err(error)) => {
                            return self.fail(End::Destination(error), buffers);
                        }
                        Poll::Ready(Ok(count)) => {
                            held.consume(count);
                            self.state.on_sent(count);
                        }
                    }
                    if self.state.held() == 0
                        && let Some(held) = self.held.take()
                    {
                        buffers.release(held);
                    }
                }
                Step::ShutDown if on_end == OnEnd::Ignore => return Ok(Turn::Waiting),
                Step::ShutDown => {
                    if let Err(error) = destination.transport().shutdown_write() {
                        return self.fail(End::Destination(error), buffers);
                    }
                    self.state.on_shut_down();
                }
                Step::Rest => return Ok(Turn::Waiting),
            }
        }
    }

    /// Sends what was just received from where it lies, and holds what the destination doesn't take.
    fn send_scratch<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
        destination: &S,
        received: usize,
    ) -> Result<(), End> {
        let mut sent = 0;
        while sent < received {
            let bytes = &buffers.scratch()[sent..received];
            match destination.poll_io(cx, Interest::Write, |transport| transport.send(bytes)) {
                Poll::Ready(Ok(count)) => {
                    sent += count;
                    self.state.on_sent(count);
                }
                Poll::Ready(Err(error)) => {
                    return self.fail(End::Destination(error), buffers).map(|_| ());
                }
                Poll::Pending => {
                    self.held = Some(buffers.hold(sent..received));
                    break;
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, end: End, buffers: &mut Buffers) -> Result<Turn, End> {
        self.state.on_abort();
        if let Some(held) = self.held.take() {
            buffers.release(held);
        }
        Err(end)
    }
}
