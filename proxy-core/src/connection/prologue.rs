//! The phase before the connect: the client is heard, and then it is decided where the connection goes.

use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::admission::limits::OverLimit;
use crate::connection::end::{Stage, Termination};
use crate::connection::first::First;
use crate::connection::origin::Origin;
use crate::connection::{Connection, Phase, Turn};
use crate::listener::settings::ListenerSettings;
use crate::metrics::{Cause, PrologueResult, Rejection};
use crate::prologue::{Heard, Machine, Step};
use crate::relay::flow::TURN_STEPS_MAX;
use crate::relay::{Failure, Side};
use crate::route::{Destination, Facts, Verdict};
use crate::runtime::{Interest, Runtime, Socket, Timer};
use crate::transport::Transport;
use crate::worker::Worker;

/// A connection of which it is not decided yet where it goes. It is boxed, as most connections have no such phase.
#[derive(Debug)]
pub(super) enum Undecided {
    /// The client is heard first.
    Hearing(Hearing),
    /// Nothing has to be heard.
    Known(Facts),
}

/// A client that is heard.
#[derive(Debug)]
pub(super) struct Hearing {
    machine: Machine,
    /// What was received since the accept.
    received: Vec<u8>,
    /// What the client is told, and how much of it is sent.
    reply: Vec<u8>,
    replied: usize,
    deadline: Instant,
}

/// What came of hearing a client.
enum Outcome {
    /// It has said all that matters, and perhaps more.
    Heard(Heard, Vec<u8>),
    Refused(PrologueResult),
    /// It is lost, in the middle of what it said.
    Lost(io::Error),
    /// It talks on, and others are to have their turn first.
    Again,
}

impl Undecided {
    /// That of a connection that was accepted just now; none where its peer is all that matters.
    pub(super) fn new(
        settings: &ListenerSettings,
        origin: Origin,
        client: &impl Transport,
    ) -> Option<Box<Self>> {
        match &settings.prologue {
            Some(prologue) => {
                let (routes, port) = (settings.routes.clone(), port(settings, client));
                let machine = Machine::new(prologue.clone(), origin, routes, port);
                let deadline = origin.accepted_at + prologue.timeout;
                Some(Box::new(Self::Hearing(Hearing::new(machine, deadline))))
            }
            None if settings.decides() => {
                let mut facts = Facts::of(origin);
                facts.port = port(settings, client);
                Some(Box::new(Self::Known(facts)))
            }
            None => None,
        }
    }

    pub(super) fn is_hearing(&self) -> bool {
        matches!(self, Self::Hearing(_))
    }

    /// Whether the client speaks first, as far as is known.
    pub(super) fn awaits_bytes(&self) -> bool {
        matches!(self, Self::Hearing(hearing) if hearing.reply.is_empty())
    }
}

/// The port that a client has connected to, if a route asks for it.
fn port(settings: &ListenerSettings, client: &impl Transport) -> Option<u16> {
    let routes = settings.routes.as_ref()?;
    let address = routes.asks_for_ports().then(|| client.local_address());
    address?.ok()?.map(|address| address.port())
}

impl<R: Runtime> Connection<R> {
    /// Hears the client and decides where the connection goes. None once it is connecting.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> Option<Turn> {
        let Phase::Prologue { client, undecided } = &mut self.phase else {
            return None;
        };
        let (mut facts, first) = match &mut **undecided {
            Undecided::Known(facts) => (facts.clone(), None),
            Undecided::Hearing(hearing) => {
                let outcome = match hearing.poll(cx, worker, client, &mut self.timer) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => return Some(Turn::Waiting),
                };
                match outcome {
                    Outcome::Heard(heard, received) => {
                        self.count(worker, heard.result);
                        let first = First::new(received, &heard);
                        (heard.facts, first)
                    }
                    Outcome::Refused(result) => return Some(self.refuse(worker, result)),
                    Outcome::Lost(error) => {
                        self.count(worker, PrologueResult::Closed);
                        let side = Side::Client;
                        return Some(self.fail(worker, Failure { side, error }));
                    }
                    Outcome::Again => return Some(Turn::Again),
                }
            }
        };
        let verdict = self.judge(worker, &mut facts);
        self.entry.set_facts(facts);
        match verdict {
            Ok(destination) => {
                self.begin_connecting(worker, destination, first);
                None
            }
            Err(rejection) => Some(self.reject(worker, rejection)),
        }
    }

    /// The one place where it is decided what becomes of a connection of which more is known than its peer.
    fn judge(&mut self, worker: &Worker, facts: &mut Facts) -> Result<Destination, Rejection> {
        let (peer, client) = (facts.peer, facts.client);
        self.entry.permit.on_client(peer, client, worker.now)?;
        let settings = self.entry.settings();
        let Some(routes) = &settings.routes else {
            return Ok(Destination::DEFAULT);
        };
        let (route, verdict) = routes.of(facts);
        if let Some(route) = route {
            route.count(worker.slot());
            facts.route = Some(route.clone());
        }
        match verdict {
            Verdict::To(destination) => Ok(destination),
            Verdict::Reject(rejection) => Err(rejection),
        }
    }

    /// Refuses it, for a reason that is counted.
    pub(super) fn reject(&mut self, worker: &mut Worker, rejection: Rejection) -> Turn {
        self.count_rejection(worker, rejection);
        self.end(worker, Cause::Refused)
    }

    /// The same, told of in other letters.
    pub(super) fn reject_as(
        &mut self,
        worker: &mut Worker,
        rejection: Rejection,
        termination: Termination,
    ) -> Turn {
        self.count_rejection(worker, rejection);
        self.end_as(worker, Cause::Refused, termination)
    }

    fn count_rejection(&self, worker: &Worker, rejection: Rejection) {
        let settings = self.entry.settings();
        let cells = settings.listener.cells.of(worker.slot());
        cells.rejected[rejection as usize].increment();
        if settings.limits.over == OverLimit::Reset {
            self.reset_both();
        }
    }

    fn refuse(&mut self, worker: &mut Worker, result: PrologueResult) -> Turn {
        self.count(worker, result);
        let cause = match result {
            PrologueResult::Probe => Cause::Finished,
            PrologueResult::Timeout => Cause::PrologueTimeout,
            PrologueResult::Closed => Cause::ClientReset,
            _ => Cause::Refused,
        };
        let termination = Termination::of(cause, Stage::Prologue, None);
        self.end_as(worker, cause, termination)
    }

    fn count(&self, worker: &Worker, result: PrologueResult) {
        let listener = &self.entry.settings().listener;
        listener.cells.of(worker.slot()).prologue[result as usize].increment();
    }
}

