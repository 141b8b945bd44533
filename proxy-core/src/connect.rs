//! Finding a server that answers.

use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::attempts::Attempts;
use crate::metrics::{ConnectFailure, UpstreamCells};
use crate::runtime::{Attempt, Interest, Runtime, Socket, Timer};
use crate::transport::Transport;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// Servers that one connection tries before it gives up.
pub const SERVERS_TRIED_MAX: usize = 16;

/// The connect phase of a connection: at most one attempt at a time, each server at most once.
pub(crate) struct Connect<R: Runtime> {
    accepted_at: Instant,
    pub(crate) attempts: Attempts,
    attempt: Option<Attempting<R>>,
    /// Servers that failed. It allocates at the first failure only.
    tried: Vec<usize>,
}

struct Attempting<R: Runtime> {
    socket: R::Socket,
    server: usize,
    /// Addresses of this server that failed.
    failed_addresses: usize,
    begun_at: Instant,
    deadline: Instant,
}

/// A server that answered.
pub(crate) struct Connected<S> {
    pub(crate) socket: S,
    pub(crate) index: usize,
    pub(crate) attempts: Attempts,
}

impl<R: Runtime> Connect<R> {
    pub(crate) fn new(accepted_at: Instant) -> Self {
        Self {
            accepted_at,
            attempts: Attempts::default(),
            attempt: None,
            tried: Vec::new(),
        }
    }

    /// The server's socket once there is one; none when every server failed.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &R,
        worker: &Worker,
        upstream: &Upstream,
        timer: &mut R::Timer,
    ) -> Poll<Option<Connected<R::Socket>>> {
        let cells = upstream.cells.of(worker.index);
        loop {
            let Some(attempt) = &self.attempt else {
                if !self.begin(runtime, worker, upstream) {
                    return Poll::Ready(None);
                }
                continue;
            };
            let decided = attempt.socket.poll_io(cx, Interest::Write, |transport| {
                transport.take_error().map(Attempt::Done)
            });
            let failure = match decided {
                Poll::Ready(Ok(())) => {
                    cells
                        .connect
                        .observe(worker.now.saturating_duration_since(attempt.begun_at));
                    return Poll::Ready(self.finish(worker, upstream));
                }
                Poll::Ready(Err(error)) => error,
                Poll::Pending => {
                    if timer
                        .poll_until(cx, worker.now, attempt.deadline)
                        .is_pending()
                    {
                        return Poll::Pending;
                    }
                    io::ErrorKind::TimedOut.into()
                }
            };
            let (server, failed_addresses) = (attempt.server, attempt.failed_addresses);
            self.attempt = None;
            self.note_failure(upstream, cells, server, &failure, worker.now);
            cells.servers[server].closed.increment();
            // Another address of the same server comes before another server.
            if !self.attempt(runtime, worker, upstream, server, failed_addresses + 1) {
                self.tried.push(server);
            }
        }
    }

    /// Counts an attempt that nobody waits for any more.
    pub(crate) fn abandon(&mut self, cells: &UpstreamCells) {
        if let Some(attempt) = self.attempt.take() {
            cells.servers[attempt.server].closed.increment();
        }
    }

    /// Starts on the next server. False when there is none left.
    fn begin(&mut self, runtime: &R, worker: &Worker, upstream: &Upstream) -> bool {
        while self.tried.len() < SERVERS_TRIED_MAX
            && let Some(server) = upstream.pick(&self.tried)
        {
            let cells = upstream.cells.of(worker.index);
            if !self.tried.is_empty() {
                cells.retries.increment();
            }
            if self.attempt(runtime, worker, upstream, server, 0) {
                return true;
            }
            if upstream.servers()[server].address(0).is_none() {
                let unresolved = ConnectFailure::Resolve;
                cells.servers[server].failures[unresolved as usize].increment();
                self.attempts.on_failure(unresolved);
                upstream.note_attempt(server, Some(unresolved), worker.now);
                upstream.on_connect(server, false);
            }
            self.tried.push(server);
        }
        false
    }

    /// Starts on a server's first address after `failed_addresses` that can be started on.
    fn attempt(
        &mut self,
        runtime: &R,
        worker: &Worker,
        upstream: &Upstream,
        server: usize,
        mut failed_addresses: usize,
    ) -> bool {
        let cells = upstream.cells.of(worker.index);
        while let Some(address) = upstream.servers()[server].address(failed_addresses) {
            if failed_addresses > 0 {
                cells.retries.increment();
            }
            self.attempts.on_begin(server, self.accepted_at, worker.now);
            match runtime.connect(&address) {
                Ok(socket) => {
                    cells.servers[server].opened.increment();
                    self.attempt = Some(Attempting {
                        socket,
                        server,
                        failed_addresses,
                        begun_at: worker.now,
                        deadline: worker.now + upstream.connect_timeout,
                    });
                    return true;
                }
                Err(error) => self.note_failure(upstream, cells, server, &error, worker.now),
            }
            failed_addresses += 1;
        }
        false
    }

    fn finish(&mut self, worker: &Worker, upstream: &Upstream) -> Option<Connected<R::Socket>> {
        let attempt = self.attempt.take()?;
        self.attempts.on_connected(self.accepted_at, worker.now);
        upstream.note_attempt(attempt.server, None, worker.now);
        let server = &upstream.servers()[attempt.server];
        upstream.on_connect(attempt.server, true);
        server.prefer(attempt.failed_addresses);
        Some(Connected {
            socket: attempt.socket,
            index: attempt.server,
            attempts: self.attempts,
        })
    }

    fn note_failure(
        &mut self,
        upstream: &Upstream,
        cells: &UpstreamCells,
        server: usize,
        error: &io::Error,
        now: Instant,
    ) {
        let reason = ConnectFailure::of(error);
        self.attempts.on_failure(reason);
        upstream.note_attempt(server, Some(reason), now);
        cells.servers[server].failures[reason as usize].increment();
        upstream.on_connect(server, false);
        tracing::debug!(
            upstream = upstream.name,
            server = upstream.servers()[server].label,
            %error,
            "connect failed"
        );
    }
}
