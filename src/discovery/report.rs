//! What a source has said last, for who makes tables of it, and for people.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use proxy_admin::Discoveries;
use proxy_config::{Config, Loops};
use tokio::sync::Notify;

use super::calm::Calm;
use super::failure::{Failure, Reason};
use super::found::Found;
use crate::config_file::on_this_machine;

/// Where all sources of a proxy report.
#[derive(Default)]
pub(super) struct Board {
    pub(super) shown: Arc<Discoveries>,
    /// The ways on which connections would come back, by the last configuration; none: there was none yet.
    loops: Mutex<Option<Arc<Loops>>>,
    /// How often a source in force has said something else.
    changes: AtomicU64,
    changed: Notify,
    /// A source was heard for the first time.
    heard: Mutex<()>,
    heard_change: Condvar,
}

impl Board {
    pub(super) fn new(shown: Arc<Discoveries>) -> Self {
        Self {
            shown,
            ..Self::default()
        }
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes.load(SeqCst)
    }

    /// Waits until there are not so many changes any more. It may be broken off, and begun again.
    pub(super) async fn after(&self, seen: u64) {
        loop {
            let changed = self.changed.notified();
            if self.changes() != seen {
                return;
            }
            changed.await;
        }
    }

    /// Servers by which connections would come back are refused from now on.
    pub(super) fn watch(&self, config: &Config) {
        let loops =
            on_this_machine(|machine| Loops::of(&config.listeners, &config.upstreams, machine));
        let mut last = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Arc::new(loops));
    }

    /// Why servers of an upstream are refused, if they are.
    fn refusal(&self, upstream: &str, found: &[Found]) -> Option<Failure> {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let loops = loops.clone()?;
        let through = |found: &Found| {
            let address = found.address;
            let through = on_this_machine(|machine| {
                loops.through(upstream, address, machine).map(str::to_owned)
            });
            Some((address, through?))
        };
        let (address, listener) = found.iter().find_map(through)?;
        let detail = format!(
            "{address} is [listeners.{listener}] of this proxy, from which connections would come back to it"
        );
        Some(Failure::new(Reason::Loop, detail))
    }

    /// Returns when `is_done`, or after `patience`.
    pub(super) fn wait(&self, patience: Duration, is_done: impl Fn() -> bool) {
        let until = now() + patience;
        let mut heard = self.lock();
        while !is_done() {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            let waited = self.heard_change.wait_timeout(heard, left);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one source has said.
pub(super) struct Said {
    upstream: String,
    board: Arc<Board>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Arc<[Found]>,
    /// Whether it has said anything, or failed.
    is_heard: bool,
    /// Whether its upstream goes by it: one that a reload only tries out shows and changes nothing.
    in_force: bool,
    /// What was logged of its failure, and when; none: it has not failed.
    failing: Option<(String, Instant)>,
    calm: Calm,
}

/// How soon another failure of a source that fails is logged.
const LOGGED_AGAIN: Duration = Duration::from_secs(4);

impl Said {
    /// Nothing yet: what was found `before` for the same upstream is good until then.
    pub(super) fn new(upstream: &str, board: Arc<Board>, before: Option<Arc<[Found]>>) -> Self {
        let found = before.unwrap_or_default();
        Self {
            upstream: upstream.to_owned(),
            board,
            state: Mutex::new(State {
                found,
                ..State::default()
            }),
        }
    }

    /// The servers that it named last.
    pub(super) fn found(&self) -> Arc<[Found]> {
        self.lock().found.clone()
    }

    pub(super) fn is_heard(&self) -> bool {
        self.lock().is_heard
    }

    /// Its upstream goes by it from now on.
    pub(super) fn put_in_force(&self) {
        let mut state = self.lock();
        state.in_force = true;
        let shown = &self.board.shown;
        let reasons = Reason::ALL.map(Reason::label);
        shown.on_configured(&self.upstream, state.found.len(), reasons);
        if state.is_heard && state.failing.is_none() {
            shown.on_success(&self.upstream, state.found.len(), utc_now());
        }
    }

    /// It names these. Returns how long it is to be left alone at least.
    pub(super) fn on_found(&self, found: Vec<Found>) -> Duration {
        if let Some(failure) = self.board.refusal(&self.upstream, &found) {
            self.on_failure(&failure);
            return Duration::ZERO;
        }
        let mut state = self.lock();
        if state.failing.take().is_some() {
            tracing::info!(
                upstream = self.upstream,
                "the source of servers answers again"
            );
        }
        let is_other = *state.found != *found;
        let is_first = !state.is_heard;
        if is_other {
            state.found = found.into();
        }
        if state.in_force {
            let shown = &self.board.shown;
            shown.on_success(&self.upstream, state.found.len(), utc_now());
        }
        let pause = if is_other && !is_first {
            state.calm.on_change(now())
        } else {
            Duration::ZERO
        };
        self.on_heard(state, is_other);
        pause
    }

    /// It has failed: what it named last stays.
    pub(super) fn on_failure(&self, failure: &Failure) {
        let mut state = self.lock();
        let (words, now) = (failure.to_string(), now());
        if is_worth_a_line(state.failing.as_ref(), &words, now) {
            state.failing = Some((words, now));
            tracing::warn!(
                upstream = self.upstream,
                reason = failure.reason.label(),
                servers = state.found.len(),
                "the source of servers fails, those that it named last stay: {failure}"
            );
        }
        let label = failure.reason.label();
        self.board.shown.on_failure(&self.upstream, label);
        self.on_heard(state, false);
    }

    fn on_heard(&self, mut state: MutexGuard<'_, State>, is_other: bool) {
        let is_first = !std::mem::replace(&mut state.is_heard, true);
        drop(state);
        if is_other {
            self.board.changes.fetch_add(1, SeqCst);
            self.board.changed.notify_waiters();
        }
        if is_first {
            let _heard = self.board.lock();
            self.board.heard_change.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a failure is logged: the first one, and each that is another one than was `logged`, not too often.
fn is_worth_a_line(logged: Option<&(String, Instant)>, words: &str, now: Instant) -> bool {
    logged.is_none_or(|(before, at)| {
        before != words && now.saturating_duration_since(*at) >= LOGGED_AGAIN
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "who asks for servers is no worker"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "when a source was heard, for people"
)]
fn utc_now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_again_where_it_is_another_one() {
        let (first, later) = (now(), now() + LOGGED_AGAIN);
        assert!(is_worth_a_line(None, "a", first));
        let logged = ("a".to_owned(), first);
        for (words, at, is_worth) in [("a", later, false), ("b", later, true), ("b", first, false)]
        {
            assert_eq!(
                is_worth_a_line(Some(&logged), words, at),
                is_worth,
                "{words}"
            );
        }
    }
}
