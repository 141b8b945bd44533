//! A connection goes from one worker to another, of this backend or of another one.

use std::io;

use crate::connection::detached::{Detached, Parts};
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

    /// A connection that another worker detached. None when it can't be watched here: then it is cut, and counted.
    pub fn attach(
        runtime: &R,
        worker: &mut Worker,
        detached: Detached<TransportOf<R>>,
    ) -> Option<Self> {
        let parts = detached.into_parts();
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
        let mut connection = Self {
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
        };
        // What is set where it comes from is nothing to it any more.
        connection.on_change(worker);
        Some(connection)
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
