//! Finding a server that answers.

mod attempt;
mod choice;
mod client;
mod queued;
mod refusal;
pub(crate) mod retries;
mod wait;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::connection::affinity;
use crate::connection::asking::Asking;
use crate::connection::attempts::Attempts;
pub use crate::connection::connect::attempt::{
    ADDRESS_DELAY, ADDRESSES_TRIED_AT_ONCE_MAX, ROOM_RETRY_MAX, ROOM_RETRY_MIN,
};
use crate::connection::connect::attempt::{Attempting, Came, Won, open};
use crate::connection::connect::choice::Choice;
pub(crate) use crate::connection::connect::client::Client;
pub(crate) use crate::connection::connect::queued::WaitTurn;
use crate::connection::connect::queued::{Queued, Waited};
use crate::connection::connect::refusal::{Refusal, is_ours, unsuited};
use crate::connection::connect::retries::Retries;
pub(crate) use crate::connection::connect::wait::Wait;
use crate::connection::entry::Entry;
use crate::connection::first::{First, header};
use crate::connection::origin::ClientAddress;
use crate::listener::settings::ListenerSettings;
use crate::metrics::ConnectFailure;
use crate::relay::{Failure, Side};
use crate::route::Destination;
use crate::runtime::{Lost, Runtime, Socket};
use crate::socket_options::Dial;
use crate::transport::Transport;
use crate::upstream::addresses::Walk;
use crate::upstream::outage::Fault;
use crate::upstream::pool::{Pool, Unserved};
use crate::upstream::queue::Grant;
use crate::upstream::server::Server;
use crate::upstream::taken::Taken;
use crate::worker::Worker;

/// Servers that one connection tries before it gives up.
pub const SERVERS_TRIED_MAX: usize = 16;

/// How often a client is looked at whose server has not answered yet, to notice that it went away.
pub const CLIENT_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The connect phase of a connection: one server at a time, each server at most once where nothing else is configured.
pub(crate) struct Connect<R: Runtime> {
    accepted_at: Instant,
    /// Who it is for, as servers may be connected to from the client's address.
    client: ClientAddress,
    /// Where it goes.
    pub(crate) destination: Destination,
    /// How often another upstream stood in for the one before.
    fallbacks: u16,
    /// What its server gets first.
    pub(crate) first: Option<Box<First>>,
    pub(crate) attempts: Attempts,
    attempt: Option<Attempting<R>>,
    /// Its place among those who wait for one.
    queued: Option<Queued>,
    /// That of its last wait.
    turn: Option<WaitTurn>,
    /// The pool that its server is of, where that is newer than its settings: it has waited meanwhile.
    newer: Option<Arc<Pool>>,
    /// Places of servers of its upstream that failed. It allocates at the first failure only.
    tried: Vec<usize>,
    /// Servers of all upstreams that failed.
    failed: usize,
    /// The last server that was tried.
    last: Option<Arc<Server>>,
    client_check_at: Instant,
    /// The worker can watch no socket any more.
    is_lost: bool,
    /// The client was reset, and what it had said before is still to be delivered.
    client_lost: Option<io::Error>,
    /// None before the first retry, and where there is no budget for retries.
    retries: Option<Box<Retries>>,
}

/// A server that answered.
pub(crate) struct Connected<S> {
    pub(crate) taken: Taken,
    /// Its place in the pool.
    pub(crate) place: usize,
    /// Its other addresses.
    pub(crate) walk: Walk,
    pub(crate) socket: S,
    pub(crate) attempts: Attempts,
    pub(crate) lost: Option<Failure>,
    /// It was asked for TLS, and has its header.
    pub(crate) was_asked: bool,
}

/// Why another address of a server is tried.
enum Next {
    /// None was yet.
    First,
    /// This came of the one before.
    After(Refusal),
    /// Those before are silent.
    Beside,
}

/// Why a connection has no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoServer {
    /// Those that were tried failed.
    Failed,
    /// None was tried: those that are up have as many connections as they may.
    Full,
    /// None was tried: none is up.
    Down,
    /// It has waited for a place for as long as it may.
    Late,
    /// Its worker is dead.
    Lost,
}

