//! Taking connections from a listening socket, in batches, without spinning when the process has no descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SocketAddr, SocketFlags};

use crate::admission;
use crate::admission::limits::{Limits, OverLimit};
use crate::admission::waiting::{Ticket, Wait};
use crate::connection::origin::{ClientAddress, Origin};
use crate::descriptors::{self, ACCEPT_BATCH_MAX, Postponed, Spare};
use crate::listener::Accepting;
use crate::listener::left::{Held, Next};
use crate::listener::permit::Permit;
use crate::listener::settings::ListenerSettings;
use crate::metrics::Rejection;
use crate::runtime::{Attempt, Interest, Runtime, Socket, Timer};
use crate::transport::Descriptor;
use crate::worker::Worker;

/// Connections that a drain takes from one socket at most: as many as a backlog can hold (`listen(2)` takes 16 bits
/// from us). It matters only where the kernel goes on completing handshakes (see [`listen::stop_taking`]).
///
/// [`listen::stop_taking`]: crate::listen::stop_taking
const DRAINED_MAX: usize = 65_536;

/// Connections of one batch that have their first turn where they are accepted. The others wait for theirs in the
/// scheduler's queue, as a turn may be long.
pub const FIRST_TURNS_MAX: usize = 8;

/// How long accepting rests when the process or the system has no descriptor or memory left. Clients wait in the
/// backlog meanwhile.
pub const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long a drain waits for the next place for those in the backlog. The sockets of a listener that goes on are others' by
/// then, and those of one that doesn't have clients that would wait in vain.
pub const PLACE_DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// How often a client that is to wait asks for a place at once. More than once is for what comes just then.
const PLACE_TRIES_MAX: usize = 16;

/// A connection that was accepted and admitted: non-blocking, and nothing was done for it yet.
#[derive(Debug)]
pub struct Accepted {
    /// The client's socket.
    pub socket: Descriptor,
    /// Whose it is.
    pub origin: Origin,
    /// Its right to be there, with the settings that it has.
    pub permit: Permit,
}

/// One listening socket of one worker.
pub struct Acceptor<R: Runtime> {
    /// Those that the next connection has.
    settings: Arc<ListenerSettings>,
    /// The number of the table that they were looked for in.
    table: u64,
    socket: R::Socket,
    timer: R::Timer,
    paused_until: Option<Instant>,
    /// A client that waits for descriptors or for its place, before those in the backlog.
    held: Option<Held>,
    /// The turn of a client that waits for its place.
    ticket: Option<Ticket>,
    /// That of the first client that another scheduler leaves.
    heir: Option<Ticket>,
    /// Until when a drain waits for the next place.
    place_until: Option<Instant>,
    /// Connections that a drain took.
    drained: usize,
    _open: Accepting,
}

/// How far a drain has emptied a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draining {
    /// More wait: it is to be run again soon.
    Again,
    /// More wait, and there is no descriptor for them now. It is run again by its timer.
    Waiting,
    /// Nobody waits. The acceptor is to be dropped, which closes the socket.
    Over,
}

