//! The driver of a core: it brings readiness, timers and messages, and puts the core to sleep.
//!
//! Glommio schedules the lanes (one task a listener, in a task queue of its own). The driver is one more task. It
//! runs after each pass of the lanes, asks the kernel what is ready without waiting, and queues what is; when no
//! lane is scheduled it sleeps in the poller. Since it then holds up Glommio itself, every source of wakes must be
//! in the poller or in the timers here: nothing may wait on Glommio's own timers or channels.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use proxy_core::Worker;
use proxy_core::backend::Evacuation;
use proxy_core::lifeline::panic_message;
use proxy_core::runtime::{Interest, Lost};
use rustix::io::Errno;

use crate::balancer::Balancer;
use crate::cells::OwnRing;
use crate::lanes::{InUse, Shared};
use crate::mailbox::{MAIL_MAX, Message, Order};
use crate::neighbours::Neighbours;
use crate::placement::Placer;
use crate::poller::{Event, Poller, Token};
use crate::publisher::Publisher;
use crate::queues::Queues;
use crate::ready::{Ready, TaskKey};
use crate::slots::{Slots, Target};
use crate::timers::Timers;

/// The token of the mailbox, which no slot has: slots count from generation 0 and never reach it.
const MAILBOX: Token = Token::MAX - 1;

/// How long connections wait for room on their way to another scheduler, before they try again.
pub(crate) const ROOM_RETRY: Duration = Duration::from_millis(1);

/// Times that the lanes are let run at the end of a core whose poller fails.
const LAST_ROUNDS_MAX: usize = 1000;

/// One core's driver. Everything in it belongs to one thread.
pub(crate) struct Driver<P> {
    poller: RefCell<P>,
    pub(crate) slots: RefCell<Slots>,
    pub(crate) ready: RefCell<Ready>,
    pub(crate) timers: RefCell<Timers>,
    /// The task that runs now, and so the one that waits for what it finds not ready.
    pub(crate) current: Cell<TaskKey>,
    /// Every lane is to cut its connections and end.
    pub(crate) stopping: Cell<bool>,
    /// Where all connections are to go.
    pub(crate) evacuation: OnceCell<Arc<Evacuation>>,
    /// When lanes try again to send connections to another scheduler, where there was no room for them.
    pub(crate) tries_at: Cell<Option<Instant>>,
    /// How long a lane may run at a time, unless a listener wants less.
    preempt_timer: Duration,
    /// How long it may run at a time under the table of this number.
    quantum: Cell<(u64, Duration)>,
    pub(crate) queues: Queues,
    begin_lane: BeginLane<P>,
    /// Why the core can't go on.
    failure: RefCell<Option<String>>,
    pub(crate) neighbours: RefCell<Neighbours>,
    pub(crate) placer: RefCell<Placer>,
    pub(crate) balancer: Balancer,
    /// What the lanes are to do when they run next, by lane; none: there is no such lane. And how much that is.
    orders: RefCell<Vec<Option<Vec<Order>>>>,
    ordered: Cell<usize>,
    /// There is mail, which waits until the lanes have done what they are to do.
    mail_waits: Cell<bool>,
    /// Lanes that have not ended.
    lanes: Cell<usize>,
    /// The driver's own task, and whether it is scheduled.
    waker: RefCell<Option<Waker>>,
    scheduled: Cell<bool>,
    /// Until when busy time is counted.
    counted_until: Cell<Instant>,
    pub(crate) worker: RefCell<Worker>,
    pub(crate) publisher: Publisher,
}

/// Spawns the task of the lane with this number, or says why it can't.
pub(crate) type BeginLane<P> =
    fn(&Rc<Driver<P>>, u32, Arc<Shared>, Arc<InUse>) -> Result<(), String>;

