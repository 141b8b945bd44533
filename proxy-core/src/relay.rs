//! The relay: both directions of a connection, with their system calls.

use std::io;
use std::task::Context;

use crate::buffer::Buffers;
use crate::end::Stage;
use crate::flow::{End, Flow, OnEnd, Turn};
use crate::runtime::Socket;
use crate::transport::Transport;

/// Both directions of a connection.
#[derive(Debug)]
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
    /// How many of all these were not copied.
    pub(crate) spliced: u64,
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
    /// A relay that has seen no byte; `splice` says whether bulk may go through pipes.
    pub(crate) const fn new(splice: bool) -> Self {
        Self {
            up: Flow::new(splice),
            down: Flow::new(splice),
        }
    }

    /// Forwards what can be forwarded, within a budget of so many bytes a direction.
    pub(crate) fn poll<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
        client: &S,
        server: &S,
        budget: usize,
    ) -> Progress {
        let before = (self.up.forwarded(), self.down.forwarded(), self.spliced());
        let state = self.turn(cx, buffers, client, server, budget);
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
            state,
        }
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
        self.up.release(buffers);
        self.down.release(buffers);
    }

    /// Leaves a worker for another one.
    pub(crate) fn leave(&self, buffers: &mut Buffers) {
        self.up.leave(buffers);
        self.down.leave(buffers);
    }

    /// Joins a worker, from another one.
    pub(crate) fn join(&self, buffers: &mut Buffers) {
        self.up.join(buffers);
        self.down.join(buffers);
    }

    fn turn<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
        client: &S,
        server: &S,
        budget: usize,
    ) -> State {
        let on_end = on_end_beside(&self.down);
        let up = match self.up.poll(cx, buffers, client, server, on_end, budget) {
            Ok(up) => up,
            Err(End::Source(error)) => return failed(Side::Client, error),
            Err(End::Destination(error)) => {
                // The server may have answered before it reset: what it said is still to be read.
                let _ = self
                    .down
                    .poll(cx, buffers, server, client, OnEnd::Ignore, budget);
                return failed(Side::Server, error);
            }
        };
        let on_end = on_end_beside(&self.up);
        let down = match self.down.poll(cx, buffers, server, client, on_end, budget) {
            Ok(down) => down,
            Err(End::Source(error)) => return failed(Side::Server, error),
            Err(End::Destination(error)) => {
                let _ = self
                    .up
                    .poll(cx, buffers, client, server, OnEnd::Ignore, budget);
                return failed(Side::Client, error);
            }
        };
        if self.up.is_ended() && self.down.is_ended() {
            State::Finished
        } else if up == Turn::Spent || down == Turn::Spent {
            State::Again
        } else {
            State::Waiting
        }
    }
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

fn failed(side: Side, error: io::Error) -> State {
    State::Failed(Failure { side, error })
}
