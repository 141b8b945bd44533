//! A process without a descriptor to spare.

use std::fs::File;
use std::thread;
use std::time::Duration;

use proxy_core::listen::BindAddress;
use proxy_core::metrics::Rejection;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::cases::Counts;
use crate::flow::{Flow, pump};
use crate::process::{alone, cpu_time, descriptors};
use crate::real::{Real, RealPeer, RealStage, Scheduler};
use crate::stage::{Peer, Setup, Stage};
use crate::wait::{settle, wait};

/// Clients that wait meanwhile.
const CLIENTS: usize = 8;

/// How long the process is watched.
const WATCHED: Duration = Duration::from_secs(2);

/// What it may use of that: a worker that spins would use all of it.
const CPU_MAX: Duration = Duration::from_millis(500);

/// While no descriptor is left accepting rests, and goes on when there are some again. Connections that exist
/// are not affected.
pub fn descriptor_exhaustion<B: Scheduler>() {
    let _alone = alone();
    let stage = Real::<B>::start(Setup::default());
    let (client, server) = stage.pair();
    let BindAddress::Tcp(address) = *stage.address() else {
        unreachable!("stages listen on TCP by default");
    };
    // Made before, as connecting takes no descriptor.
    let sockets: Vec<_> = (0..CLIENTS)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM.cloexec(), None).expect("a socket"))
        .collect();
    let limit = getrlimit(Resource::Nofile);
    let lowered = Rlimit {
        current: Some(descriptors() as u64 + 64),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, lowered).expect("a limit can be lowered");
    let mut fillers = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fillers.push(file);
    }
    let clients: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            socket
                .connect(&address.into())
                .expect("the kernel takes it into the backlog");
            RealPeer::new(socket)
        })
        .collect();

    let counts = Counts(&stage);
    wait(&stage, "the lack is counted", || {
        (counts.rejected(Rejection::Descriptors) > 0).then_some(())
    });
    let (before, rests) = (cpu_time(), counts.rejected(Rejection::Descriptors));
    thread::sleep(WATCHED);
    let used = cpu_time() - before;
    assert!(used < CPU_MAX, "{used:?} of CPU time in {WATCHED:?}");
    assert!(
        counts.rejected(Rejection::Descriptors) > rests,
        "it does not try again"
    );
    assert_eq!(
        counts.accepted(),
        1,
        "a client was taken on without a descriptor for its server"
    );
    pump(&stage, &mut [Flow::new(&client, &server, 1, 10_000)]);

    drop(fillers);
    setrlimit(Resource::Nofile, limit).expect("a limit can be raised again");
    for (client, text) in clients.iter().zip(0u8..) {
        assert_eq!(client.send(&[text]).expect("the client waits"), 1);
    }
    let mut texts: Vec<u8> = Vec::new();
    let mut servers = Vec::new();
    wait(&stage, "everyone who waited is served", || {
        servers.extend(stage.accept(0));
        for server in &servers {
            let mut text = [0; 4];
            if let crate::Received::Bytes(count) = RealPeer::receive(server, &mut text) {
                texts.extend(&text[..count]);
            }
        }
        (texts.len() == CLIENTS).then_some(())
    });
    texts.sort_unstable();
    assert!(texts.iter().copied().eq(0..CLIENTS as u8));
    drop((client, server, clients, servers));
    settle(&stage);
}
