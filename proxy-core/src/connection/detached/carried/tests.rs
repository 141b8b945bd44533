//! A connection of the kernel's sockets, in another process.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::connection::connect::{Wait, WaitTurn};
use crate::connection::first::First;
use crate::connection::origin::Origin;
use crate::epoch::origin;
use crate::listener::settings::ListenerSettings;
use crate::metrics::{Cause, CoreCells, PerWorker, Slot, Slots};
use crate::relay::buffer::Held;
use crate::route::Destination;
use crate::table::Table;
use crate::table::inventory::Inventory;
use crate::upstream::pool::{Member, Pool, PoolSettings};
use crate::upstream::server::Server;

const SECOND: Duration = Duration::from_secs(1);

/// A process whose only listener, upstream and server have these names.
struct Process {
    inventory: Inventory,
    table: Table,
}

impl Process {
    fn new(names: [&str; 3], idle: Duration) -> Self {
        let [listener, upstream, server] = names;
        let inventory = Inventory::default();
        let upstream = inventory.upstream(upstream);
        let make = || Server::fixed(&upstream, server.into(), ServerAddress::Unix(server.into()));
        let member = Member::new(inventory.server(&upstream, server, make), 1);
        let pool = Pool::new(upstream.clone(), vec![member], PoolSettings::default());
        let pool = Arc::new(pool);
        let settings = ListenerSettings {
            idle_timeout: Some(idle),
            ..ListenerSettings::new(inventory.listener(listener), pool.clone())
        };
        let table = Table::new(vec![Arc::new(settings)], vec![pool]);
        inventory.settle(&table, origin());
        Self { inventory, table }
    }

    fn settings(&self) -> &Arc<ListenerSettings> {
        &self.table.listeners[0]
    }

    /// What is known of a client that came 9 s ago, and the slot of the worker that it is at.
    fn entry(&self) -> (Entry, Slot) {
        let slot = Slots::default().lend(1).expect("there is room").slot(0);
        let permit = Permit::carried(self.settings().clone(), "10.0.0.1".parse().ok());
        self.settings().listener.on_come();
        let from = Origin {
            peer: ClientAddress::Tcp(([10, 0, 0, 1], 7).into()),
            accepted_at: origin() - 9 * SECOND,
        };
        (Entry::new(permit, slot, from, false), slot)
    }

    /// A connection that holds bytes for the server, with the far ends of both sides.
    fn connection(&self) -> (Detached<Descriptor>, UnixStream, UnixStream) {
        let now = origin();
        let (client, near) = UnixStream::pair().expect("sockets");
        let (server, far) = UnixStream::pair().expect("sockets");
        for socket in [&near, &far] {
            socket.set_nonblocking(true).expect("they can");
        }
        let (entry, slot) = self.entry();
        let server_of_it = self.settings().pool.server(0);
        entry
            .record
            .on_connected(server_of_it.clone(), now - 8 * SECOND);
        entry.record.on_bytes(3, 4, now - SECOND);
        let mut relay = Relay::new(true);
        relay.open_with(Held::new(b"held".to_vec(), 0), 0);
        let parts = Parts {
            entry,
            taken: Taken::beside(server_of_it),
            client: Descriptor::of_any(near.into()),
            server: Descriptor::of_any(far.into()),
            attempts: Attempts::default(),
            relay,
            trial: None,
            probation: None,
            last_byte_at: now - SECOND,
            stall_check_at: None,
            clocks: None,
            ran_by: Some(slot),
            moves: 1,
        };
        (Detached::new(parts), client, server)
    }

    /// A client that waits for a place, and has said something, with its far end.
    fn waiting(&self) -> (Detached<Descriptor>, UnixStream) {
        let now = origin();
        let (client, near) = UnixStream::pair().expect("sockets");
        let (entry, slot) = self.entry();
        let waiting = Waiting {
            entry,
            client: Descriptor::of_any(near.into()),
            wait: Wait {
                upstream: self.settings().pool.upstream().name.clone(),
                destination: Destination::DEFAULT,
                fallbacks: 0,
                first: Some(First::said(b"hello".to_vec())),
                attempts: Attempts::default(),
                turn: WaitTurn::of(17, now + SECOND, now - SECOND),
            },
            ran_by: Some(slot),
            moves: 3,
        };
        (Detached::waiting(waiting), client)
    }
}

fn anchor() -> Anchor {
    use std::sync::OnceLock;
    static FIRST: OnceLock<Anchor> = OnceLock::new();
    *FIRST.get_or_init(|| Anchor::new(origin(), 1000 * SECOND))
}

/// What goes to another process, and what that gets.
fn send(detached: &Detached<Descriptor>) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = Vec::new();
    detached.encode(anchor(), &mut bytes);
    let descriptors = detached.descriptors().into_iter();
    let descriptors = descriptors.map(|fd| fd.try_clone_to_owned().expect("a descriptor"));
    (bytes, descriptors.collect())
}

