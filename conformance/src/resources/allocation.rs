//! Messages that are forwarded without an allocation.

use std::io::{Read as _, Write as _};
use std::sync::LazyLock;

use crate::process::alone;
use crate::real::{Real, RealPeer, Scheduler};
use crate::stage::{Setup, Stage};

/// Connections that take turns.
const CONNECTIONS: usize = 8;

/// Messages a connection and size, of which the first ones fill the pools.
const ROUNDS: usize = 400;
const WARM_UP_ROUNDS: usize = 100;

/// One message that fits every buffer, and one that doesn't fit the proxy's and is spliced.
const SIZES: [usize; 2] = [64, 300_000];

/// Allocations that are nobody's message: what a library does now and then by its clock, and connections that are moved
/// to another core. One in a hundred messages.
const STRAY_ALLOCATIONS_MAX: u64 = 48;

/// Messages go there and back over connections that are open, with timers that run, and nothing is allocated for
/// them. The test's binary has dhat's allocator.
pub fn messages_allocate_nothing<B: Scheduler>() {
    let _alone = alone();
    let before = allocations();
    drop(std::hint::black_box(Box::new(before)));
    assert!(allocations() > before, "the allocator doesn't count");
    let stage = Real::<B>::start(Setup {
        idle_timeout: Some(Real::<B>::PATIENCE),
        ..Setup::default()
    });
    let pairs: Vec<_> = (0..CONNECTIONS).map(|_| stage.pair()).collect();
    for (client, server) in &pairs {
        for peer in [client, server] {
            let socket = peer.socket();
            socket
                .set_nonblocking(false)
                .and_then(|()| socket.set_read_timeout(Some(Real::<B>::PATIENCE)))
                .expect("a socket can block");
        }
    }
    for size in SIZES {
        let (message, mut arrived) = (vec![b'm'; size], vec![0; size]);
        let mut round = || {
            for (client, server) in &pairs {
                pass(client, server, &message, &mut arrived);
                pass(server, client, &message, &mut arrived);
            }
        };
        (0..WARM_UP_ROUNDS).for_each(|_| round());
        let before = allocations();
        (WARM_UP_ROUNDS..ROUNDS).for_each(|_| round());
        let made = allocations() - before;
        let messages = 2 * CONNECTIONS * (ROUNDS - WARM_UP_ROUNDS);
        println!("{size} bytes: {made} allocations for {messages} messages");
        assert!(
            made <= STRAY_ALLOCATIONS_MAX,
            "{made} allocations for {messages} messages of {size} bytes"
        );
    }
}

/// How many allocations there were in all threads since the first call.
fn allocations() -> u64 {
    static PROFILER: LazyLock<dhat::Profiler> =
        LazyLock::new(|| dhat::Profiler::builder().testing().build());
    LazyLock::force(&PROFILER);
    dhat::HeapStats::get().total_blocks
}

/// Sends a message in pieces that the sockets between have room for, so that one thread can be both ends.
fn pass(from: &RealPeer, to: &RealPeer, message: &[u8], arrived: &mut [u8]) {
    const PIECE: usize = 150_000;
    for (sent, received) in message.chunks(PIECE).zip(arrived.chunks_mut(PIECE)) {
        from.socket()
            .write_all(sent)
            .expect("the proxy takes bytes");
        to.socket().read_exact(received).expect("the bytes come");
    }
    assert!(arrived == message, "other bytes arrived");
}
