//! Handles a lane's orders: from other cores, from this core's balancer, and from the thread that starts and stops
//! listening.

use std::io;
use std::sync::Arc;

use proxy_core::backend::OpenSockets;
use proxy_core::runtime::Runtime;
use proxy_core::{Acceptor, Connection, Descriptor, Detached, ListenerSettings, Worker};

use super::{Accepting, Lane, Task};
use crate::mailbox::{Message, Order};
use crate::poller::Poller;
use crate::ready::TaskKey;

impl<P: Poller> Lane<P> {
    /// Does what another core, or this one's balancer, asks for.
    pub(super) fn handle(&mut self, worker: &mut Worker, order: Order) {
        match order {
            // It is counted when `open` is dropped.
            Order::Begin(accepted, _open) => {
                if let Some(key) = self.begin(worker, accepted) {
                    self.core.0.ready.borrow_mut().push(key);
                }
            }
            Order::Listen {
                settings,
                sockets,
                watched,
                open,
            } => {
                if let Err(error) = self.listen(&settings, sockets, &open) {
                    // Whoever waits for it is there until then.
                    let _ = watched.send(error);
                }
            }
            Order::Unlisten => self.stop_accepting(),
            Order::End => self.ending = true,
            Order::Arrive(moving) => {
                self.core.0.placer.borrow().on_moved_to(worker.index);
                self.adopt(worker, moving.arrive());
            }
            Order::Adopt(detached) => match self.core.0.evacuation.get() {
                // It needs no stop here.
                Some(evacuation) => {
                    self.core.0.placer.borrow().on_left();
                    evacuation.send(detached);
                }
                None => self.adopt(worker, detached),
            },
            Order::RunAll => {
                let mut ready = self.core.0.ready.borrow_mut();
                for (index, task) in (0..).zip(&mut self.tasks) {
                    if let Task::Connection(connection) = task {
                        connection.on_change(worker);
                        let lane = self.index;
                        ready.push(TaskKey { lane, index });
                    }
                }
            }
            Order::Run { index } => {
                // It may have ended, and another one may have its place: then that runs once more.
                let lane = self.index;
                if (index as usize) < self.tasks.len() {
                    self.core.0.ready.borrow_mut().push(TaskKey { lane, index });
                }
            }
            Order::Migrate { index, to } => {
                self.migrate(index, to);
                self.flush(worker);
            }
            Order::MigrateOne { id, to } => {
                let has_id = |task: &Task<P>| match task {
                    Task::Connection(connection) => connection.id() == id,
                    _ => false,
                };
                if let Some(index) = self.tasks.iter().position(has_id) {
                    self.migrate(index as u32, to);
                    self.flush(worker);
                }
            }
            Order::Shed { to, count } => {
                let places = 0..self.tasks.len() as u32;
                let mut migrated = 0;
                for index in places {
                    if migrated < count && self.migrate(index, to) {
                        migrated += 1;
                    }
                }
                self.flush(worker);
            }
        }
    }

    fn adopt(&mut self, worker: &mut Worker, detached: Detached<Descriptor>) {
        let Some(connection) = Connection::attach(&self.core, worker, detached) else {
            self.core.0.placer.borrow().on_left();
            return;
        };
        let moves = connection.moves();
        let key = TaskKey {
            lane: self.index,
            index: self.insert(Task::Connection(connection)),
        };
        self.core.0.balancer.on_adopted(key, moves, worker.now);
        // It asks for the readiness that it waits for when it runs.
        self.core.0.ready.borrow_mut().push(key);
    }

    /// Sends the connection in a place to another core with the next [`Lane::flush`]. False when there is none that can go.
    fn migrate(&mut self, index: u32, to: usize) -> bool {
        let driver = self.core.0.clone();
        let mut neighbours = driver.neighbours.borrow_mut();
        let Some(Task::Connection(connection)) = self.tasks.get_mut(index as usize) else {
            return false;
        };
        if !neighbours.is_other(to) {
            return false;
        }
        let Some(detached) = connection.detach() else {
            return false;
        };
        self.remove(index);
        driver.placer.borrow().on_moved_to(to);
        neighbours.queue(to, self.message(Order::Adopt(detached)));
        true
    }

    /// Sends what goes to other cores. What those have no room for stays here.
    pub(super) fn flush(&mut self, worker: &mut Worker) {
        let returned = self.core.0.neighbours.borrow_mut().flush();
        for (core, message) in returned {
            if let Message::Lane { order, .. } = message {
                self.core.0.placer.borrow().on_returned(core);
                self.handle(worker, order);
            }
        }
    }

    pub(super) fn message(&self, order: Order) -> Message {
        Message::Lane {
            lane: self.index,
            order,
        }
    }

    /// Accepts from more sockets.
    fn listen(
        &mut self,
        settings: &Arc<ListenerSettings>,
        sockets: Vec<Descriptor>,
        open: &OpenSockets,
    ) -> io::Result<()> {
        for socket in sockets {
            let socket = self.core.watch(socket).map_err(|(_, error)| error)?;
            let acceptor = Acceptor::new(&self.core, settings.clone(), socket);
            let lane = self.index;
            let index = self.insert(Task::None);
            let key = TaskKey { lane, index };
            self.tasks[index as usize] = Task::Acceptor(Box::new(Accepting {
                acceptor,
                draining: false,
                open: open.open(),
                waker: self.core.0.neighbours.borrow().waker(key),
            }));
            self.core.0.ready.borrow_mut().push(key);
        }
        Ok(())
    }

    /// Has the acceptors take what waits in their backlogs, and close them then.
    fn stop_accepting(&mut self) {
        let lane = self.index;
        let mut ready = self.core.0.ready.borrow_mut();
        for (index, task) in (0..).zip(&mut self.tasks) {
            if let Task::Acceptor(accepting) = task {
                accepting.draining = true;
                ready.push(TaskKey { lane, index });
            }
        }
    }
}
