//! A lane: everything that one listener has on one core, as one task in the listener's task queue.
//!
//! Glommio weighs the task queues against each other by shares. Within one, connections take turns in the order in
//! which they became ready, except that bulk goes after the others, one at a time (`ready.rs`). A task of Glommio's for
//! each would cost four atomic operations a wake and a waker a connection. Here a wake is a push onto a plain queue, and
//! a connection is an entry of a plain table: it can be taken out and sent to another core.

mod leaving;
mod orders;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proxy_core::backend::OpenSocket;
use proxy_core::runtime::Runtime;
use proxy_core::{
    Accepted, Acceptor, Connection, Draining, FIRST_TURNS_MAX, Transport, Turn, Worker,
};

use crate::driver::{self, Driver};
use crate::lanes::{InUse, Shared};
use crate::mailbox::Order;
use crate::poller::Poller;
use crate::queues::Queue;
use crate::ready::TaskKey;
use crate::socket::Core;

/// Short turns between two looks at the clock, which takes about as long as a hundredth of one.
const TURNS_BETWEEN_LOOKS: usize = 8;

pub(crate) struct Lane<P: Poller> {
    core: Core<P>,
    index: u32,
    shared: Arc<Shared>,
    /// The task queue that it runs in.
    queue: Queue,
    /// Places are used again.
    tasks: Vec<Task<P>>,
    free: Vec<u32>,
    /// The place from which on connections have not been asked to go to another scheduler.
    to_evacuate: usize,
    /// It is to end as soon as it has nothing.
    ending: bool,
    _in_use: Arc<InUse>,
}

/// A socket that is accepted from.
struct Accepting<P: Poller> {
    acceptor: Acceptor<Core<P>>,
    /// It empties its backlog, and ends.
    draining: bool,
    open: OpenSocket,
    /// Has it run, from any thread.
    waker: Waker,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every task is a connection, and a box would be an access more for each run"
)]
enum Task<P: Poller> {
    None,
    Acceptor(Box<Accepting<P>>),
    Connection(Connection<Core<P>>),
}

/// What a pass over the ready tasks left.
#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    More,
    Ended,
}

impl<P: Poller> Lane<P> {
    /// Spawns the lane of this number into a task queue. Nothing is accepted yet.
    ///
    /// # Errors
    /// What Glommio says.
    pub(crate) fn spawn(
        driver: &Rc<Driver<P>>,
        index: u32,
        shared: Arc<Shared>,
        in_use: Arc<InUse>,
    ) -> Result<(), String> {
        let queue = driver.queues.take(&shared.listener);
        driver.publisher.add(queue.handle, shared.clone());
        let handle = queue.handle;
        let lane = Self {
            core: Core(driver.clone()),
            index,
            shared,
            queue,
            tasks: Vec::new(),
            free: Vec::new(),
            to_evacuate: 0,
            ending: false,
            _in_use: in_use,
        };
        let spawned = glommio::spawn_local_into(lane.run(), handle);
        spawned.map_err(|error| error.to_string())?.detach();
        Ok(())
    }

    /// Runs until the core stops, or the lane is ended.
    async fn run(mut self) {
        loop {
            let left = poll_fn(|cx| {
                self.core.0.on_lane_run(self.index, cx.waker());
                match self.pass_or_fail() {
                    Left::Nothing => Poll::Pending,
                    left => Poll::Ready(left),
                }
            })
            .await;
            if left == Left::Ended {
                break;
            }
            // Others get their turn, and the driver: Glommio picks by virtual run time.
            self.core.0.ready.borrow_mut().schedule(self.index);
            glommio::executor().yield_task_queue_now().await;
        }
        let driver = self.core.0.clone();
        driver.publisher.remove(self.queue.handle);
        driver.queues.give_back(self.queue.clone());
        driver.on_lane_end(self.index);
    }

    /// A panic of anything but a connection is the end of the core, whose lanes cut their connections then.
    fn pass_or_fail(&mut self) -> Left {
        let passed = catch_unwind(AssertUnwindSafe(|| self.pass()));
        passed.unwrap_or_else(|panic| {
            let part = format!("the lane of {:?}", self.shared.listener.name);
            let error = driver::panicked(&part, &*panic);
            self.core.0.fail(error.to_string());
            Left::Nothing
        })
    }

    /// Runs what is ready now, once, unless the time is up before: see [`Ready::pass`](crate::ready::Ready::pass).
    fn pass(&mut self) -> Left {
        let driver = self.core.0.clone();
        if driver.stopping.get() {
            self.stop();
            return Left::Ended;
        }
        let cx = &mut Context::from_waker(Waker::noop());
        let worker = &mut *driver.worker.borrow_mut();
        for order in driver.take_orders(self.index) {
            self.handle(worker, order);
        }
        let quantum = driver.quantum(worker);
        self.evacuate(worker.now);
        let mut pass = driver.ready.borrow().pass(self.index);
        for turn in 1.. {
            let next = driver.ready.borrow_mut().next(&mut pass);
            let Some((index, expected_long)) = next else {
                break;
            };
            let was_long = self.poll(cx, worker, index, expected_long);
            if was_long
                || turn % TURNS_BETWEEN_LOOKS == 0
                    && driver::now().saturating_duration_since(worker.now) >= quantum
            {
                pass.cut();
            }
        }
        driver.current.set(TaskKey::NONE);
        if self.ending && self.is_empty() {
            Left::Ended
        } else if driver.ready.borrow().has_any(self.index) {
            Left::More
        } else {
            Left::Nothing
        }
    }