impl<R: Runtime> Connect<R> {
    pub(crate) fn new(
        accepted_at: Instant,
        client: ClientAddress,
        destination: Destination,
        first: Option<Box<First>>,
        now: Instant,
    ) -> Self {
        Self {
            accepted_at,
            client,
            destination,
            first,
            attempts: Attempts::default(),
            attempt: None,
            queued: None,
            turn: None,
            newer: None,
            fallbacks: 0,
            tried: Vec::new(),
            failed: 0,
            last: None,
            client_check_at: now + CLIENT_CHECK_INTERVAL,
            client_lost: None,
            is_lost: false,
            retries: None,
        }
    }

    /// Whether the client has said something in its prologue that is for the server.
    pub(crate) fn has_spoken(&self) -> bool {
        self.first.as_ref().is_some_and(|first| first.has_bytes())
    }

    /// The pool that it has come to.
    pub(crate) fn pool<'a>(&self, settings: &'a ListenerSettings) -> Cow<'a, Arc<Pool>> {
        match &self.newer {
            Some(newer) => Cow::Owned(newer.clone()),
            None => Cow::Borrowed(settings.pool_after(self.destination, self.fallbacks)),
        }
    }

    /// How it has come there; none: the pool is a newer one than its settings have.
    pub(crate) fn way(&self) -> Option<(Destination, u16)> {
        let is_own = self.newer.is_none();
        is_own.then_some((self.destination, self.fallbacks))
    }

    /// Whether it waits for a place.
    pub(crate) fn is_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// It waits for a place no more: how long that took is counted.
    pub(crate) fn end_wait(&mut self, worker: &Worker, settings: &ListenerSettings) {
        if let Some(queued) = self.queued.take() {
            self.turn = Some(queued.turn());
            let pool = self.pool(settings);
            let cells = pool.upstream().cells.of(worker.slot());
            cells.slot_waits.observe(queued.waited(worker.now));
        }
    }

    /// The last server that was tried, or is.
    pub(crate) fn last_server(&self) -> Option<&Arc<Server>> {
        let tried_now = self.attempt.as_ref().map(|attempt| attempt.taken.server());
        tried_now.or(self.last.as_ref())
    }

    /// The server's socket once there is one, or why there is none.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &R,
        worker: &Worker,
        entry: &mut Entry,
        client: &R::Socket,
        timer: &mut R::Timer,
    ) -> Poll<Result<Connected<R::Socket>, NoServer>> {
        let slot = worker.slot();
        loop {
            if let Some(queued) = &self.queued {
                let waited = match queued.poll(cx, runtime, worker, timer) {
                    Poll::Ready(waited) => waited,
                    Poll::Pending => return Poll::Pending,
                };
                self.end_wait(worker, entry.settings());
                match waited {
                    Waited::Granted(grant) => self.accept(runtime, worker, entry, grant),
                    // Perhaps another upstream stands in, or those that are down are tried.
                    Waited::NoneUp => {}
                    Waited::Late => return Poll::Ready(Err(NoServer::Late)),
                }
            }
            let Some(attempt) = &mut self.attempt else {
                if self.retries.is_some() {
                    if self.poll_pause(cx, worker, timer).is_pending() {
                        return Poll::Pending;
                    }
                    self.pass_over(runtime, worker, entry);
                    if self.attempt.is_some() {
                        continue;
                    }
                }
                if self.is_lost {
                    return Poll::Ready(Err(NoServer::Lost));
                }
                if let Err(no_server) = self.begin(runtime, worker, entry)
                    && !self.is_lost
                    && !self.begin_again(no_server, worker, entry)
                {
                    return Poll::Ready(Err(no_server));
                }
                continue;
            };
            let check_at = match self.client_lost {
                None => Some(self.client_check_at),
                Some(_) => None,
            };
            let came = match attempt.poll(cx, runtime, worker, timer, check_at) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(came) => came,
            };
            let Some(mut attempting) = self.attempt.take() else {
                continue;
            };
            let pool = self.pool(entry.settings());
            let next = match came {
                Came::Connected(won, lost) => {
                    let took = worker.now.saturating_duration_since(won.begun_at);
                    if won.asked_after.is_none() {
                        pool.upstream().cells.of(slot).connect.observe(took);
                        // One that has ended since says so when it is asked.
                        if let Some(asking) = self.asking(&pool, entry, client, took) {
                            let deadline = worker.now + pool.settings().starttls_timeout;
                            attempting.ask(won, asking, deadline);
                            self.attempt = Some(attempting);
                            continue;
                        }
                    }
                    let connected = self.finish(worker, &pool, attempting, won, lost);
                    return Poll::Ready(Ok(connected));
                }
                // Another address of the same server comes before another server.
                Came::Failed(spot, error, fault) => {
                    let at = (attempting.server, &attempting.walk, spot);
                    let why = (&error, fault, is_ours(&error));
                    Next::After(self.note_failure(worker, &pool, at, why))
                }
                Came::Silence => Next::Beside,
            };
            self.attempt(runtime, worker, &pool, attempting, next);
        }
    }

    /// Starts on the next server, or on the wait for one, or says why there is none left.
    fn begin(&mut self, runtime: &R, worker: &Worker, entry: &mut Entry) -> Result<(), NoServer> {
        while self.failed < SERVERS_TRIED_MAX && !self.is_refused() && !self.is_lost {
            let pool = self.pool(entry.settings());
            let hash = affinity::hash(pool.settings(), &entry.record);
            let (server, taken) = match self.choose(&pool, hash, worker.now) {
                Choice::Server(server, taken) => (server, taken),
                Choice::Wait(queued) => {
                    self.queued = Some(queued);
                    return Ok(());
                }
                Choice::Fallback => {
                    self.fall_back(&pool, worker.slot());
                    continue;
                }
                Choice::None(Unserved::Full) if self.failed == 0 => return Err(NoServer::Full),
                Choice::None(Unserved::Down) if self.failed == 0 => return Err(NoServer::Down),
                Choice::None(_) => return Err(NoServer::Failed),
            };
            if self.start(runtime, worker, entry, (server, taken)) {
                return Ok(());
            }
        }
        Err(NoServer::Failed)
    }

    /// Takes the server that it has waited for.
    fn accept(&mut self, runtime: &R, worker: &Worker, entry: &mut Entry, grant: Grant) {
        let Grant {
            pool,
            server,
            taken,
            tried,
        } = grant;
        let own = self.pool(entry.settings()).into_owned();
        if !Arc::ptr_eq(&own, &pool) {
            if own.upstream().id != pool.upstream().id {
                self.leave(&own, &pool, worker.slot());
            }
            self.newer = Some(pool);
        }
        self.tried = tried;
        self.start(runtime, worker, entry, (server, taken));
    }

    /// Starts on a server. False when it may not be tried; or, with it among those that were tried, when none of its addresses
    /// can be started on.
    fn start(
        &mut self,
        runtime: &R,
        worker: &Worker,
        entry: &mut Entry,
        (server, taken): (usize, Taken),
    ) -> bool {
        entry.permit.make_room();
        let pool = self.pool(entry.settings());
        if !self.may_connect(&pool, worker, self.is_first()) {
            return false;
        }
        let walk = pool.server(server).walk();
        let attempting = Attempting::new(server, taken, walk);
        self.attempt(runtime, worker, &pool, attempting, Next::First)
    }

    /// Starts on a server's next address that can be started on. False, with the server among those that were tried, when there
    /// is none left and no connect is under way.
    fn attempt(
        &mut self,
        runtime: &R,
        worker: &Worker,
        pool: &Pool,
        mut attempting: Attempting<R>,
        next: Next,
    ) -> bool {
        let server = attempting.server;
        let cells = pool.server(server).cells.of(worker.slot());
        let dial = Dial {
            options: pool.connect_options(),
            client: Some(self.client),
        };
        let is_beside = matches!(next, Next::Beside);
        let mut is_first = matches!(next, Next::First);
        let mut failure = match next {
            Next::After(failure) => Some(failure),
            Next::First | Next::Beside => None,
        };
        while !attempting.walk.is_over() && !attempting.is_crowded() {
            if !std::mem::take(&mut is_first) && !self.may_connect(pool, worker, false) {
                break;
            }
            let Some(address) = attempting.walk.next(worker.now) else {
                break;
            };
            self.attempts.on_begin(self.accepted_at, worker.now);
            let suits = dial.suits(&address);
            let opened = if suits {
                open(runtime, worker, address, dial, worker.now)
            } else {
                Err(unsuited(pool, self.client))
            };
            match opened {
                Ok(waits_for) => {
                    cells.opened.increment();
                    let times = (worker.now, self.deadline(pool, worker.now));
                    attempting.begin(waits_for, pool.settings().connect_timeout, times);
                    self.attempt = Some(attempting);
                    return true;
                }
                Err(error) if Lost::is(&error) => {
                    self.is_lost = true;
                    return false;
                }
                Err(error) => {
                    let at = (server, &attempting.walk, attempting.walk.spot());
                    let fault = Fault::of(&error);
                    let fault = if suits {
                        fault
                    } else {
                        ConnectFailure::Local.into()
                    };
                    let why = (&error, fault, !suits || is_ours(&error));
                    let refusal = self.note_failure(worker, pool, at, why);
                    failure = Some(refusal);
                    if is_beside && suits && refusal.is_ours {
                        break;
                    }
                }
            }
        }
        if attempting.is_under_way() {
            // It goes on with what there is.
            if is_beside {
                self.forgive();
            }
            attempting.stay();
            self.attempt = Some(attempting);
            return true;
        }
        let failure = failure.unwrap_or_else(|| {
            let reason = ConnectFailure::Resolve;
            cells.failures[reason as usize].increment();
            self.attempts.on_failure(reason);
            Refusal {
                fault: reason.into(),
                is_ours: false,
            }
        });
        // Where nothing more may be tried, another address may still work.
        if !failure.is_ours && (attempting.walk.is_over() || !self.is_refused()) {
            pool.note_attempt(server, Err(failure.fault), worker.now);
        }
        self.tried.push(server);
        self.failed += 1;
        self.last = Some(attempting.taken.server().clone());
        false
    }

    fn finish(
        &mut self,
        worker: &Worker,
        pool: &Pool,
        attempting: Attempting<R>,
        won: Won<R::Socket>,
        server_lost: Option<io::Error>,
    ) -> Connected<R::Socket> {
        self.attempts.on_connected(self.accepted_at, worker.now);
        let took = won.asked_after;
        let took = took.unwrap_or_else(|| worker.now.saturating_duration_since(won.begun_at));
        pool.note_attempt(attempting.server, Ok(took), worker.now);
        Connected {
            taken: attempting.taken,
            place: attempting.server,
            walk: attempting.walk,
            socket: won.socket,
            attempts: self.attempts,
            lost: match (self.client_lost.take(), server_lost) {
                (Some(error), _) => Some(Failure {
                    side: Side::Client,
                    error,
                }),
                (None, Some(error)) => Some(Failure {
                    side: Side::Server,
                    error,
                }),
                (None, None) => None,
            },
            was_asked: won.asked_after.is_some(),
        }
    }

    /// What a server is asked that was just connected to, where its client has asked for TLS.
    fn asking(
        &self,
        pool: &Pool,
        entry: &Entry,
        client: &R::Socket,
        connect_took: Duration,
    ) -> Option<Box<Asking>> {
        let first = self.first.as_deref()?;
        let protocol = first.starttls?;
        let local = || client.transport().local_address().ok().flatten();
        let before = header(
            Some(first),
            pool.settings().send_proxy,
            &entry.record,
            local,
        );
        Some(Box::new(Asking::new(protocol, before, connect_took)))
    }
}
