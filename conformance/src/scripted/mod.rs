//! A stage in memory: a kernel that makes mischief, a scheduler that moves connections between its workers, and
//! a clock that only moves when nothing else can.
//!
//! The scheduler is told of changes of readiness only. A connection that forgets one that it was told of, or
//! waits without having asked, is never run again, and the case ends at once with "it did not come".

mod dice;
mod end;
mod kernel;
mod peer;
mod socket;
mod tasks;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use proxy_core::carry::{Adoption, Anchor};
use proxy_core::descriptors::Spare;
use proxy_core::{
    Carried, ClientAddress, Connection, Detached, Generation, Inventory, ListenerSettings, Origin,
    Permit, Server, ServerAddress, Turn, Upstream, Worker,
};

use self::kernel::{Kernel, address_of};
use self::peer::ScriptedFlood;
pub use self::peer::ScriptedPeer;
use self::socket::{Handle, ScriptedTransport};
use crate::setting::{generation, settings};
use crate::stage::{ServerKind, Setup, Stage};

/// Room in each direction of a connection, unless it is chosen: less than the proxy's buffer and no power of two,
/// so that bytes are held at odd places.
const ROOM_BYTES: usize = 140_007;

/// Once in so many runs, a connection is detached from its worker and attached to another one, at whatever it is at.
const HAND_OVER_EACH: u64 = 7;

/// Once in so many of these moves it goes as bytes, as if to another process.
const CARRY_EACH: u64 = 2;

thread_local! {
    static ROUND: Cell<u64> = const { Cell::new(0) };
}

/// A proxy without a descriptor.
pub struct Scripted {
    handle: Handle,
    workers: RefCell<Vec<Worker>>,
    connections: RefCell<Vec<Option<Connection<Handle>>>>,
    settings: Arc<ListenerSettings>,
    generation: Arc<Generation>,
    hands_over: Cell<bool>,
    client_address: ClientAddress,
    inventory: Inventory,
    anchor: Anchor,
}

impl Scripted {
    /// Starts one whose mischief follows from `seed` (none for zero), with `room` bytes in each direction of a
    /// connection.
    pub fn start_with(setup: Setup, seed: u64, room: usize) -> Self {
        let workers = setup.workers;
        let now = Instant::now();
        let inventory = Inventory::default();
        let settings = settings(&inventory, &setup, |upstream| members(upstream, &setup));
        let generation = generation(workers, &settings);
        let worker = |index| Worker::new(generation.clone(), index, now);
        let kernel = Kernel::new(now, seed, room, &setup.servers);
        Self {
            handle: Handle(Rc::new(RefCell::new(kernel))),
            workers: RefCell::new((0..workers).map(worker).collect()),
            connections: RefCell::default(),
            settings,
            generation,
            hands_over: Cell::new(true),
            client_address: setup.client,
            inventory,
            anchor: Anchor::new(now, Duration::from_secs(1000)),
        }
    }

    /// Detaches no connection from now on, which would set its timer again.
    pub fn keep_still(&self) {
        self.hands_over.set(false);
    }

    /// Times that a timer was set.
    pub fn timer_arms(&self) -> u64 {
        self.handle.0.borrow().tasks.arms
    }

    /// Receives of the proxy's so far that found nothing.
    pub fn receives_in_vain(&self) -> u64 {
        self.handle.0.borrow().receives_in_vain
    }

    /// Sends of the proxy's so far.
    pub fn sends(&self) -> u64 {
        self.handle.0.borrow().sends
    }

    /// Does one thing, if there is one to do without time passing.
    pub fn step(&self) -> bool {
        let mut kernel = self.handle.0.borrow_mut();
        if kernel.has_events() && (kernel.tasks.is_idle() || !kernel.dice.mischief(2)) {
            kernel.harvest();
            return true;
        }
        let count = self.connections.borrow().len();
        if count > 0 && kernel.dice.mischief(100) {
            // For nothing: a scheduler may do so.
            let task = kernel.dice.index(count);
            kernel.tasks.wake(task);
        }
        let Some(task) = kernel.tasks.pop() else {
            return false;
        };
        kernel.begin_turn();
        let worker = kernel.dice.index(self.workers.borrow().len());
        let now = kernel.now;
        drop(kernel);
        self.run(task, worker, now);
        true
    }

    fn run(&self, task: usize, worker: usize, now: Instant) {
        if self.hands_over.get() && self.handle.0.borrow_mut().dice.mischief(HAND_OVER_EACH) {
            self.hand_over(task, worker, now);
        }
        let connections = &mut *self.connections.borrow_mut();
        let Some(connection) = &mut connections[task] else {
            return;
        };
        let worker = &mut self.workers.borrow_mut()[worker];
        worker.now = now;
        let cx = &mut Context::from_waker(Waker::noop());
        match connection.poll(cx, &self.handle, worker) {
            Turn::Waiting => {}
            Turn::Again => self.handle.0.borrow_mut().tasks.wake(task),
            Turn::Ended(_) => connections[task] = None,
        }
    }

