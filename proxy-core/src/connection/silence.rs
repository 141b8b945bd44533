//! What a connection does while nothing comes: it waits for its timer, looks at its sides now and then, and ends when it was
//! silent for too long.

use std::task::Context;
use std::time::Instant;

use crate::connection::end::Termination;
use crate::connection::{
    Connection, LAST_WORDS_PATIENCE, MARK_CHECK_AFTER, Phase, STALL_CHECK_INTERVAL, Turn,
};
use crate::metrics::Cause;
use crate::runtime::{Runtime, Socket, Timer};
use crate::transport::Transport;
use crate::worker::Worker;

impl<R: Runtime> Connection<R> {
    /// Whether it has just been silent for long enough to be looked at.
    pub(super) fn is_mark_check_due(&mut self, now: Instant) -> bool {
        if self.mark_check_at.is_none_or(|at| at > now) {
            return false;
        }
        let at = self.last_byte_at + MARK_CHECK_AFTER;
        self.mark_check_at = (at > now).then_some(at);
        self.mark_check_at.is_none()
    }

    /// Whether a side is lost, and what it said is still to arrive.
    pub(super) fn is_losing(&self) -> bool {
        matches!(&self.phase, Phase::Relaying(relaying) if relaying.relay.check_after().is_some())
    }

    /// When it ends unless a byte comes before.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        let mut timeout = self.entry.settings().idle_timeout;
        if self.is_losing() {
            let patience = timeout.map_or(LAST_WORDS_PATIENCE, |at| at.min(LAST_WORDS_PATIENCE));
            timeout = Some(patience);
        }
        timeout.map(|timeout| self.last_byte_at + timeout)
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.idle_at().is_some_and(|at| at <= now)
    }

    /// Arms the timer, or acts on it.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> Turn {
        let expired = self.has_expired(worker.now);
        let idle_at = self.idle_at();
        let Phase::Relaying(relaying) = &mut self.phase else {
            return Turn::Waiting;
        };
        let relay = &mut relaying.relay;
        if let Some(check_after) = relay.check_after() {
            if let Some(failure) = expired.then(|| relay.take_loss()).flatten() {
                return self.fail(worker, failure);
            }
            // The check comes first, and this only arms.
            let _ = self
                .timer
                .poll_until(cx, worker.now, worker.now + check_after);
            return Turn::Waiting;
        }
        if expired {
            if relay.holds_bytes() {
                // An orderly end would tell the side that they are for that it has everything.
                relaying.client.transport().reset_on_close();
                relaying.server.transport().reset_on_close();
            }
            let stage = relay.stage();
            let termination = if relay.waits_for_server() {
                Termination::server_stalled(stage)
            } else {
                Termination::of(Cause::IdleTimeout, stage, None)
            };
            return self.end_as(worker, Cause::IdleTimeout, termination);
        }
        if !relay.has_unread_side() {
            self.stall_check_at = None;
        } else if self.stall_check_at.is_none_or(|at| at <= worker.now) {
            if self.stall_check_at.is_some()
                && let Err(failure) = relay.check_unread(&relaying.client, &relaying.server)
            {
                relay.on_lost(&mut worker.buffers, failure);
                // The other side's patience begins.
                self.last_byte_at = worker.now;
                return Turn::Again;
            }
            self.stall_check_at = Some(worker.now + STALL_CHECK_INTERVAL);
        }
        if let Some(deadline) = [idle_at, self.stall_check_at, self.mark_check_at]
            .into_iter()
            .flatten()
            .min()
        {
            // Neither deadline has passed, so this only arms.
            let _ = self.timer.poll_until(cx, worker.now, deadline);
        }
        Turn::Waiting
    }
}
