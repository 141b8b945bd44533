//! Taking connections from a listening socket, in batches, without spinning when the process has no descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SocketAddr, SocketFlags};

use crate::admission;
use crate::admission::limits::{Limits, OverLimit, Refused, Wait};
use crate::connection::origin::{ClientAddress, Origin};
use crate::descriptors::{self, ACCEPT_BATCH_MAX, Postponed, Spare};
use crate::listener::Accepting;
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

/// How often an acceptor whose clients wait for a place looks whether there is one.
pub const PLACE_LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a drain waits until there is a place for those in the backlog. The sockets of a listener that goes on are others' by
/// then, and those of one that doesn't have clients that would wait in vain.
pub const PLACE_DRAIN_PATIENCE: Duration = Duration::from_secs(1);

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
    /// A client that waits for descriptors.
    held: Option<(Postponed, Origin)>,
    /// A client that waits for its place, before those in the backlog.
    next: Option<Next>,
    /// Until when a drain waits for places.
    places_until: Option<Instant>,
    /// Connections that a drain took.
    drained: usize,
    _open: Accepting,
}

/// A client for which there are descriptors, and no place yet.
struct Next {
    socket: Descriptor,
    spare: Spare,
    origin: Origin,
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
            next: None,
            places_until: None,
            drained: 0,
        }
    }

    /// Hands each connection that waits to `take`.
    ///
    /// Returns true when it stopped at [`ACCEPT_BATCH_MAX`] and is to be run again soon.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        mut take: impl FnMut(&mut Worker, Accepted),
    ) -> bool {
        if !self.is_able(cx, worker, &mut take) {
            return false;
        }
        if worker.is_inheriting() || !self.settings.listener.left.is_empty() {
            // Nobody tells of a client that is left.
            let look_at = worker.now + PLACE_LOOK_INTERVAL;
            let _ = self.timer.poll_until(cx, worker.now, look_at);
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
        if let Some(next) = self.next.take() {
            // It is in no backlog any more, so nobody else would have it.
            self.paused_until = None;
            self.admit_beyond(worker, next, &mut take);
        }
        if !self.is_able(cx, worker, &mut take) {
            return self.wait_or_leave(worker);
        }
        for _ in 0..ACCEPT_BATCH_MAX {
            if self.drained == DRAINED_MAX {
                return Draining::Over;
            }
            if self.settings.limits.over == OverLimit::Wait
                && !admission::has_place(&self.settings, worker.now)
            {
                let patience = worker.now + PLACE_DRAIN_PATIENCE;
                if *self.places_until.get_or_insert(patience) <= worker.now {
                    return Draining::Over;
                }
                self.rest(cx, worker, worker.now + PLACE_LOOK_INTERVAL);
                return Draining::Waiting;
            }
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
        let listener = &self.settings.listener;
        let is_left = worker.is_succeeded() && worker.table().settings_of(listener).is_some();
        if !is_left || self.next.is_some() {
            return Draining::Waiting;
        }
        if let Some(held) = self.held.take() {
            listener.left.put(held);
        }
        Draining::Over
    }

    /// Whether it may accept now: it doesn't rest, and the client that it held is taken.
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
        let held = match (self.held.take(), &self.next) {
            (None, None) => self.settings.listener.left.take(),
            (held, _) => held,
        };
        if let Some((held, origin)) = held {
            self.follow_table(worker);
            return self.secured(cx, worker, held.retry(), origin, take);
        }
        if let Some(next) = self.next.take() {
            self.follow_table(worker);
            return self.admit(cx, worker, next, take);
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
                self.held = Some((held, origin));
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
        let Refused { rejection, wait } =
            match Permit::try_ask(&self.settings, worker, origin, &mut next.spare) {
                Ok(permit) => {
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
        let look_at = worker.now + PLACE_LOOK_INTERVAL;
        let until = match (self.settings.limits.over, wait) {
            (OverLimit::Wait, Wait::ForAnEnd) => look_at,
            // Another configuration may have come by then.
            (OverLimit::Wait, Wait::Until(enough_at)) => {
                enough_at.min(worker.now + EXHAUSTED_PAUSE)
            }
            _ => {
                self.turn_away(worker, &next.socket, origin, rejection);
                return true;
            }
        };
        self.next = Some(next);
        self.rest(cx, worker, until);
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
