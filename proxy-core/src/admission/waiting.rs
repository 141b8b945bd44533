//! Who waits for a place among the connections of others, and is woken when there is one.
//!
//! An acceptor whose next client has no place draws a [`Ticket`], and the end of a connection wakes the first one that lacked
//! what it frees. While nobody waits, an end pays for one load of a word that is written only when somebody does.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::id::Id;

/// How long a client waits for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Only others have to end.
    Never,
    /// Until a connection of its listener ends.
    ForListener,
    /// Until any connection ends.
    ForProcess,
    /// Until this moment at least.
    Until(Instant),
    /// Until another scheduler leaves it clients.
    ForLeft,
}

impl Wait {
    /// Whether both wait for the same.
    pub(crate) fn lacks_what(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// Those who wait, of all listeners of a process: one at most for each socket that is accepted from, and one more for each
/// while another scheduler takes over.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    count: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The number of the next ticket.
    next: u64,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    listener: Id,
    wait: Wait,
    waker: Waker,
}

/// The place of one in the order of those who wait. Who is woken and doesn't take what is free wakes the next one by dropping
/// it.
#[derive(Debug)]
pub(crate) struct Ticket {
    waiters: Arc<Waiters>,
    listener: Id,
    number: u64,
    passes_on: bool,
    /// What it waited for last.
    lacked: Cell<Option<Wait>>,
}

impl Waiters {
    /// A connection of this listener has ended: one that waits for that, and one that waits for the process, may try.
    pub(crate) fn on_end(&self, listener: Id) {
        // In one order with what was released before, and with who waits and tries once more then: one of the two sees the other.
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut queue = self.lock();
        let first = queue.take(|waiter| waiter.is_woken_by(Wait::ForListener, listener));
        let second = queue.take(|waiter| waiter.is_woken_by(Wait::ForProcess, listener));
        self.publish(&queue);
        drop(queue);
        first.into_iter().chain(second).for_each(Waker::wake);
    }

    /// Wakes those who wait for clients that another scheduler leaves to this listener.
    pub(crate) fn on_left(&self, listener: Id) {
        let left = |waiter: &Waiter| waiter.wait == Wait::ForLeft && waiter.listener == listener;
        self.wake_all(left);
    }

    /// Wakes everybody: what is configured has changed, or nobody leaves clients any more.
    pub(crate) fn on_change(&self) {
        self.wake_all(|_| true);
    }

    fn wake_all(&self, which: impl Fn(&Waiter) -> bool) {
        let mut queue = self.lock();
        let woken: Vec<_> = std::iter::from_fn(|| queue.take(&which)).collect();
        self.publish(&queue);
        drop(queue);
        woken.into_iter().for_each(Waker::wake);
    }