    /// Takes a connection off whichever worker has it, and gives it to this one.
    fn hand_over(&self, task: usize, worker: usize, now: Instant) {
        let slot = &mut self.connections.borrow_mut()[task];
        let workers = &mut *self.workers.borrow_mut();
        let Some(connection) = slot else {
            return;
        };
        let Some(detached) = connection.detach() else {
            return;
        };
        let crosses = self.handle.0.borrow_mut().dice.mischief(CARRY_EACH);
        let detached = if crosses {
            self.carry(detached, now)
        } else {
            detached
        };
        workers[worker].now = now;
        *slot = Connection::attach(&self.handle, &mut workers[worker], detached);
    }

    /// Makes a connection of the bytes of another one, and lets go of that, as two processes do at an upgrade.
    fn carry(
        &self,
        detached: Detached<ScriptedTransport>,
        now: Instant,
    ) -> Detached<ScriptedTransport> {
        let table = self.generation.tables.current();
        let adoption = Adoption::new(&self.inventory, &table, self.anchor, now);
        let bytes = self.encode(&detached);
        let decoded = Detached::decode(&bytes, clones(&detached), &adoption);
        let decoded = decoded.expect("what was encoded is a connection");
        assert!(bytes == self.encode(&decoded), "it is not what it was");
        self.mangle(bytes, &detached, &adoption);
        drop(detached.release(&self.generation.cores));
        decoded
    }

    fn encode(&self, detached: &Detached<ScriptedTransport>) -> Vec<u8> {
        let mut bytes = Vec::new();
        detached.encode(self.anchor, &mut bytes);
        bytes
    }

    /// A record of which a part is lacking is refused. One of which a byte is another one is refused, or is a connection as good as
    /// any, which nobody hears of.
    fn mangle(
        &self,
        mut bytes: Vec<u8>,
        detached: &Detached<ScriptedTransport>,
        adoption: &Adoption<'_>,
    ) {
        let (at, bit) = {
            let dice = &mut self.handle.0.borrow_mut().dice;
            (dice.index(bytes.len()), dice.index(8))
        };
        let decode = |bytes: &[u8]| Detached::decode(bytes, clones(detached), adoption);
        assert!(decode(&bytes[..at]).is_err(), "a part is not the whole");
        bytes[at] ^= 1 << bit;
        if let Ok(other) = decode(&bytes) {
            let bytes = self.encode(&other);
            let again = decode(&bytes).expect("what was encoded is a connection");
            assert!(bytes == self.encode(&again), "it is not what it was");
            for one in [other, again] {
                drop(one.release(&self.generation.cores));
            }
        }
    }

    /// Has time pass though there is something to do, as it does on a machine that is never idle.
    pub fn hurry(&self, by: Duration) {
        let mut kernel = self.handle.0.borrow_mut();
        kernel.now += by;
        let now = kernel.now;
        kernel.tasks.fire(now);
    }

    /// Has `source` always have `bytes` for each receive of the proxy's.
    pub fn pour(&self, source: &ScriptedPeer, bytes: usize) {
        self.handle.0.borrow_mut().pour(source.end, bytes);
    }

    /// Runs every connection once, as a backend does where something has changed that each is to see.
    pub fn run_all(&self) {
        let kernel = &mut self.handle.0.borrow_mut();
        for (task, connection) in self.connections.borrow_mut().iter_mut().enumerate() {
            if let Some(connection) = connection {
                let worker = kernel.dice.index(self.workers.borrow().len());
                let worker = &mut self.workers.borrow_mut()[worker];
                worker.now = kernel.now;
                connection.on_change(worker);
                kernel.tasks.wake(task);
            }
        }
    }

    /// Connects so far that found a queue full.
    pub fn connects_to_full(&self) -> u64 {
        self.handle.0.borrow().full
    }

    /// A server whose queue was full has room from now on.
    pub fn make_room(&self, server: usize) {
        self.turn_into(server, ServerKind::Listening);
    }

    /// A server answers connects in another way from now on.
    pub fn turn_into(&self, server: usize, kind: ServerKind) {
        self.handle.0.borrow_mut().turn_into(server, kind);
    }

    /// A server that was silent answers those who wait for it: it accepts late.
    pub fn answer(&self, server: usize) {
        self.handle.0.borrow_mut().answer(server);
    }

    /// Bytes that a connection takes in the memory of who runs it.
    pub const CONNECTION_BYTES: usize = size_of::<Connection<Handle>>();

    /// The end of a server's stream arrives just before the proxy receives from it next, behind all its looks.
    pub fn end_at_receive(&self, server: &ScriptedPeer) {
        self.handle.0.borrow_mut().end_at_receive(server.end);
    }

    /// A server resets just before the proxy sends to it next, behind all looks at it.
    pub fn cut_at_send(&self, server: &ScriptedPeer) {
        let kernel = &mut *self.handle.0.borrow_mut();
        let near = kernel.end(server.end).other;
        kernel.end(near).cut_at_send = true;
    }