#[test]
fn what_is_configured_no_longer_lives_on_under_its_name() {
    let one = Process::new(["l", "u", "s"], 7 * SECOND);
    let other = Process::new(["m", "v", "t"], 5 * SECOND);
    let (detached, ..) = one.connection();
    let (bytes, descriptors) = send(&detached);
    let now = origin();
    let adoption = Adoption::new(&other.inventory, &other.table, anchor(), now);
    let decoded = Detached::decode_with(&bytes, descriptors, &adoption).expect("a connection");
    let cores = PerWorker::<CoreCells>::default();
    drop(detached.release(&cores));
    let first = &one.settings().listener;
    assert_eq!(
        (
            first.connections(),
            one.settings().pool.server(0).connections()
        ),
        (0, 0)
    );
    let view = other.inventory.view(&other.table, now);
    let names: Vec<_> = view
        .listeners
        .iter()
        .map(|one| &one.listener.name[..])
        .collect();
    assert_eq!(names, ["m", "l"]);
    let gone = view.listeners[1].listener.clone();
    assert_eq!(gone.connections(), 1);
    assert_eq!(gone.counted.sources(), 1);
    let upstream = view.upstreams.iter().find(|view| view.upstream.name == "u");
    let server = upstream.expect("it is shown").servers[0].clone();
    assert_eq!((&server.label[..], server.connections()), ("s", 1));
    assert_eq!(
        server.fixed_address(),
        Some(&ServerAddress::Unix("s".into()))
    );
    // A reload that has it again finds it.
    assert!(Arc::ptr_eq(&other.inventory.listener("l"), &gone));
    {
        let Some(Whole::Relaying(parts)) = &decoded.0 else {
            panic!("it has its parts");
        };
        assert_eq!(parts.entry.settings().idle_timeout, Some(7 * SECOND));
        assert_eq!(parts.entry.record.bytes(), (3, 4));
        assert_eq!(
            parts.entry.record.client(),
            ClientAddress::Tcp(([10, 0, 0, 1], 7).into())
        );
    }
    let slot = Slots::default().lend(1).expect("there is room").slot(0);
    decoded.abort(slot, cores.of(slot), now);
    assert_eq!(
        (
            gone.connections(),
            server.connections(),
            gone.counted.sources()
        ),
        (0, 0, 0)
    );
    let ended = gone.cells.of(slot).ended[Cause::Drain as usize].get();
    assert_eq!((ended, cores.connections(slot)), (1, 0));
}

#[test]
fn letting_go_of_it_tells_neither_side_anything() {
    let one = Process::new(["l", "u", "s"], SECOND);
    let (detached, mut client, mut server) = one.connection();
    let (bytes, descriptors) = send(&detached);
    let adoption = Adoption::new(&one.inventory, &one.table, anchor(), origin());
    let decoded = Detached::decode_with(&bytes, descriptors, &adoption).expect("a connection");
    drop(detached.release(&PerWorker::default()));
    for (side, transport) in [(&mut client, 0), (&mut server, 1)] {
        side.set_nonblocking(true).expect("it can");
        let got = side.read(&mut [0; 1]);
        assert!(got.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        side.write_all(b"x").expect("it is open");
        let beside = decoded.beside();
        let server = beside.server.expect("it has one");
        let near = [beside.client, server][transport];
        near.receive(&mut [0; 2]).expect("the byte is there");
    }
    // One that is not let go of is reset.
    drop(decoded);
    assert_eq!(one.settings().listener.counted.sources(), 0);
    assert!(
        !matches!(client.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    );
}

#[test]
fn other_descriptors_than_it_has_are_refused() {
    let one = Process::new(["l", "u", "s"], SECOND);
    let (detached, ..) = one.connection();
    let adoption = Adoption::new(&one.inventory, &one.table, anchor(), origin());
    for count in [0, 1, 3, 4] {
        let (bytes, mut descriptors) = send(&detached);
        let more = |fd: &OwnedFd| fd.try_clone().expect("a descriptor");
        while descriptors.len() < count {
            descriptors.push(more(&descriptors[0]));
        }
        descriptors.truncate(count);
        let refused = Detached::decode_with(&bytes, descriptors, &adoption);
        let Err(Error::Descriptors { got, wanted: 2 }) = refused else {
            panic!("{count}: {refused:?}");
        };
        assert_eq!(got, count);
    }
    assert_eq!(one.settings().listener.connections(), 1);
    drop(detached.release(&PerWorker::default()));
    assert_eq!(one.settings().pool.server(0).connections(), 0);
}

#[test]
fn a_client_that_waits_goes_over_with_all_that_it_has() {
    let one = Process::new(["l", "u", "s"], SECOND);
    let (detached, mut client) = one.waiting();
    let (bytes, descriptors) = send(&detached);
    assert_eq!(descriptors.len(), 1);
    let adoption = Adoption::new(&one.inventory, &one.table, anchor(), origin());
    let decoded = Detached::decode_with(&bytes, descriptors, &adoption).expect("a client");
    assert_eq!(send(&decoded).0, bytes);
    let cores = PerWorker::<CoreCells>::default();
    drop(detached.release(&cores));
    assert_eq!(one.settings().listener.connections(), 1);
    // Nobody has told it anything.
    client.set_nonblocking(true).expect("it can");
    let got = client.read(&mut [0; 1]);
    assert!(got.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    let mut more = send(&decoded).1;
    more.extend(send(&decoded).1);
    let refused = Detached::decode_with(&bytes, more, &adoption);
    assert!(
        matches!(refused, Err(Error::Descriptors { got: 2, wanted: 1 })),
        "{refused:?}"
    );
    // It stays where it is if there is nothing to wait for.
    for names in [["m", "u", "s"], ["l", "v", "s"]] {
        let other = Process::new(names, SECOND);
        let adoption = Adoption::new(&other.inventory, &other.table, anchor(), origin());
        let refused = Detached::decode_with(&bytes, send(&decoded).1, &adoption);
        assert!(matches!(refused, Err(Error::Bad(_))), "{refused:?}");
        assert_eq!(other.settings().listener.connections(), 0);
    }
    let slot = Slots::default().lend(1).expect("there is room").slot(0);
    decoded.abort(slot, cores.of(slot), origin());
    let listener = &one.settings().listener;
    assert_eq!((listener.connections(), listener.counted.sources()), (0, 0));
    let ended = listener.cells.of(slot).ended[Cause::Drain as usize].get();
    assert_eq!(ended, 1);
}
