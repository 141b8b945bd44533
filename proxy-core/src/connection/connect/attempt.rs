//! One connect to a server, until it is decided.

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::connection::asking::Asking;
use crate::runtime::{Attempt, Interest, Runtime, Socket, Timer};
use crate::socket_options::Dial;
use crate::transport::Transport;
use crate::upstream::address::ServerAddress;
use crate::upstream::addresses::Walk;
use crate::upstream::outage::Fault;
use crate::upstream::taken::Taken;
use crate::worker::Worker;

/// How soon a connect to a unix socket whose queue is full is made again. The kernel says nothing when there is room. It
/// is a quarter of the time that the connect waits already, at least this long.
pub const ROOM_RETRY_MIN: Duration = Duration::from_millis(2);

/// The same: at most this long.
pub const ROOM_RETRY_MAX: Duration = Duration::from_millis(50);

/// How long one address of a name has been silent when the next one is tried beside it: the "Connection Attempt Delay" that RFC
/// 8305 (section 5) recommends.
pub const ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// The same where `connect_timeout` is short: this part of it.
const ADDRESS_DELAY_PART: u32 = 2;

/// Connects that one connection has under way at a time, to addresses of one name.
pub const ADDRESSES_TRIED_AT_ONCE_MAX: usize = 6;

/// What is under way with one server: mostly one connect. Where its name has several addresses and one is silent, connects to
/// others begin beside it, and the first that works has the connection.
pub(super) struct Attempting<R: Runtime> {
    pub(super) taken: Taken,
    /// Its place in the pool.
    pub(super) server: usize,
    /// The server's addresses.
    pub(super) walk: Walk,
    /// The connect that began last; none: no other is under way either.
    latest: Option<Try<R::Socket>>,
    /// Those before, the oldest first. It allocates only where there are any.
    others: Vec<Try<R::Socket>>,
    /// When the next address is tried beside them, if one is.
    next_at: Option<Instant>,
    /// How long one must have been silent for that.
    delay: Duration,
}

/// One connect, to one address.
pub(super) struct Try<S> {
    waits_for: WaitsFor<S>,
    /// The address, as the walk knows it.
    pub(super) spot: usize,
    pub(super) begun_at: Instant,
    deadline: Instant,
    /// Nobody has looked at it yet.
    is_new: bool,
}

/// What an attempt waits for.
pub(super) enum WaitsFor<S> {
    /// The kernel decides the connect.
    Decision(S),
    /// The server takes TLS, for which it is asked.
    Tls { socket: S, asking: Box<Asking> },
    /// There is room in the queue of a unix socket; `retry_at` is when to look.
    Room {
        address: ServerAddress,
        retry_at: Instant,
    },
}

/// What has become of one of the connects.
pub(super) enum Came<S> {
    /// It worked. With an error, the server has said something and reset since.
    Connected(Won<S>, Option<io::Error>),
    /// It failed, to the address that the walk knows by this.
    Failed(usize, io::Error, Fault),
    /// None is decided, and the next address is to be tried, too.
    Silence,
}

/// A connect that has worked.
pub(super) struct Won<S> {
    pub(super) socket: S,
    /// The address, as the walk knows it.
    spot: usize,
    pub(super) begun_at: Instant,
    /// How long the connect took, where the server was asked for TLS since.
    pub(super) asked_after: Option<Duration>,
}

impl<R: Runtime> Attempting<R> {
    /// Nothing is under way yet.
    pub(super) fn new(server: usize, taken: Taken, walk: Walk) -> Self {
        Self {
            taken,
            server,
            walk,
            latest: None,
            others: Vec::new(),
            next_at: None,
            delay: ADDRESS_DELAY,
        }
    }