    /// Has `source` always have `bytes` for each receive, and `sink` take everything.
    pub fn flood_by(
        &self,
        source: ScriptedPeer,
        sink: ScriptedPeer,
        bytes: usize,
    ) -> ScriptedFlood {
        self.handle
            .0
            .borrow_mut()
            .flood(source.end, sink.end, bytes);
        ScriptedFlood {
            listener: self.settings.listener.clone(),
            _ends: [source, sink],
        }
    }

    /// Moves every connection to another worker, whose scheduler can't watch it.
    pub fn hand_over_in_vain(&self) {
        self.handle.0.borrow_mut().refuses_watches = true;
        let count = self.connections.borrow().len();
        for task in 0..count {
            self.hand_over(task, 0, self.now());
        }
        self.handle.0.borrow_mut().refuses_watches = false;
    }

    /// Drops every connection as it is, as a scheduler does that is dropped itself.
    pub fn drop_connections(&self) {
        self.connections.borrow_mut().clear();
    }

    fn peer(&self, end: end::EndId) -> ScriptedPeer {
        ScriptedPeer {
            kernel: self.handle.0.clone(),
            end,
        }
    }
}

/// The descriptors of a connection once more, as another process gets them.
fn clones(detached: &Detached<ScriptedTransport>) -> Carried<ScriptedTransport> {
    let beside = detached.beside();
    let pipes = beside.pipes.iter();
    Carried {
        client: beside.client.clone(),
        server: beside.server.cloned(),
        pipes: pipes
            .map(|end| end.try_clone_to_owned().expect("a descriptor"))
            .collect(),
    }
}

/// The upstream's members.
fn members(upstream: &Upstream, setup: &Setup) -> Vec<Server> {
    if setup.one_name {
        let server = Server::named(upstream, "name:1".into());
        let addresses = (0..setup.servers.len()).map(address_of);
        server.set_addresses(&addresses.collect::<Vec<_>>());
        vec![server]
    } else {
        let servers = setup.servers.iter().enumerate();
        servers
            .map(|(index, &kind)| member(upstream, index, kind))
            .collect()
    }
}

/// The upstream's member that a scripted server is.
fn member(upstream: &Upstream, index: usize, kind: ServerKind) -> Server {
    if kind == ServerKind::Unresolved {
        return Server::named(upstream, format!("nowhere.invalid:{index}"));
    }
    let address = if kind == ServerKind::Full {
        ServerAddress::Unix(index.to_string().into())
    } else {
        ServerAddress::Tcp(address_of(index))
    };
    Server::fixed(upstream, address.to_string(), address)
}

impl Stage for Scripted {
    type Peer = ScriptedPeer;
    type Flood = ScriptedFlood;

    const ROUNDS: u64 = 20;
    /// What comes by itself comes before time passes, so no timer can make up for a lost event.
    const PATIENCE: Duration = Duration::ZERO;
    const LULL: Duration = Duration::ZERO;
    const BULK_BYTES: u64 = 500_000;
    const UNDER_WAY_MAX: u64 = (2 * ROOM_BYTES + proxy_core::BUFFER_BYTES) as u64;

    fn set_round(round: u64) {
        ROUND.set(round);
    }

    fn start(setup: Setup) -> Self {
        Self::start_with(setup, ROUND.get(), ROOM_BYTES)
    }

    fn settings(&self) -> &ListenerSettings {
        &self.settings
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn connect(&self) -> ScriptedPeer {
        let mut kernel = self.handle.0.borrow_mut();
        let (near, far) = kernel.connection();
        kernel.note_first(near);
        let index = kernel.dice.index(self.workers.borrow().len());
        let now = kernel.now;
        drop(kernel);
        let client = self.handle.socket(near);
        let worker = &mut self.workers.borrow_mut()[index];
        worker.now = now;
        let origin = Origin {
            peer: self.client_address,
            accepted_at: now,
        };
        if let Ok(permit) = Permit::ask(&self.settings, worker, origin, Spare::default()) {
            let connection = Connection::new(&self.handle, worker, permit, client, origin);
            let mut connections = self.connections.borrow_mut();
            connections.push(Some(connection));
            self.handle.0.borrow_mut().tasks.wake(connections.len() - 1);
        }
        self.peer(far)
    }

    fn accept(&self, server: usize) -> Option<ScriptedPeer> {
        let end = self.handle.0.borrow_mut().accept(server)?;
        Some(self.peer(end))
    }

    fn now(&self) -> Instant {
        self.handle.0.borrow().now
    }

    fn pass(&self, until: Instant) -> bool {
        if self.step() {
            return true;
        }
        let mut kernel = self.handle.0.borrow_mut();
        let next = kernel.tasks.next_deadline();
        kernel.now = next.filter(|&next| next <= until).unwrap_or(until);
        let now = kernel.now;
        kernel.tasks.fire(now);
        !kernel.tasks.is_idle()
    }

    fn stop(&self) {
        for mut connection in self.connections.borrow_mut().drain(..).flatten() {
            connection.abort(&mut self.workers.borrow_mut()[0]);
        }
    }

    fn flood(&self, source: ScriptedPeer, sink: ScriptedPeer) -> ScriptedFlood {
        self.flood_by(source, sink, proxy_core::BUFFER_BYTES)
    }
}
