//! A connection goes from one worker to another, of this backend or of another one.

use std::io;

use crate::connection::connect::Connect;
use crate::connection::detached::{Detached, Parts, Waiting, Whole};
use crate::connection::{Connection, MARK_CHECK_AFTER, Phase, Relaying};
use crate::runtime::{Runtime, Socket, TransportOf};
use crate::worker::Worker;

impl<R: Runtime> Connection<R> {
    /// Takes it off this worker, to be attached to another one; then this value is over. None for a connection that is
    /// not relaying, as one whose connect is under way: it stays where it is.
    pub fn detach(&mut self) -> Option<Detached<TransportOf<R>>> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Relaying(relaying) => Some(Detached::new(Parts {
                entry: self.entry.hand_on(),
                taken: relaying.taken,
                client: relaying.client.detach(),
                server: relaying.server.detach(),
                attempts: relaying.attempts,
                relay: relaying.relay,
                trial: relaying.trial,
                probation: relaying.probation,
                last_byte_at: self.last_byte_at,
                stall_check_at: self.stall_check_at,
                clocks: self.clocks.take(),
                ran_by: Some(self.ran_by),
                moves: self.moves,
            })),
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// The same where all are to leave; `with_waiting` says whether they go to another process, to which a client that waits for a
    /// place at a server goes as well. Within a process it keeps its place where it is.
    pub fn leave(&mut self, with_waiting: bool) -> Option<Detached<TransportOf<R>>> {
        let detached = self.detach();
        if detached.is_some() || !with_waiting {
            return detached;
        }
        let is_waiting = matches!(&self.phase, Phase::Connecting { connect, .. } if connect.can_wait_elsewhere());
        if !is_waiting {
            return None;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let Phase::Connecting { client, connect } = phase else {
            return None;
        };
        let wait = connect.into_wait(self.entry.settings())?;
        Some(Detached::waiting(Waiting {
            entry: self.entry.hand_on(),
            client: client.detach(),
            wait,
            ran_by: Some(self.ran_by),
            moves: self.moves,
        }))
    }

    /// A connection that another worker detached. None when it can't be watched here: then it is cut, and counted.
    pub fn attach(
        runtime: &R,
        worker: &mut Worker,
        detached: Detached<TransportOf<R>>,
    ) -> Option<Self> {
        let mut connection = match detached.into_whole() {
            Whole::Relaying(parts) => Self::relaying(runtime, worker, *parts),
            Whole::Waiting(waiting) => Self::waiting(runtime, worker, *waiting),
        }?;
        // What is set where it comes from is nothing to it any more.
        connection.on_change(worker);
        Some(connection)
    }

    /// One that waits for a place.
    fn waiting(runtime: &R, worker: &mut Worker, waiting: Waiting<TransportOf<R>>) -> Option<Self> {
        let client = match runtime.watch(waiting.client) {
            Ok(client) => client,
            Err((client, error)) => {
                tracing::warn!(listener = waiting.entry.settings().listener.name, %error, "a connection can't be watched");
                let waiting = Waiting { client, ..waiting };
                waiting.give_up(worker.slot(), worker.cells(), worker.now);
                return None;
            }
        };
        let (mut entry, wait) = (waiting.entry, waiting.wait);
        entry.enter(worker.slot());
        let ran_by = waiting.ran_by.unwrap_or_else(|| {
            worker.cells().adopted.increment();
            let settings = entry.settings();
            let pool = settings.pool_after(wait.destination, wait.fallbacks);
            let cells = pool.upstream().cells.of(worker.slot());
            cells.waits_begun.increment();
            worker.slot()
        });
        let record = &entry.record;
        let (accepted_at, who) = (record.accepted_at(), record.client());
        let connect = Box::new(Connect::of_wait(wait, accepted_at, who, worker.now));
        Some(Self {
            entry,
            phase: Phase::Connecting { client, connect },
            timer: runtime.timer(),
            last_byte_at: worker.now,
            stall_check_at: None,
            clocks: None,
            mark_check_at: None,
            ran_by,
            moves: waiting.moves.saturating_add(1),
            was_long: false,
        })
    }

    /// One that has a server.
    fn relaying(runtime: &R, worker: &mut Worker, parts: Parts<TransportOf<R>>) -> Option<Self> {
        let (client, server) = match watch_both(runtime, parts.client, parts.server) {
            Ok(watched) => watched,
            Err((client, server, error)) => {
                tracing::warn!(listener = parts.entry.settings().listener.name, %error, "a connection can't be watched");
                let parts = Parts {
                    client,
                    server,
                    ..parts
                };
                parts.give_up(worker.slot(), worker.cells(), worker.now);
                return None;
            }
        };
        let mut entry = parts.entry;
        entry.enter(worker.slot());
        let ran_by = parts.ran_by.unwrap_or_else(|| {
            worker.cells().adopted.increment();
            worker.slot()
        });
        Some(Self {
            entry,
            phase: Phase::Relaying(Relaying {
                taken: parts.taken,
                client,
                server,
                attempts: parts.attempts,
                relay: parts.relay,
                trial: parts.trial,
                probation: parts.probation,
            }),
            timer: runtime.timer(),
            last_byte_at: parts.last_byte_at,
            stall_check_at: parts.stall_check_at,
            clocks: parts.clocks,
            mark_check_at: Some(parts.last_byte_at + MARK_CHECK_AFTER),
            ran_by,
            moves: parts.moves.saturating_add(1),
            was_long: false,
        })
    }
}

/// Both sockets, or both descriptors and why not.
#[expect(clippy::type_complexity, reason = "for its one caller")]
fn watch_both<R: Runtime>(
    runtime: &R,
    client: TransportOf<R>,
    server: TransportOf<R>,
) -> Result<(R::Socket, R::Socket), (TransportOf<R>, TransportOf<R>, io::Error)> {
    let client = match runtime.watch(client) {
        Ok(client) => client,
        Err((client, error)) => return Err((client, server, error)),
    };
    match runtime.watch(server) {
        Ok(server) => Ok((client, server)),
        Err((server, error)) => Err((client.detach(), server, error)),
    }
}
