//! What a connection tries next.

use std::sync::Arc;
use std::time::Instant;

use crate::connection::connect::Connect;
use crate::connection::connect::queued::Queued;
use crate::metrics::Slot;
use crate::runtime::Runtime;
use crate::upstream::pool::{Ask, Pool, Unserved, WhenAllDown};
use crate::upstream::taken::Taken;

/// What comes next for a connection.
pub(super) enum Choice {
    /// A server, with a place there.
    Server(usize, Taken),
    /// It waits for a place.
    Wait(Queued),
    /// Another upstream.
    Fallback,
    None(Unserved),
}

impl<R: Runtime> Connect<R> {
    /// Servers that are up come first, then those of the upstream that stands in if it has such. Where all are full it waits, if
    /// it may. Else those that are down come last. Nobody has a place before those who wait for one.
    pub(super) fn choose(&self, pool: &Arc<Pool>, hash: u64, now: Instant) -> Choice {
        let take = |ask| pool.take(&self.tried, ask, hash, now);
        let is_behind = self.turn.is_none() && pool.has_waiting();
        let taken = if is_behind {
            Err(Unserved::Full)
        } else {
            take(Ask::Able)
        };
        let unserved = match taken {
            Ok((server, taken)) => return Choice::Server(server, taken),
            Err(unserved) => unserved,
        };
        let fallback = pool.fallback();
        if fallback.is_some_and(|fallback| fallback.can_serve(now)) {
            return Choice::Fallback;
        }
        if unserved == Unserved::Full
            && let Some(queued) = Queued::join(pool, hash, &self.tried, self.turn, now)
        {
            return Choice::Wait(queued);
        }
        if pool.settings().when_all_down == WhenAllDown::Try
            && let Ok((server, taken)) = take(Ask::Any)
        {
            return Choice::Server(server, taken);
        }
        match fallback {
            Some(_) => Choice::Fallback,
            None => Choice::None(unserved),
        }
    }

    /// Another upstream stands in, where the connection is counted from now on.
    pub(super) fn fall_back(&mut self, pool: &Pool, slot: Slot) {
        if let Some(fallback) = pool.fallback() {
            self.leave(pool, fallback, slot);
            self.newer = self.newer.take().map(|_| fallback.clone());
            self.tried.clear();
        }
    }

    /// It is counted at another upstream from now on.
    pub(super) fn leave(&mut self, pool: &Pool, other: &Pool, slot: Slot) {
        pool.upstream().cells.of(slot).waits_over.increment();
        other.upstream().cells.of(slot).waits_begun.increment();
        self.fallbacks += 1;
        self.turn = None;
    }
}
