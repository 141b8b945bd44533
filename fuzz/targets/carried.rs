//! Records that cross from one process to another: the bytes of a good one with some changed, or any bytes. What is taken is
//! written, and read again as the same.

#![no_main]

use std::io::{PipeReader, PipeWriter, Write};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use proxy_core::carry::{Adoption, Anchor, Kind, Moment, VERSION, apply_verdicts, encode_verdicts};
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::{
    BandwidthSettings, Descriptor, Detached, EjectionSettings, Hold, Inventory, Lifetime, Limits,
    ListenerSettings, Member, Pool, PoolSettings, Rate, Server, ServerAddress, Table, Times,
};

const SECOND: Duration = Duration::from_secs(1);

/// Bytes in the pipe.
const IN_PIPE: u64 = 100;

/// A process, what came beside a connection, and good records.
struct World {
    inventory: Inventory,
    table: Table,
    cores: PerWorker<CoreCells>,
    client: UnixStream,
    server: UnixStream,
    pipe: (PipeReader, PipeWriter),
    now: Instant,
    connection: Vec<u8>,
    waiting: Vec<u8>,
    verdicts: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let world = &*WORLD;
    let (kind, good) = match choice & 9 {
        0 => (Kind::Connection, &world.connection),
        8 => (Kind::Waiting, &world.waiting),
        _ => (Kind::Verdicts, &world.verdicts),
    };
    let bytes = if choice & 2 == 0 {
        edited(good, data)
    } else {
        record(kind, data)
    };
    match kind {
        Kind::Connection if choice & 4 == 0 => world.connection(&bytes, 4),
        Kind::Connection => world.connection(&bytes, 2),
        Kind::Waiting => world.connection(&bytes, 1),
        Kind::Verdicts => world.verdicts(&bytes),
    }
});

/// A record with changes: a place, what to do there, and with what.
fn edited(good: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for edit in edits.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        match edit[2] % 4 {
            0 => bytes[at] = edit[3],
            1 => bytes[at] ^= 1 << (edit[3] % 8),
            2 => bytes[at] = bytes[at].wrapping_add(edit[3]),
            // Both are mostly refused for their lengths.
            _ if edit[3] & 1 == 0 => bytes.insert(at, edit[3]),
            _ if bytes.len() > 1 => _ = bytes.remove(at),
            _ => {}
        }
    }
    bytes
}

fn record(kind: Kind, fields: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((fields.len() as u32).to_le_bytes());
    bytes.extend(fields);
    bytes
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let inventory = Inventory::default();
        let upstream = inventory.upstream("u");
        let make = || {
            let address = ServerAddress::Tcp(([10, 0, 0, 1], 80).into());
            Server::fixed(&upstream, "10.0.0.1:80".into(), address)
        };
        let fixed = inventory.server(&upstream, "10.0.0.1:80", make);
        let make = || Server::named(&upstream, "name:80".into());
        let named = inventory.server(&upstream, "name:80", make);
        named.set_addresses(&[([10, 0, 0, 2], 80).into(), ([10, 0, 0, 3], 80).into()]);
        let members = [fixed.clone(), named.clone()];
        let members = members.map(|server| Member::new(server, 1)).into();
        let settings = PoolSettings {
            retry_budget: Some(20),
            slow_start: Some(SECOND),
            ..PoolSettings::default()
        };
        let ejection = EjectionSettings {
            consecutive_failures: NonZeroU32::MIN,
            early: Some(SECOND),
            slow_factor: NonZeroU32::MIN,
            interval: SECOND,
            base: SECOND,
            max: SECOND,
            largest_share: 50,
            panic_threshold: 0,
        };
        let pool = Pool::new(upstream.clone(), members, settings).with_ejection(Some(ejection));
        let pool = Arc::new(pool);
        let listener = inventory.listener("l");
        drop(listener.routes.of(["r"]));
        let rate = Rate::of_connections(1, 5);
        let time = Some(SECOND);
        let settings = ListenerSettings {
            limits: Limits {
                rate: Some(listener.counted.meter(rate)),
                source_rate: Some(listener.counted.source_rates(rate)),
                source_connections: Some(5),
                ..Limits::default()
            },
            times: Times {
                client_idle: time,
                server_idle: time,
                half_closed: time,
                lifetime: Some(Lifetime {
                    max: SECOND,
                    jitter: 10,
                }),
            },
            bandwidth: BandwidthSettings {
                listener: Some(1000),
                connection: Some(1000),
            },
            ..ListenerSettings::new(listener.clone(), pool.clone())
        };
        let table = Table::new(vec![Arc::new(settings)], vec![pool]);
        table.apply_bandwidth();
        inventory.settle(&table, now);
        fixed.set_up(false, now);
        fixed.set_hold(Hold::Maintenance, true, now);
        // What it says doesn't matter.
        let _ = listener.counted.meter(rate).take(now, 1);
        let (client, server) = UnixStream::pair().expect("two sockets");
        let mut pipe = std::io::pipe().expect("a pipe");
        pipe.1
            .write_all(&[7; IN_PIPE as usize])
            .expect("it has room");
        let mut verdicts = Vec::new();
        encode_verdicts(&inventory, &table, anchor(now), now, &mut verdicts);
        Self {
            inventory,
            table,
            cores: PerWorker::default(),
            client,
            server,
            pipe,
            now,
            connection: record(Kind::Connection, &connection()),
            waiting: record(Kind::Waiting, &waiting()),
            verdicts,
        }
    }

    fn adoption(&self) -> Adoption<'_> {
        Adoption::new(&self.inventory, &self.table, anchor(self.now), self.now)
    }

    /// A client, its server, and the ends of a pipe: the first so many of them.
    fn descriptors(&self, count: usize) -> Vec<OwnedFd> {
        let (read, write) = &self.pipe;
        let sockets = [self.client.as_fd(), self.server.as_fd()];
        let all = sockets.into_iter().chain([read.as_fd(), write.as_fd()]);
        let owned = all.take(count).map(|fd| fd.try_clone_to_owned());
        owned.map(|fd| fd.expect("a descriptor")).collect()
    }

    fn connection(&self, bytes: &[u8], beside: usize) {
        let adoption = self.adoption();
        let decode = |bytes: &[u8], descriptors| {
            Detached::<Descriptor>::decode_with(bytes, descriptors, &adoption)
        };
        let Ok(one) = decode(bytes, self.descriptors(beside)) else {
            return;
        };
        let beside = one.descriptors().into_iter();
        let beside = beside.map(|fd| fd.try_clone_to_owned().expect("a descriptor"));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        one.encode(anchor(self.now), &mut first);
        let other = decode(&first, beside.collect()).expect("what was encoded is a connection");
        other.encode(anchor(self.now), &mut second);
        assert_eq!(first, second);
        drop((one.release(&self.cores), other.release(&self.cores)));
    }

    fn verdicts(&self, bytes: &[u8]) {
        for moment in [Moment::Start, Moment::Takeover] {
            if apply_verdicts(bytes, moment, &self.adoption()).is_ok() {
                let mut again = Vec::new();
                let anchor = anchor(self.now);
                encode_verdicts(&self.inventory, &self.table, anchor, self.now, &mut again);
                let taken = apply_verdicts(&again, moment, &self.adoption());
                taken.expect("what was encoded is a record");
            }
        }
    }
}