    /// A connect to the walk's last address begins.
    pub(super) fn begin(
        &mut self,
        waits_for: WaitsFor<R::Socket>,
        connect_timeout: Duration,
        (now, deadline): (Instant, Instant),
    ) {
        let next = Try {
            waits_for,
            spot: self.walk.spot(),
            begun_at: now,
            deadline,
            is_new: true,
        };
        self.others.extend(self.latest.replace(next));
        self.delay = ADDRESS_DELAY.min(connect_timeout / ADDRESS_DELAY_PART);
        let has_more = self.walk.has_more(now) && !self.is_crowded();
        self.next_at = has_more.then(|| now + self.delay);
    }

    /// The server that was connected to is asked for TLS before it is the one; other connects are given up.
    pub(super) fn ask(&mut self, won: Won<R::Socket>, asking: Box<Asking>, deadline: Instant) {
        let Won {
            socket,
            spot,
            begun_at,
            ..
        } = won;
        self.others.clear();
        self.stay();
        self.latest = Some(Try {
            waits_for: WaitsFor::Tls { socket, asking },
            spot,
            begun_at,
            deadline,
            is_new: false,
        });
    }

    /// Whether a connect is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.latest.is_some()
    }

    /// Whether no more connects may be under way.
    pub(super) fn is_crowded(&self) -> bool {
        self.others.len() + 1 >= ADDRESSES_TRIED_AT_ONCE_MAX
    }

    /// No other address is tried beside those that are.
    pub(super) fn stay(&mut self) {
        self.next_at = None;
    }

    /// Ready once a connect is decided, or has taken too long, or another address is to be tried. It is run again at `check_at`
    /// at the latest.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &R,
        worker: &Worker,
        timer: &mut R::Timer,
        check_at: Option<Instant>,
    ) -> Poll<Came<R::Socket>> {
        loop {
            // Those that began first come first.
            for nth in 0..self.others.len() {
                if let Poll::Ready(result) = self.others[nth].poll(cx, runtime, worker) {
                    let decided = self.others.remove(nth);
                    return Poll::Ready(self.decide(decided, result, nth, worker.now));
                }
            }
            if let Some(latest) = &mut self.latest
                && let Poll::Ready(result) = latest.poll(cx, runtime, worker)
                && let Some(decided) = self.latest.take()
            {
                let elder = self.others.len();
                let came = self.decide(decided, result, elder, worker.now);
                self.latest = self.others.pop();
                return Poll::Ready(came);
            }
            let tries = self.others.iter().chain(&self.latest);
            let wake_at = tries.map(Try::wake_at).chain(self.next_at).chain(check_at);
            let Some(wake_at) = wake_at.min() else {
                return Poll::Pending;
            };
            if timer.poll_until(cx, worker.now, wake_at).is_pending() {
                return Poll::Pending;
            }
            if self.next_at.is_some_and(|at| at <= worker.now) {
                return Poll::Ready(Came::Silence);
            }
        }
    }

    /// One is decided; so many of the others began before it.
    fn decide(
        &mut self,
        decided: Try<R::Socket>,
        result: io::Result<Option<io::Error>>,
        elder: usize,
        now: Instant,
    ) -> Came<R::Socket> {
        let Try {
            waits_for,
            spot,
            begun_at,
            ..
        } = decided;
        match (result, waits_for) {
            (Ok(lost), WaitsFor::Decision(socket)) => {
                // Those that it has outrun are passed over for a while.
                for other in &self.others[..elder] {
                    if other.begun_at + self.delay <= begun_at {
                        self.walk.on_failure_at(other.spot, now);
                    }
                }
                self.walk.on_success_at(spot);
                let won = Won {
                    socket,
                    spot,
                    begun_at,
                    asked_after: None,
                };
                Came::Connected(won, lost)
            }
            (Ok(lost), WaitsFor::Tls { socket, asking }) => {
                let won = Won {
                    socket,
                    spot,
                    begun_at,
                    asked_after: Some(asking.connect_took),
                };
                Came::Connected(won, lost)
            }
            (Ok(_), WaitsFor::Room { .. }) => {
                let error = Errno::AGAIN.into();
                let fault = Fault::of(&error);
                Came::Failed(spot, error, fault)
            }
            (Err(error), WaitsFor::Tls { .. }) => {
                let fault = Asking::fault(&error);
                Came::Failed(spot, error, fault)
            }
            (Err(error), _) => {
                let fault = Fault::of(&error);
                Came::Failed(spot, error, fault)
            }
        }
    }
}