    fn publish(&self, queue: &Queue) {
        self.count.store(queue.waiting.len(), SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Whether it waits for what a connection of this listener frees: a place there, or one in the process.
    fn is_woken_by(&self, freed: Wait, listener: Id) -> bool {
        match freed {
            Wait::ForListener => self.wait == freed && self.listener == listener,
            Wait::ForProcess => self.wait == freed,
            Wait::Never | Wait::Until(_) | Wait::ForLeft => false,
        }
    }
}

impl Queue {
    /// Removes the first one of these.
    fn take(&mut self, which: impl Fn(&Waiter) -> bool) -> Option<Waker> {
        let mut waiting = self.waiting.iter();
        let number = waiting
            .find(|(_, waiter)| which(waiter))
            .map(|(&number, _)| number)?;
        self.waiting.remove(&number).map(|waiter| waiter.waker)
    }
}

impl Ticket {
    /// The last place of the order, for a client of this listener.
    pub(crate) fn new(waiters: Arc<Waiters>, listener: Id) -> Self {
        let mut queue = waiters.lock();
        let number = queue.next;
        queue.next += 1;
        drop(queue);
        Self {
            waiters,
            listener,
            number,
            passes_on: true,
            lacked: Cell::new(None),
        }
    }

    /// Waits for that, or until the configuration changes. Returns whether it did so already: else it is to be tried once more,
    /// as what is waited for may have come just before.
    pub(crate) fn wait(&self, wait: Wait, waker: &Waker) -> bool {
        let waiters = &self.waiters;
        let mut queue = waiters.lock();
        let waiter = Waiter {
            listener: self.listener,
            wait,
            waker: waker.clone(),
        };
        let before = queue.waiting.insert(self.number, waiter);
        let lacked = self.lacked.replace(Some(wait));
        // Who was woken and lacks something else now leaves what it was woken for to the next one.
        let left = lacked.filter(|lacked| before.is_none() && !lacked.lacks_what(wait));
        let next =
            left.and_then(|left| queue.take(|waiter| waiter.is_woken_by(left, self.listener)));
        waiters.publish(&queue);
        drop(queue);
        next.into_iter().for_each(Waker::wake);
        before.is_some_and(|before| before.wait.lacks_what(wait))
    }

    /// Its client has what it waited for.
    pub(crate) fn redeem(mut self) {
        self.passes_on = false;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let waiters = &self.waiters;
        let mut queue = waiters.lock();
        queue.waiting.remove(&self.number);
        waiters.publish(&queue);
        drop(queue);
        if self.passes_on {
            waiters.on_end(self.listener);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::time::Duration;

    use super::*;
    use crate::counted_wakes::CountedWakes;

    struct One {
        ticket: Ticket,
        woken: CountedWakes,
    }

    impl One {
        fn new(waiters: &Arc<Waiters>, listener: Id, wait: Wait) -> Self {
            let one = Self {
                ticket: Ticket::new(waiters.clone(), listener),
                woken: CountedWakes::default(),
            };
            assert!(!one.wait(wait), "it is tried once more");
            assert!(one.wait(wait));
            one
        }

        fn wait(&self, wait: Wait) -> bool {
            self.ticket.wait(wait, &self.woken.waker())
        }

        fn wakes(&self) -> usize {
            self.woken.get()
        }
    }

    #[test]
    fn an_end_wakes_the_first_who_waits_for_it_and_nobody_else() {
        let (waiters, [own, other]) = (Arc::<Waiters>::default(), [Id::next(), Id::next()]);
        let all = [
            One::new(&waiters, other, Wait::ForListener),
            One::new(&waiters, own, Wait::ForListener),
            One::new(&waiters, own, Wait::ForListener),
            One::new(&waiters, other, Wait::ForProcess),
            One::new(&waiters, own, Wait::ForLeft),
        ];
        let wakes = || all.each_ref().map(One::wakes);
        waiters.on_end(own);
        assert_eq!(wakes(), [0, 1, 0, 1, 0]);
        // Who was woken and has no place keeps its turn.
        assert!(!all[1].wait(Wait::ForListener));
        waiters.on_end(own);
        assert_eq!(wakes(), [0, 2, 0, 1, 0]);
        waiters.on_end(own);
        assert_eq!(wakes(), [0, 2, 1, 1, 0]);
        waiters.on_left(own);
        assert_eq!(wakes(), [0, 2, 1, 1, 1]);
    }

    #[test]
    fn who_leaves_without_a_place_wakes_the_next_one() {
        let (waiters, listener) = (Arc::<Waiters>::default(), Id::next());
        let [first, second, third] =
            [(); 3].map(|()| One::new(&waiters, listener, Wait::ForListener));
        waiters.on_end(listener);
        assert_eq!((first.wakes(), second.wakes()), (1, 0));
        drop(first.ticket);
        assert_eq!((second.wakes(), third.wakes()), (1, 0));
        second.ticket.redeem();
        assert_eq!(third.wakes(), 0);
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    #[test]
    fn a_change_wakes_everybody_who_waits_for_a_time_included() {
        let (waiters, now) = (Arc::<Waiters>::default(), Instant::now());
        let at = |seconds| Wait::Until(now + Duration::from_secs(seconds));
        let one = One::new(&waiters, Id::next(), at(1));
        assert!(one.wait(at(2)), "another time is the same lack");
        waiters.on_change();
        assert_eq!(one.wakes(), 1);
        waiters.on_change();
        assert_eq!(one.wakes(), 1, "it was told");
    }

    /// A listener in a model of this and its acceptors.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// A client comes to an acceptor that has none.
        Come(usize),
        /// A connection of a listener ends.
        End(usize),
        /// An acceptor that was woken runs.
        Run(usize),
        /// An acceptor goes.
        Go(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        (0..4_usize, 0..6_usize).prop_map(|(kind, which)| match kind {
            0 => Event::Come(which),
            1 => Event::End(which % 2),
            2 => Event::Run(which),
            _ => Event::Go(which),
        })
    }

    #[test]
    fn who_is_woken_and_lacks_something_else_wakes_the_next() {
        let (waiters, [own, other]) = (Arc::<Waiters>::default(), [Id::next(), Id::next()]);
        let first = One::new(&waiters, own, Wait::ForProcess);
        let second = One::new(&waiters, other, Wait::ForProcess);
        waiters.on_end(other);
        assert_eq!((first.wakes(), second.wakes()), (1, 0));
        // Meanwhile its own listener is full.
        assert!(!first.wait(Wait::ForListener));
        assert_eq!((first.wakes(), second.wakes()), (1, 1));
        // It keeps its place, and nobody was woken for it.
        assert!(first.wait(Wait::ForListener));
        waiters.on_end(own);
        assert_eq!((first.wakes(), second.wakes()), (2, 1));
    }

    proptest! {
        /// Six acceptors of two listeners, with limits of their own and one of all: whatever happens in whatever order, nobody
        /// sleeps for ever beside a free place.
        #[test]
        fn nobody_sleeps_beside_a_free_place(
            limits in prop::array::uniform2(1_u64..4),
            all in 1_u64..5,
            events in prop::collection::vec(event(), 1..200),
        ) {
            struct Acceptor { one: Option<One>, seen: usize }
            let waiters = Arc::<Waiters>::default();
            let ids = [Id::next(), Id::next()];
            let mut open = [0_u64; 2];
            let mut acceptors: Vec<_> = (0..6).map(|_| Acceptor { one: None, seen: 0 }).collect();
            let lack = |open: &[u64; 2], listener: usize| {
                if open[listener] >= limits[listener] {
                    Some(Wait::ForListener)
                } else if open[0] + open[1] >= all {
                    Some(Wait::ForProcess)
                } else {
                    None
                }
            };
            let run = |acceptor: &mut Acceptor, open: &mut [u64; 2], listener: usize| {
                let Some(one) = acceptor.one.take() else { return };
                acceptor.seen = one.wakes();
                match lack(open, listener) {
                    None => {
                        open[listener] += 1;
                        one.ticket.redeem();
                    }
                    Some(wait) => {
                        one.wait(wait);
                        acceptor.one = Some(one);
                    }
                }
            };
            let mut events = events.into_iter();
            loop {
                let event = match events.next() {
                    Some(event) => event,
                    // In the end all who were woken run.
                    None => match acceptors.iter().position(|acceptor| {
                        acceptor.one.as_ref().is_some_and(|one| one.wakes() > acceptor.seen)
                    }) {
                        Some(which) => Event::Run(which),
                        None => break,
                    },
                };
                match event {
                    Event::Come(which) if acceptors[which].one.is_none() => {
                        let listener = which % 2;
                        match lack(&open, listener) {
                            None => open[listener] += 1,
                            Some(wait) => {
                                let one = One::new(&waiters, ids[listener], wait);
                                acceptors[which] = Acceptor { one: Some(one), seen: 0 };
                            }
                        }
                    }
                    Event::End(listener) if open[listener] > 0 => {
                        open[listener] -= 1;
                        waiters.on_end(ids[listener]);
                    }
                    Event::Run(which) => run(&mut acceptors[which], &mut open, which % 2),
                    Event::Go(which) => drop(acceptors[which].one.take()),
                    Event::Come(_) | Event::End(_) => {}
                }
            }
            for (which, acceptor) in acceptors.iter().enumerate() {
                prop_assert!(acceptor.one.is_none() || lack(&open, which % 2).is_some());
            }
        }
    }
}