    /// Runs a task that is expected to run long, or not to; whether it did.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        index: u32,
        expected_long: bool,
    ) -> bool {
        let key = TaskKey {
            lane: self.index,
            index,
        };
        self.core.0.current.set(key);
        let begun_at = self.core.0.balancer.is_measuring().then(driver::now);
        let was_long = self.run_task(cx, worker, key, expected_long);
        // What ended has left no cost, and an acceptor can't migrate.
        if let Some(begun_at) = begun_at
            && matches!(self.tasks[index as usize], Task::Connection(_))
        {
            let spent = driver::now().saturating_duration_since(begun_at);
            self.core.0.balancer.on_run(key, spent);
        }
        was_long
    }

    fn run_task(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        key: TaskKey,
        expected_long: bool,
    ) -> bool {
        match &mut self.tasks[key.index as usize] {
            // It ended after it was queued.
            Task::None => {}
            Task::Acceptor(_) => self.accept(worker, key),
            Task::Connection(connection) => {
                let turn = connection.poll(cx, &self.core, worker);
                let was_long = connection.was_long();
                if was_long != expected_long {
                    self.core.0.ready.borrow_mut().set_long(key, was_long);
                }
                let ended = matches!(turn, Turn::Ended(_));
                if ended {
                    self.remove(key.index);
                } else if !self.leaves(key.index) && turn == Turn::Again {
                    self.core.0.ready.borrow_mut().push(key);
                }
                return was_long;
            }
        }
        false
    }

    fn accept(&mut self, worker: &mut Worker, key: TaskKey) {
        let place = key.index as usize;
        // The acceptor is out of the table while it puts connections into it.
        let mut task = std::mem::replace(&mut self.tasks[place], Task::None);
        let Task::Acceptor(accepting) = &mut task else {
            return;
        };
        let Accepting {
            acceptor,
            draining,
            open,
            waker,
        } = &mut **accepting;
        let cx = &mut Context::from_waker(waker);
        // A connection is run for what its socket and its timer wait for.
        let own = &mut Context::from_waker(Waker::noop());
        let mut turns = FIRST_TURNS_MAX;
        let take = |worker: &mut Worker, accepted| {
            if let Some(key) = self.place(worker, accepted, open) {
                if let Some(left) = turns.checked_sub(1) {
                    turns = left;
                    self.run_first(own, worker, key);
                } else {
                    self.core.0.ready.borrow_mut().push(key);
                }
            }
        };
        let left = if *draining {
            acceptor.poll_drain(cx, worker, take)
        } else if acceptor.poll(cx, worker, take) {
            Draining::Again
        } else {
            Draining::Waiting
        };
        if left == Draining::Again {
            self.core.0.ready.borrow_mut().push(key);
        }
        if left == Draining::Over {
            self.vacate(key.index);
            // Whoever hears that nothing is accepted any more finds all connections counted.
            drop(task);
        } else {
            self.tasks[place] = task;
        }
        self.flush(worker);
    }

    /// Begins a connection that was accepted here, on whichever core is to have it. On this one it is to be run next.
    fn place(&mut self, worker: &Worker, accepted: Accepted, open: &OpenSocket) -> Option<TaskKey> {
        let driver = self.core.0.clone();
        let core = driver.placer.borrow_mut().place(&self.shared, worker.now);
        let mut neighbours = driver.neighbours.borrow_mut();
        if neighbours.is_other(core) {
            neighbours.queue(core, self.message(Order::Begin(accepted, open.again())));
            None
        } else {
            drop(neighbours);
            self.begin(worker, accepted)
        }
    }

    /// Runs a connection where it is accepted: its first bytes are not to be overtaken by those of others that come later.
    fn run_first(&mut self, cx: &mut Context<'_>, worker: &mut Worker, key: TaskKey) {
        let driver = self.core.0.clone();
        let acceptor = driver.current.replace(key);
        self.run_task(cx, worker, key, false);
        driver.current.set(acceptor);
    }

    /// A connection that is to be run next.
    fn begin(&mut self, worker: &Worker, accepted: Accepted) -> Option<TaskKey> {
        let Accepted {
            socket,
            origin,
            permit,
        } = accepted;
        let client = match self.core.watch(socket) {
            Ok(client) => client,
            Err((socket, error)) => {
                // It is none that the client asked for.
                socket.reset_on_close();
                self.core.0.placer.borrow().on_left();
                let settings = permit.settings();
                settings.give_up(worker.slot(), origin, worker.now);
                tracing::warn!(listener = self.shared.listener.name, %error, "a connection can't be watched");
                return None;
            }
        };
        let connection = Connection::new(&self.core, worker, permit, client, origin);
        let index = self.insert(Task::Connection(connection));
        Some(TaskKey {
            lane: self.index,
            index,
        })
    }

    fn insert(&mut self, task: Task<P>) -> u32 {
        if let Some(index) = self.free.pop() {
            self.tasks[index as usize] = task;
            index
        } else {
            self.tasks.push(task);
            (self.tasks.len() - 1) as u32
        }
    }

    /// A connection is gone.
    fn remove(&mut self, index: u32) {
        self.vacate(index);
        let key = TaskKey {
            lane: self.index,
            index,
        };
        self.core.0.ready.borrow_mut().set_long(key, false);
        self.core.0.balancer.on_gone(key);
        self.core.0.placer.borrow().on_left();
    }

    /// Frees a place.
    fn vacate(&mut self, index: u32) {
        self.tasks[index as usize] = Task::None;
        self.free.push(index);
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.tasks.len()
    }

    /// Ends everything.
    fn stop(&mut self) {
        let driver = self.core.0.clone();
        let worker = &mut *driver.worker.borrow_mut();
        for mut task in self.tasks.drain(..) {
            if let Task::Connection(connection) = &mut task {
                connection.abort(worker);
            }
        }
        for order in driver.take_orders(self.index) {
            order.abandon(worker.slot(), worker.cells(), worker.now);
        }
    }
}
