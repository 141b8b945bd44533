//! The timers of the connections, beside Tokio's own.
//!
//! Tokio wakes its reactor, by a write to an eventfd, for each timer that is due before all others. A connection's
//! deadlines are seconds away and it is mostly over long before them, so with few connections at a time nearly each one
//! costs such a write. Here the deadlines of a worker's connections stand in a map, and one task a worker waits for the first of
//! them. It is woken only for one that is due before that, and what is taken out meanwhile doesn't wake it.
//!
//! What it waits for is a descriptor (`timerfd(2)`), watched as a socket is. So the runtimes do without Tokio's time
//! driver, which reads the clock twice and goes over its wheel each time that a worker sleeps: a sixth of the
//! instructions of a message where a worker sleeps between messages.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::fate::{self, Extent};
use crate::{clock, sys};

thread_local! {
    static TIMERS: Arc<Timers> = Arc::default();
}

/// The timers of the current thread's worker.
pub(crate) fn timers() -> Arc<Timers> {
    TIMERS.with(Arc::clone)
}

/// The timers that were armed on one worker. A task may take its own out on another one.
#[derive(Debug, Default)]
pub(crate) struct Timers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<(Instant, u64), Waker>,
    /// Tells timers of one instant apart.
    armed: u64,
    /// When the ticker looks again; none while there is nothing to look for.
    looks_at: Option<Instant>,
    ticker: Option<Waker>,
}

/// A place among the timers.
#[derive(Debug)]
pub(crate) struct Armed {
    timers: Arc<Timers>,
    at: Instant,
    number: u64,
    waker: Waker,
}

impl Armed {
    /// Has `waker` woken at `at`, or a little later.
    pub(crate) fn new(timers: Arc<Timers>, at: Instant, waker: &Waker) -> Self {
        let mut waiting = timers.lock();
        waiting.armed += 1;
        let number = waiting.armed;
        waiting.wakers.insert((at, number), waker.clone());
        let is_first = waiting.looks_at.is_none_or(|looks_at| at < looks_at);
        let ticker = if is_first {
            waiting.looks_at = Some(at);
            waiting.ticker.take()
        } else {
            None
        };
        drop(waiting);
        if let Some(ticker) = ticker {
            ticker.wake();
        }
        Self {
            timers,
            at,
            number,
            waker: waker.clone(),
        }
    }

    /// Whether it wakes `waker` after `now` and not after `deadline`.
    pub(crate) fn serves(&self, waker: &Waker, now: Instant, deadline: Instant) -> bool {
        now < self.at && self.at <= deadline && self.waker.will_wake(waker)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.timers.lock().wakers.remove(&(self.at, self.number));
    }
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the tasks that are due. Returns the next deadline, if there is one.
    fn fire(&self, now: Instant, ticker: &Waker) -> Option<Instant> {
        let mut waiting = self.lock();
        let later = waiting.wakers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut waiting.wakers, later);
        waiting.looks_at = waiting.wakers.keys().next().map(|&(at, _)| at);
        waiting.ticker = Some(ticker.clone());
        let next = waiting.looks_at;
        drop(waiting);
        // A waker may run code that arms another timer.
        due.into_values().for_each(Waker::wake);
        next
    }
}

/// The task that wakes those that are due, without end.
pub(crate) struct Ticker {
    timers: Arc<Timers>,
    clock: AsyncFd<OwnedFd>,
}

impl Ticker {
    /// The ticker of the current thread's worker, whose runtime watches its clock.
    ///
    /// # Errors
    /// When there is no descriptor for the clock, or it can't be watched.
    pub(crate) fn new(timers: Arc<Timers>) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let clock = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let clock = sys::register_event(clock)?;
        Ok(Self { timers, clock })
    }

    /// Has the clock ring once after `delay`.
    fn ring_after(&self, delay: Duration) -> io::Result<()> {
        // Zero would stop it.
        let delay = delay.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: NEVER,
            it_value: Timespec::try_from(delay).unwrap_or(FOREVER),
        };
        timerfd_settime(self.clock.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

const NEVER: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// For delays that the kernel's type can't hold.
const FOREVER: Timespec = Timespec {
    tv_sec: i64::MAX,
    tv_nsec: 0,
};

impl Future for Ticker {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = clock::now();
            if let Some(next) = self.timers.fire(now, cx.waker())
                && let Err(error) = self.ring_after(next.saturating_duration_since(now))
            {
                fate::die(format!("its timer can't be set: {error}"), Extent::All);
                return Poll::Ready(());
            }
            match self.clock.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                // It rang: what it says of that is read with the next look.
                Poll::Ready(Ok(mut rung)) => rung.clear_ready(),
                Poll::Ready(Err(error)) => {
                    fate::die(format!("its reactor fails: {error}"), Extent::All);
                    return Poll::Ready(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn the_ticker_is_woken_for_an_earlier_deadline_only_and_each_timer_once() {
        let second = Duration::from_secs(1);
        let (timers, begin) = (Arc::new(Timers::default()), clock::now());
        let (count, ticks) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (waker, ticker) = (Waker::from(count.clone()), Waker::from(ticks.clone()));
        assert_eq!(timers.fire(begin, &ticker), None);
        let arm = |at| Armed::new(timers.clone(), at, &waker);
        let late = arm(begin + 3 * second);
        let gone = arm(begin + 5 * second);
        assert_eq!(ticks.0.load(Relaxed), 1);
        assert_eq!(timers.fire(begin, &ticker), Some(begin + 3 * second));
        let early = arm(begin + second);
        drop(gone);
        assert_eq!(ticks.0.load(Relaxed), 2);
        assert!(early.serves(&waker, begin, begin + second));
        assert!(!early.serves(&waker, begin + second, begin + 2 * second));
        assert!(!early.serves(&ticker, begin, begin + second));
        let next = timers.fire(begin + second, &ticker);
        assert_eq!((next, count.0.load(Relaxed)), (Some(begin + 3 * second), 1));
        assert_eq!(timers.fire(begin + 9 * second, &ticker), None);
        assert_eq!(count.0.load(Relaxed), 2);
        drop((late, early));
    }
}