/// What a driver is made of.
pub(crate) struct Parts {
    /// Requests that the poller takes at once.
    pub(crate) depth: u32,
    /// What it counts into.
    pub(crate) ring: OwnRing,
    pub(crate) worker: Worker,
    pub(crate) neighbours: Neighbours,
    pub(crate) placer: Placer,
    pub(crate) balancer: Balancer,
    pub(crate) publisher: Publisher,
    /// How long a lane may run at a time, unless a listener wants less.
    pub(crate) preempt_timer: Duration,
}

impl<P: Poller> Driver<P> {
    pub(crate) fn new(parts: Parts, begin_lane: BeginLane<P>) -> io::Result<Rc<Self>> {
        let mut poller = P::new(parts.depth, parts.ring)?;
        poller.add(parts.neighbours.mailbox().as_fd(), MAILBOX)?;
        let worker = parts.worker;
        Ok(Rc::new(Self {
            poller: RefCell::new(poller),
            slots: RefCell::default(),
            ready: RefCell::default(),
            timers: RefCell::default(),
            current: Cell::new(TaskKey::NONE),
            stopping: Cell::new(false),
            evacuation: OnceCell::new(),
            tries_at: Cell::new(None),
            preempt_timer: parts.preempt_timer,
            quantum: Cell::new((0, parts.preempt_timer)),
            queues: Queues::default(),
            begin_lane,
            failure: RefCell::default(),
            neighbours: RefCell::new(parts.neighbours),
            placer: RefCell::new(parts.placer),
            balancer: parts.balancer,
            orders: RefCell::default(),
            ordered: Cell::new(0),
            mail_waits: Cell::new(false),
            lanes: Cell::new(0),
            waker: RefCell::default(),
            scheduled: Cell::new(true),
            counted_until: Cell::new(worker.now),
            worker: RefCell::new(worker),
            publisher: parts.publisher,
        }))
    }

    /// Begins a lane. It calls [`Driver::on_lane_run`] each time that it runs, and [`Driver::on_lane_end`] at its end.
    fn add_lane(self: &Rc<Self>, number: u32, shared: Arc<Shared>, in_use: Arc<InUse>) {
        let place = number as usize;
        let mut orders = self.orders.borrow_mut();
        if place >= orders.len() {
            orders.resize_with(place + 1, || None);
        }
        orders[place] = Some(Vec::new());
        drop(orders);
        self.lanes.set(self.lanes.get() + 1);
        self.ready.borrow_mut().add_lane(number);
        if let Err(reason) = (self.begin_lane)(self, number, shared, in_use) {
            self.fail(reason);
        }
    }

    /// How long a lane may run at a time: no longer than any listener wants to wait.
    pub(crate) fn quantum(&self, worker: &mut Worker) -> Duration {
        let table = worker.table();
        let (number, quantum) = self.quantum.get();
        if number == table.number() {
            return quantum;
        }
        let latency = table.latency().unwrap_or(self.preempt_timer);
        let quantum = latency.min(self.preempt_timer);
        self.quantum.set((table.number(), quantum));
        quantum
    }

    /// The core can't go on.
    pub(crate) fn fail(&self, reason: String) {
        *self.failure.borrow_mut() = Some(reason);
    }