impl<R: Runtime> Acceptor<R>
where
    R::Socket: Socket<Transport = Descriptor>,
{
    /// Accepts from `socket`, which listens and is non-blocking.
    pub fn new(runtime: &R, settings: Arc<ListenerSettings>, socket: R::Socket) -> Self {
        Self {
            _open: Accepting::new(&settings.listener),
            settings,
            table: 0,
            socket,
            timer: runtime.timer(),
            paused_until: None,
            held: None,
            ticket: None,
            heir: None,
            place_until: None,
            drained: 0,
        }
    }

    /// Hands each connection that waits to `take`. A client that waits for its place has the task run again by the context's
    /// waker, from any thread.
    ///
    /// Returns true when it stopped at [`ACCEPT_BATCH_MAX`] and is to be run again soon.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        mut take: impl FnMut(&mut Worker, Accepted),
    ) -> bool {
        self.await_left(cx, worker);
        if !self.is_able(cx, worker, &mut take) {
            return false;
        }
        for _ in 0..ACCEPT_BATCH_MAX {
            let now = worker.now;
            let accepted = self
                .socket
                .poll_io(cx, Interest::Read, |socket| accept(socket, now));
            match accepted {
                Poll::Pending => return false,
                Poll::Ready(Ok(Some(client))) => {
                    if !self.secure(cx, worker, client, &mut take) {
                        return false;
                    }
                }
                // The client was gone before it was accepted.
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(error)) => {
                    self.pause(cx, worker, &error);
                    return false;
                }
            }
        }
        true
    }

    /// Hands what waits in the backlog to `take`, whether or not the scheduler has heard of it, up to
    /// [`ACCEPT_BATCH_MAX`] a run. From the first call on, [`Acceptor::poll`] must not be called.
    pub fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        mut take: impl FnMut(&mut Worker, Accepted),
    ) -> Draining {
        self.stop_awaiting_left();
        self.follow_table(worker);
        if let Some(Held::Next(next)) = self.held.take_if(|held| matches!(held, Held::Next(_))) {
            if self.is_left(worker) {
                self.leave(Held::Next(next));
            } else {
                // It is in no backlog any more, so nobody else would have it.
                self.ticket = None;
                self.admit_beyond(worker, next, &mut take);
            }
        }
        if !self.is_able(cx, worker, &mut take) {
            return self.wait_or_leave(worker);
        }
        for _ in 0..ACCEPT_BATCH_MAX {
            if self.drained == DRAINED_MAX {
                return Draining::Over;
            }
            if self.settings.limits.over == OverLimit::Wait
                && let Err(refused) = admission::find_place(&self.settings, worker.now)
            {
                let patience = worker.now + PLACE_DRAIN_PATIENCE;
                let patience = *self.place_until.get_or_insert(patience);
                if patience <= worker.now || self.is_left(worker) {
                    return Draining::Over;
                }
                if !self.awaits(cx, refused.wait) {
                    continue;
                }
                let until = match refused.wait {
                    Wait::Until(enough_at) => enough_at.min(patience),
                    _ => patience,
                };
                // Armed: both are to come.
                let _ = self.timer.poll_until(cx, worker.now, until);
                return Draining::Waiting;
            }
            self.place_until = None;
            match accept(self.socket.transport(), worker.now) {
                Ok(Attempt::Done(Some(client)) | Attempt::Drained(Some(client))) => {
                    self.drained += 1;
                    if !self.secure(cx, worker, client, &mut take) {
                        return self.wait_or_leave(worker);
                    }
                }
                Ok(Attempt::Done(None) | Attempt::Drained(None)) => self.drained += 1,
                Ok(Attempt::Blocked) => return Draining::Over,
                Err(error) => {
                    self.pause(cx, worker, &error);
                    return self.wait_or_leave(worker);
                }
            }
        }
        Draining::Again
    }

    /// Nobody can be taken on now. Where another scheduler accepts from the same socket, that one goes on, with the client that
    /// is held here, too.
    fn wait_or_leave(&mut self, worker: &mut Worker) -> Draining {
        if self.is_left(worker) {
            if let Some(held) = self.held.take() {
                self.leave(held);
            }
            Draining::Over
        } else if let Some(Held::Next(_)) = self.held {
            // The place was gone when it had been accepted.
            Draining::Again
        } else {
            Draining::Waiting
        }
    }

    /// Whether another scheduler accepts from the same socket.
    fn is_left(&self, worker: &mut Worker) -> bool {
        let listener = &self.settings.listener;
        worker.is_succeeded() && worker.table().settings_of(listener).is_some()
    }

    /// Leaves a client to the other scheduler.
    fn leave(&mut self, held: Held) {
        // It waits there from now on.
        self.ticket = None;
        let listener = &self.settings.listener;
        listener.left.put(held);
        listener.counted.total.waiters.on_left(listener.id);
    }

    /// Waits for clients that another scheduler leaves, while it may. They are looked for next.
    fn await_left(&mut self, cx: &Context<'_>, worker: &Worker) {
        if worker.is_inheriting() {
            let heir = self.heir.get_or_insert_with(|| ticket(&self.settings));
            heir.wait(Wait::ForLeft, cx.waker());
        } else {
            self.stop_awaiting_left();
        }
    }

    fn stop_awaiting_left(&mut self) {
        self.heir.take().into_iter().for_each(Ticket::redeem);
    }

    /// Whether a client waits for that already: else it is to be tried once more.
    fn awaits(&mut self, cx: &Context<'_>, wait: Wait) -> bool {
        let ticket = self.ticket.get_or_insert_with(|| ticket(&self.settings));
        ticket.wait(wait, cx.waker())
    }

    /// Whether it may accept now: it doesn't rest, and the clients that it held, or that were left, are taken.
    fn is_able(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        take: &mut impl FnMut(&mut Worker, Accepted),
    ) -> bool {
        if let Some(until) = self.paused_until {
            if self.timer.poll_until(cx, worker.now, until).is_pending() {
                return false;
            }
            self.paused_until = None;
        }
        // What is left here is not taken back.
        let is_succeeded = worker.is_succeeded();
        let listener = self.settings.listener.clone();
        let left = || (!is_succeeded).then(|| listener.left.take()).flatten();
        while let Some(held) = self.held.take().or_else(left) {
            self.follow_table(worker);
            let is_taken = match held {
                Held::Postponed(held, origin) => {
                    self.secured(cx, worker, held.retry(), origin, take)
                }
                Held::Next(next) => self.admit(cx, worker, next, take),
            };
            if !is_taken {
                return false;
            }
        }
        if descriptors::held() > 0 && !descriptors::has_room(self.socket.transport()) {
            self.pause(cx, worker, &descriptors::lack());
            return false;
        }
        true
    }

    /// Hands a client to `take` if there are descriptors for it and its server. Else it is held, and accepting rests.
    fn secure(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        client: (OwnedFd, Origin),
        take: &mut impl FnMut(&mut Worker, Accepted),
    ) -> bool {
        let (fd, origin) = client;
        self.follow_table(worker);
        if !admission::admits_peer(&self.settings, origin.peer) {
            worker.activity.note();
            self.turn_away(worker, &fd, origin, Rejection::Denied);
            return true;
        }
        self.secured(cx, worker, Postponed::secure(fd), origin, take)
    }

    fn secured(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        secured: Result<(OwnedFd, Spare), Postponed>,
        origin: Origin,
        take: &mut impl FnMut(&mut Worker, Accepted),
    ) -> bool {
        match secured {
            Ok((fd, spare)) => {
                let socket = match origin.peer {
                    ClientAddress::Tcp(_) => Descriptor::tcp(fd),
                    ClientAddress::Unix => Descriptor::unix(fd),
                };
                let next = Next {
                    socket,
                    spare,
                    origin,
                };
                self.admit(cx, worker, next, take)
            }
            Err(held) => {
                self.held = Some(Held::Postponed(held, origin));
                self.pause(cx, worker, &descriptors::lack());
                false
            }
        }
    }

    /// Hands a client to `take` if it has a place, or turns it away. False if it waits for one, and accepting rests.
    fn admit(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        mut next: Next,
        take: &mut impl FnMut(&mut Worker, Accepted),
    ) -> bool {
        let origin = next.origin;
        // Unless everything changes all the time: then it is asked for soon.
        let mut until = Some(worker.now + EXHAUSTED_PAUSE);
        for _ in 0..PLACE_TRIES_MAX {
            let refused = match Permit::try_ask(&self.settings, worker, origin, &mut next.spare) {
                Ok(permit) => {
                    self.ticket.take().into_iter().for_each(Ticket::redeem);
                    let accepted = Accepted {
                        socket: next.socket,
                        origin,
                        permit,
                    };
                    take(worker, accepted);
                    return true;
                }
                Err(refused) => refused,
            };
            if self.settings.limits.over != OverLimit::Wait || refused.wait == Wait::Never {
                self.ticket = None;
                self.turn_away(worker, &next.socket, origin, refused.rejection);
                return true;
            }
            if self.awaits(cx, refused.wait) {
                until = match refused.wait {
                    Wait::Until(enough_at) => Some(enough_at),
                    _ => None,
                };
                break;
            }
            self.follow_table(worker);
        }
        self.held = Some(Held::Next(next));
        if let Some(until) = until
            && self.timer.poll_until(cx, worker.now, until).is_ready()
        {
            cx.waker().wake_by_ref();
        }
        false
    }

    /// Hands a client to `take`, whatever the limits of all are.
    fn admit_beyond(
        &mut self,
        worker: &mut Worker,
        mut next: Next,
        take: &mut impl FnMut(&mut Worker, Accepted),
    ) {
        let unlimited = ListenerSettings {
            max_connections: None,
            limits: Limits {
                process_connections: None,
                rate: None,
                ..self.settings.limits.clone()
            },
            ..(*self.settings).clone()
        };
        let origin = next.origin;
        match Permit::try_ask(&Arc::new(unlimited), worker, origin, &mut next.spare) {
            Ok(permit) => {
                let accepted = Accepted {
                    socket: next.socket,
                    origin,
                    permit,
                };
                take(worker, accepted);
            }
            Err(refused) => self.turn_away(worker, &next.socket, origin, refused.rejection),
        }
    }

    /// Counts a client that is not taken on, and has it reset where that is wanted. The caller closes it.
    fn turn_away(&self, worker: &Worker, socket: impl AsFd, origin: Origin, rejection: Rejection) {
        self.count(worker, rejection);
        let settings = &self.settings;
        if settings.limits.over == OverLimit::Reset {
            // Refused, it is closed in order.
            let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
        }
        // Who is denied is so by intention.
        if rejection != Rejection::Denied && settings.listener.counted.is_told(worker.now) {
            let (listener, client) = (&settings.listener.name, origin.peer);
            tracing::warn!(listener, %client, reason = rejection.label(), "clients are turned away");
        }
    }

    /// Accepts nobody until then.
    fn rest(&mut self, cx: &mut Context<'_>, worker: &Worker, until: Instant) {
        self.paused_until = Some(until);
        // Armed: the rest has only begun.
        let _ = self.timer.poll_until(cx, worker.now, until);
    }

    /// Takes the settings that are in force. A listener that is not configured any more keeps those that it had.
    fn follow_table(&mut self, worker: &mut Worker) {
        let table = worker.table();
        if self.table != table.number() {
            self.table = table.number();
            if let Some(settings) = table.settings_of(&self.settings.listener) {
                self.settings = settings.clone();
            }
        }
    }

    fn count(&self, worker: &Worker, rejection: Rejection) {
        let cells = self.settings.listener.cells.of(worker.slot());
        cells.rejected[rejection as usize].increment();
    }

    fn pause(&mut self, cx: &mut Context<'_>, worker: &mut Worker, error: &io::Error) {
        self.count(worker, Rejection::Descriptors);
        let listener = &self.settings.listener;
        worker.buffers.pipes.close_free();
        descriptors::on_pause(worker.now, &listener.name, error);
        self.rest(cx, worker, worker.now + EXHAUSTED_PAUSE);
    }
}

/// The last turn of those who wait.
fn ticket(settings: &ListenerSettings) -> Ticket {
    let listener = &settings.listener;
    Ticket::new(listener.counted.total.waiters.clone(), listener.id)
}

/// The next client's socket, or none where it was gone.
fn accept(socket: &Descriptor, now: Instant) -> io::Result<Attempt<Option<(OwnedFd, Origin)>>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    match rustix::net::acceptfrom_with(socket, flags) {
        Ok((fd, address)) => {
            let address = address.and_then(|address| SocketAddr::try_from(address).ok());
            let origin = Origin {
                peer: ClientAddress::of(address),
                accepted_at: now,
            };
            Ok(Attempt::Done(Some((fd, origin))))
        }
        // A unix socket that takes nobody any more (`listen::stop_taking`) says EINVAL once its backlog is empty.
        Err(Errno::AGAIN | Errno::INVAL) => Ok(Attempt::Blocked),
        // accept(2) passes on what befell the connection itself; it says nothing of the listener.
        Err(
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::OPNOTSUPP
            | Errno::TIMEDOUT,
        ) => Ok(Attempt::Done(None)),
        Err(errno) => Err(errno.into()),
    }
}
