//! What a connection does while nothing comes: it waits for its timer, looks at its sides now and then, and ends when it was
//! silent for too long.

use std::task::Context;
use std::time::{Duration, Instant};

use crate::connection::times::Expiry;
use crate::connection::{
    Connection, LAST_WORDS_PATIENCE, MARK_CHECK_AFTER, Phase, Relaying, STALL_CHECK_INTERVAL, Turn,
};
use crate::metrics::Cause;
use crate::relay::Relay;
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

    /// What ends it next unless something comes before; none for a connection that isn't relaying.
    fn expiry(&self) -> Option<Expiry> {
        let Phase::Relaying(Relaying { relay, .. }) = &self.phase else {
            return None;
        };
        let settings = self.entry.settings();
        let silent_since = silent_since(relay, self.last_byte_at);
        let idle = |timeout| Expiry {
            at: silent_since + timeout,
            cause: Cause::IdleTimeout,
            quiet_after: Some(Duration::ZERO),
        };
        let timeout = settings.idle_timeout;
        if relay.check_after().is_some() {
            let patience = timeout.map_or(LAST_WORDS_PATIENCE, |at| at.min(LAST_WORDS_PATIENCE));
            let mut expiry = idle(patience);
            if let Some(ending) = self.clocks.as_ref().and_then(|clocks| clocks.ending) {
                expiry.at = expiry.at.min(ending.latest());
            }
            return Some(expiry);
        }
        let clocks = self.clocks.as_ref();
        let clocks = clocks.and_then(|clocks| clocks.expiry(&settings.times, relay, silent_since));
        match (timeout.map(idle), clocks) {
            (Some(idle), Some(clocks)) if clocks.at < idle.at => Some(clocks),
            (idle, clocks) => idle.or(clocks),
        }
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expiry().is_some_and(|expiry| expiry.at <= now)
    }

    /// Arms the timer, or acts on it.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> Turn {
        let expiry = self.expiry();
        let expired = expiry.filter(|expiry| expiry.at <= worker.now);
        let Phase::Relaying(relaying) = &mut self.phase else {
            return Turn::Waiting;
        };
        let relay = &mut relaying.relay;
        if let Some(check_after) = relay.check_after() {
            if let Some(failure) = expired.and_then(|_| relay.take_loss()) {
                return self.fail(worker, failure);
            }
            // The check comes first, and this only arms.
            let _ = self
                .timer
                .poll_until(cx, worker.now, worker.now + check_after);
            return Turn::Waiting;
        }
        if let Some(expiry) = expired {
            let silent_since = silent_since(relay, self.last_byte_at);
            if !expiry.is_orderly(relay, silent_since, worker.now) {
                // An orderly end would tell a side that it has everything.
                relaying.client.transport().reset_on_close();
                relaying.server.transport().reset_on_close();
            }
            let termination = expiry.termination(relay);
            return self.end_as(worker, expiry.cause, termination);
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
        // An iterator over all of them takes several times as many instructions.
        let deadline = earlier(expiry.map(|expiry| expiry.at), self.stall_check_at);
        let deadline = earlier(deadline, self.mark_check_at);
        let deadline = earlier(deadline, relay.paced_until());
        if let Some(deadline) = deadline {
            // Neither deadline has passed, so this only arms.
            let _ = self.timer.poll_until(cx, worker.now, deadline);
        }
        Turn::Waiting
    }
}

/// The earlier one of those that there are.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Since when both sides are silent. Who waits for its bandwidth is not.
fn silent_since(relay: &Relay, last_byte_at: Instant) -> Instant {
    let paced_until = relay.paced_until();
    paced_until.map_or(last_byte_at, |until| until.max(last_byte_at))
}