impl<S: Socket<Transport: Transport>> Try<S> {
    /// Ready once it is decided, or has taken too long.
    fn poll<R: Runtime<Socket = S>>(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &R,
        worker: &Worker,
    ) -> Poll<io::Result<Option<io::Error>>> {
        let is_late = self.deadline <= worker.now;
        loop {
            match &mut self.waits_for {
                WaitsFor::Decision(socket) => {
                    // On one machine the kernel has finished a connect before connect(2) returns, though that says that
                    // it is under way. And the process may have stood still until after the deadline.
                    if (std::mem::take(&mut self.is_new) || is_late)
                        && socket.transport().is_connected()
                    {
                        socket.assume_ready(Interest::Write);
                        return Poll::Ready(Ok(None));
                    }
                    if !is_late {
                        return socket.poll_io(cx, Interest::Write, |transport| {
                            decision(transport).map(Attempt::Done)
                        });
                    }
                    match decision(socket.transport()) {
                        // Without an error it is still under way.
                        Ok(None) => {}
                        decided => return Poll::Ready(decided),
                    }
                }
                WaitsFor::Tls { socket, asking } => {
                    if is_late {
                        // The process may have stood still: what came meanwhile is in time.
                        socket.assume_ready(Interest::Read);
                    }
                    if let Poll::Ready(done) = asking.poll(cx, socket) {
                        return Poll::Ready(done.map(|()| None));
                    }
                }
                WaitsFor::Room { address, retry_at } if *retry_at <= worker.now => {
                    let address = address.clone();
                    // A unix socket has no options.
                    match open(runtime, worker, address, Dial::default(), self.begun_at) {
                        Ok(waits_for) => self.waits_for = waits_for,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                    continue;
                }
                WaitsFor::Room { .. } => {}
            }
            if is_late {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return Poll::Pending;
        }
    }

    /// When it is to be looked at again.
    fn wake_at(&self) -> Instant {
        match &self.waits_for {
            WaitsFor::Decision(_) | WaitsFor::Tls { .. } => self.deadline,
            WaitsFor::Room { retry_at, .. } => self.deadline.min(*retry_at),
        }
    }
}

/// Begins a connect, for the first time at `begun_at`.
pub(super) fn open<R: Runtime>(
    runtime: &R,
    worker: &Worker,
    address: ServerAddress,
    dial: Dial<'_>,
    begun_at: Instant,
) -> io::Result<WaitsFor<R::Socket>> {
    match runtime.connect(&address, dial) {
        Ok(socket) => {
            if address.is_met_by(socket.transport()) {
                return Err(Errno::CONNREFUSED.into());
            }
            Ok(WaitsFor::Decision(socket))
        }
        Err(error) if address.is_full(&error) => {
            let waited = worker.now.saturating_duration_since(begun_at);
            let pause = (waited / 4).clamp(ROOM_RETRY_MIN, ROOM_RETRY_MAX);
            Ok(WaitsFor::Room {
                address,
                retry_at: worker.now + pause,
            })
        }
        Err(error) => Err(error),
    }
}

/// What became of a connect that is no longer under way: it worked; or, with the error, it worked, and the server has said
/// something and reset since.
fn decision(transport: &impl Transport) -> io::Result<Option<io::Error>> {
    match transport.take_error() {
        Ok(()) => Ok(None),
        Err(error) if has_spoken(transport, &error) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Whether a server whose connect came to this error had accepted it, said something and reset: a connect that is refused
/// has another error.
fn has_spoken(transport: &impl Transport, error: &io::Error) -> bool {
    let was_connected = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    );
    was_connected && matches!(transport.peek(), Ok(Attempt::Done(_)))
}