impl Hearing {
    fn new(machine: Machine, deadline: Instant) -> Self {
        Self {
            reply: machine.greeting().to_vec(),
            machine,
            received: Vec::new(),
            replied: 0,
            deadline,
        }
    }

    /// Ready once it is known what the client said, or that it says nothing of use.
    fn poll<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        client: &S,
        timer: &mut impl Timer,
    ) -> Poll<Outcome> {
        let is_late = self.deadline <= worker.now;
        if is_late {
            // The process may have stood still: what came meanwhile is in time.
            client.assume_ready(Interest::Read);
        }
        // Perhaps nothing has to be received.
        let mut step = self.machine.on_bytes(&self.received);
        let mut receives = 0;
        loop {
            let done = match step {
                Step::Done => match self.send_reply(cx, client) {
                    Poll::Ready(Ok(())) => return Poll::Ready(self.finish()),
                    Poll::Ready(Err(error)) => return Poll::Ready(Outcome::Lost(error)),
                    Poll::Pending if is_late => {
                        return Poll::Ready(Outcome::Refused(PrologueResult::Timeout));
                    }
                    Poll::Pending => Poll::Pending,
                },
                Step::Refuse(result) => {
                    // It is over whether this arrives or not.
                    let _ = self.send_reply(cx, client);
                    return Poll::Ready(Outcome::Refused(result));
                }
                Step::Reply(reply) => {
                    self.reply.extend_from_slice(&reply);
                    step = self.machine.on_bytes(&self.received);
                    continue;
                }
                Step::More if receives == TURN_STEPS_MAX => return Poll::Ready(Outcome::Again),
                Step::More => self.exchange(cx, worker, client),
            };
            receives += 1;
            step = match done {
                Poll::Ready(Ok(0)) => self.machine.on_end(&self.received),
                Poll::Ready(Ok(_)) => self.machine.on_bytes(&self.received),
                Poll::Ready(Err(_)) if self.received.is_empty() => self.machine.on_end(&[]),
                Poll::Ready(Err(error)) => return Poll::Ready(Outcome::Lost(error)),
                Poll::Pending if is_late => self.machine.on_timeout(&self.received),
                Poll::Pending => {
                    // The deadline is ahead, so this only arms.
                    let _ = timer.poll_until(cx, worker.now, self.deadline);
                    return Poll::Pending;
                }
            };
        }
    }

    fn finish(&mut self) -> Outcome {
        Outcome::Heard(
            self.machine.take_heard(),
            std::mem::take(&mut self.received),
        )
    }

    /// Sends what the client is told.
    fn send_reply<S: Socket>(&mut self, cx: &mut Context<'_>, client: &S) -> Poll<io::Result<()>> {
        while self.replied < self.reply.len() {
            let rest = &self.reply[self.replied..];
            match client.poll_io(cx, Interest::Write, |transport| transport.send(rest)) {
                Poll::Ready(Ok(count)) => self.replied += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what the client is told, and receives more.
    fn exchange<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        client: &S,
    ) -> Poll<io::Result<usize>> {
        match self.send_reply(cx, client) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let (held, most) = (self.received.len(), self.machine.bytes_max());
        let scratch = worker.buffers.scratch();
        let room = most.saturating_sub(held).min(scratch.len());
        debug_assert!(room > 0, "what is as long as it may be is decided");
        let buffer = &mut scratch[..room];
        let received = client.poll_io(cx, Interest::Read, |transport| transport.receive(buffer));
        if let Poll::Ready(Ok(count)) = received {
            if held == 0 {
                self.received = worker.buffers.for_hello(count);
            } else if count > self.received.capacity() - held {
                // Twice as much as there is, so that single bytes are not copied again and again, and never beyond the bound.
                let more = count.max(held).min(most - held);
                self.received.reserve_exact(more);
            }
            let scratch = worker.buffers.scratch();
            self.received.extend_from_slice(&scratch[..count]);
        }
        received
    }
}
