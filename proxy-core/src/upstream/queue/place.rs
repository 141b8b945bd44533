//! One connection's place in the line.

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

use crate::upstream::Common;
use crate::upstream::pool::Pool;
use crate::upstream::queue::line::{Polled, Wish};

/// The place of a connection among those who wait for an upstream, left when this is dropped: then what it was handed meanwhile
/// goes to the next one.
#[derive(Debug)]
pub(crate) struct Place {
    common: Arc<Common>,
    number: u64,
}

impl Place {
    /// Joins those who wait for servers of `pool`, behind all of them, or with a number that it had before. None when as many
    /// wait as may, or none may.
    pub(crate) fn join(
        pool: &Arc<Pool>,
        wish: Wish,
        number: Option<u64>,
        now: Instant,
    ) -> Option<Self> {
        let settings = pool.settings().queue?;
        let common = pool.upstream().common.clone();
        let queue = &common.queue;
        queue.note_timeout(settings.timeout);
        let number = queue.with(|line, woken| {
            if number.is_none() && line.len() as u64 >= settings.max {
                return None;
            }
            // That of another process may be somebody's here.
            let number = number.filter(|&number| !line.has(number));
            let number = number.unwrap_or_else(|| line.number());
            let may_find = line.join(number, pool, wish, now);
            // Who gives a place back from here on sees it; what was given back before is found now.
            queue.publish(line);
            let own: Weak<Common> = Arc::downgrade(&common);
            pool.stand_ins()
                .for_each(|other| other.upstream().common.followers.add(own.clone()));
            if may_find {
                woken.extend(line.serve(usize::MAX));
            }
            Some(number)
        });
        number.map(|number| Self { common, number })
    }

    /// Its place in the order, for when it has to wait once more.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What came of the wait; until something does, it is woken by `waker` when it does.
    pub(crate) fn poll(&self, now: Instant, waker: impl FnOnce() -> Waker) -> Polled {
        let queue = &self.common.queue;
        queue.with(|line, woken| line.poll(self.number, now, waker, woken))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let queue = &self.common.queue;
        // It may have a server's place, which is given back without the lock.
        drop(queue.with(|line, woken| line.leave(self.number, woken)));
    }
}