    /// A lane runs: the driver is to run after it.
    pub(crate) fn on_lane_run(&self, lane: u32, waker: &Waker) {
        self.ready.borrow_mut().on_run(lane, waker);
        // The driver's task queue is empty while the driver waits for this. So Glommio gives it a new virtual run
        // time, and the time that the driver slept does not count against it.
        if !self.scheduled.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Takes what a lane is to do.
    pub(crate) fn take_orders(&self, lane: u32) -> Vec<Order> {
        let mut all = self.orders.borrow_mut();
        let orders = all[lane as usize].as_mut().map(std::mem::take);
        let orders = orders.unwrap_or_default();
        self.ordered.set(self.ordered.get() - orders.len());
        orders
    }

    /// A lane has ended.
    pub(crate) fn on_lane_end(&self, lane: u32) {
        self.orders.borrow_mut()[lane as usize] = None;
        self.ready.borrow_mut().remove_lane(lane);
        self.lanes.set(self.lanes.get() - 1);
    }

    /// Watches a descriptor.
    pub(crate) fn watch(&self, fd: impl AsFd) -> io::Result<Token> {
        let fd = fd.as_fd();
        let token = self.slots.borrow_mut().insert(fd.as_raw_fd());
        if let Err(error) = self.poller.borrow_mut().add(fd, token) {
            self.slots.borrow_mut().remove(token);
            // No room is another error. Nothing will ever be watched again.
            return Err(match Errno::from_io_error(&error) {
                Some(Errno::BADF | Errno::INVAL) => {
                    self.fail(error.to_string());
                    Lost.into()
                }
                _ => error,
            });
        }
        Ok(token)
    }

    /// Ends a watch; the descriptor is closed next.
    pub(crate) fn unwatch(&self, fd: impl AsFd, token: Token) {
        self.slots.borrow_mut().remove(token);
        self.poller.borrow_mut().remove(fd.as_fd(), token);
    }

    /// Whether a descriptor may be ready; if not, the current task waits for it.
    pub(crate) fn check(&self, token: Token, interest: Interest) -> bool {
        self.slots
            .borrow_mut()
            .check(token, interest, self.current.get())
    }

    /// Runs until the core is stopped and every lane has ended.
    ///
    /// # Errors
    /// When the poller fails. The lanes have ended then, too: their connections are reset.
    pub(crate) async fn run(self: Rc<Self>) -> io::Result<()> {
        let ran = std::future::poll_fn(|cx| {
            // What it leaves half done is this core's, which ends.
            catch_unwind(AssertUnwindSafe(|| self.poll(cx)))
                .unwrap_or_else(|panic| Poll::Ready(Err(panicked("its driver", &*panic))))
        })
        .await;
        if ran.is_err() {
            // No peer may take what is cut for an orderly end.
            self.stop();
            for _ in 0..LAST_ROUNDS_MAX {
                if self.lanes.get() == 0 {
                    break;
                }
                glommio::executor().yield_task_queue_now().await;
            }
        }
        ran
    }

    fn poll(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.scheduled.set(false);
        let mut own = self.waker.borrow_mut();
        if !own.as_ref().is_some_and(|own| own.will_wake(cx.waker())) {
            *own = Some(cx.waker().clone());
        }
        drop(own);
        loop {
            if self.stopping.get() && self.lanes.get() == 0 {
                return Poll::Ready(self.poller.borrow_mut().finish());
            }
            if let Some(reason) = self.failure.borrow_mut().take() {
                return Poll::Ready(Err(io::Error::other(reason)));
            }
            if let Err(error) = self.harvest() {
                return Poll::Ready(Err(error));
            }
            if !self.ready.borrow().is_idle() {
                // The first lane that runs schedules the driver again.
                return Poll::Pending;
            }
        }
    }

    /// Queues what is ready; when nothing is and no lane is scheduled, sleeps first.
    fn harvest(self: &Rc<Self>) -> io::Result<()> {
        let before = now();
        self.count_busy(before);
        self.publisher.publish(before);
        for (TaskKey { lane, index }, to) in self.balancer.poll_migrations(before) {
            self.order(lane, Order::Migrate { index, to });
        }
        let timeout = if self.ready.borrow().is_idle() {
            let next = self.timers.borrow().next();
            let next = next.map(|deadline| deadline.saturating_duration_since(before));
            let retry = self.tries_at.get();
            let retry = retry.map(|at| at.saturating_duration_since(before));
            next.into_iter().chain(retry).min()
        } else {
            Some(Duration::ZERO)
        };
        let sleeps = timeout != Some(Duration::ZERO);
        let mut mail = false;
        let mut rearm = Vec::new();
        if sleeps || self.poller.borrow_mut().has_work() {
            self.poller.borrow_mut().wait(timeout, &mut |event| {
                if event.token == MAILBOX {
                    mail = true;
                    if event.ended {
                        let neighbours = self.neighbours.borrow();
                        rearm.push((neighbours.mailbox().as_fd().as_raw_fd(), MAILBOX));
                    }
                } else {
                    self.dispatch(event, &mut rearm);
                }
            })?;
        }
        for (fd, token) in rearm {
            self.poller.borrow_mut().rearm(fd, token)?;
        }
        let after = if sleeps { now() } else { before };
        self.counted_until.set(after);
        self.worker.borrow_mut().now = after;
        while let Some(task) = self.timers.borrow_mut().pop(after) {
            self.ready.borrow_mut().push(task);
        }
        // Not at each turn: a lane that runs just to find no room gains on those that have something to do, and these
        // then wait for their share of the core.
        if self.tries_at.get().is_some_and(|at| at <= after) {
            self.tries_at.set(None);
            self.ready.borrow_mut().schedule_all();
        }
        if mail || self.mail_waits.get() {
            self.read_mail();
        }
        Ok(())
    }

    fn dispatch(&self, event: Event, rearm: &mut Vec<(i32, Token)>) {
        let fd = match self.slots.borrow_mut().on_event(event) {
            Target::Nobody => return,
            Target::Noted(fd) => fd,
            Target::Task(task, fd) => {
                self.ready.borrow_mut().push(task);
                fd
            }
        };
        if event.ended {
            rearm.push((fd, event.token));
        }
    }

    fn read_mail(self: &Rc<Self>) {
        if self.stopping.get() {
            // A lane may have ended. Who stops the cores looks through what is left.
            return;
        }
        let waits = self.ordered.get() >= MAIL_MAX;
        self.mail_waits.set(waits);
        if waits {
            return;
        }
        let messages = self.neighbours.borrow().mailbox().take();
        for message in messages {
            match message {
                Message::AddLane {
                    lane,
                    shared,
                    in_use,
                } => self.add_lane(lane, shared, in_use),
                Message::Evacuate(evacuation) => {
                    // It is asked for once.
                    let _ = self.evacuation.set(evacuation);
                    self.ready.borrow_mut().schedule_all();
                }
                Message::Answer(answers) => answers.give(self.neighbours.borrow().index()),
                Message::Stop => self.stop(),
                Message::RunAll => {
                    let lanes = self.orders.borrow().len();
                    (0..lanes).for_each(|lane| self.order(lane as u32, Order::RunAll));
                }
                Message::Shed { to, count } => {
                    let lanes = self.orders.borrow().len();
                    for lane in 0..lanes {
                        self.order(lane as u32, Order::Shed { to, count });
                    }
                }
                Message::Lane { lane, order } => self.order(lane, order),
            }
        }
    }

    fn stop(&self) {
        self.stopping.set(true);
        self.ready.borrow_mut().schedule_all();
    }

    /// Orders come for lanes that there are: one ends only when its listener has nothing any more.
    fn order(&self, lane: u32, order: Order) {
        let mut all = self.orders.borrow_mut();
        if let Some(Some(orders)) = all.get_mut(lane as usize) {
            orders.push(order);
            self.ordered.set(self.ordered.get() + 1);
            self.ready.borrow_mut().schedule(lane);
        }
    }

    fn count_busy(&self, until: Instant) {
        let busy = until.saturating_duration_since(self.counted_until.replace(until));
        let worker = self.worker.borrow();
        worker.cells().busy_nanoseconds.add(busy.as_nanos() as u64);
    }
}

/// The error of a part of a core that panicked.
pub(crate) fn panicked(part: &str, panic: &(dyn Any + Send)) -> io::Error {
    io::Error::other(format!("{part} panicked: {}", panic_message(panic)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where this backend asks the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