fn anchor(now: Instant) -> Anchor {
    Anchor::new(now, 1000 * SECOND)
}

fn field(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value);
    bytes
}

/// Fields in one another.
fn fields(all: &[(u8, &[u8])]) -> Vec<u8> {
    all.iter()
        .flat_map(|(tag, value)| field(*tag, value))
        .collect()
}

/// The fields of a connection that has all that one can have.
fn connection() -> Vec<u8> {
    let moment = &moment();
    let (facts, attempts) = (facts(), attempts());
    let up = fields(&[
        (1, &[0, 1]),
        (2, b"bytes that are held"),
        (5, b""),
        (8, b""),
    ]);
    let down = fields(&[(1, &[5]), (3, &[IN_PIPE as u8]), (6, &[1]), (11, b"")]);
    let lost = fields(&[(0, b""), (1, &[104]), (2, &[9]), (3, &[0x40, 0x42, 0x0f])]);
    let purse = fields(&[(0, moment), (1, &[50]), (2, moment)]);
    let pace = fields(&[(0, &purse), (1, &purse)]);
    let relay = fields(&[(0, &up), (1, &down), (2, &lost), (3, &pace)]);
    let trial = fields(&[(0, b"u"), (1, b"name:80"), (2, moment)]);
    let address = field(0, b"10.0.0.2:80");
    let mut addresses = (address.len() as u32).to_le_bytes().to_vec();
    addresses.extend(&address);
    let label = field(0, b"10.0.0.1:80");
    let mut labels = (label.len() as u32).to_le_bytes().to_vec();
    labels.extend(&label);
    let first = first();
    let retries = fields(&[(0, b""), (2, &[1])]);
    let search = fields(&[
        (0, b"u"),
        (1, b"name:80"),
        (2, &addresses),
        (3, &labels),
        (4, &[1]),
        (5, &first),
        (6, &retries),
    ]);
    let probation = fields(&[(0, &search), (1, &[5]), (2, moment)]);
    let clocks = fields(&[(0, moment), (1, moment), (2, moment)]);
    let kept = fields(&[(0, &[9]), (4, &[8]), (5, &[10]), (6, b"")]);
    fields(&[
        (0, &[77]),
        (1, b"l"),
        (2, b"u"),
        (3, b"name:80"),
        (6, &facts),
        (7, moment),
        (8, moment),
        (9, &[3]),
        (10, &[4]),
        (11, b"10.0.0.8"),
        (12, &attempts),
        (13, &relay),
        (14, &trial),
        (15, &probation),
        (16, moment),
        (17, moment),
        (18, &clocks),
        (19, &[2]),
        (20, &kept),
    ])
}

/// The fields of a client that waits for a place, and has all that one can have.
fn waiting() -> Vec<u8> {
    let moment = &moment();
    let turn = fields(&[(0, &[17]), (1, moment), (2, moment)]);
    fields(&[
        (0, &[77]),
        (1, b"l"),
        (2, b"u"),
        (4, &facts()),
        (5, moment),
        (6, b"10.0.0.8"),
        (7, &first()),
        (8, &attempts()),
        (9, &turn),
        (10, &[2]),
    ])
}

fn moment() -> [u8; 5] {
    let bytes = 999_000_000_001_u64.to_le_bytes();
    std::array::from_fn(|place| bytes[place])
}

fn first() -> Vec<u8> {
    fields(&[(0, b"hello"), (1, &[1]), (2, &[2]), (3, b"smtp")])
}

fn attempts() -> Vec<u8> {
    fields(&[(0, &[1]), (1, b"refused"), (2, b""), (3, &[5]), (4, &[6])])
}

fn facts() -> Vec<u8> {
    fields(&[
        (0, b"10.0.0.9:1"),
        (1, b"10.0.0.8:2"),
        (2, b"10.0.0.7:3"),
        (3, b"a.example.com"),
        (4, b"\x02h2"),
        (5, &[80]),
        (6, b"r"),
    ])
}
