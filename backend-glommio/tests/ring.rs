//! What a worker's ring, or its epoll, is said to do, against the messages that made it.

#[allow(dead_code, reason = "it starts what has no counts to tell, too")]
mod backends;

use std::cell::RefCell;

use backend_glommio::{Cells, Glommio, Readiness};
use conformance::{Peer, Real, RealPeer, Received, Scheduler, Setup, Stage, elapse, wait};
use proxy_core::backend::{Backend, Plan};

use backends::{options, unavailable};

const MESSAGES: u64 = 300;

/// A backend that leaves its cells to the test that started it.
struct Counted<const EPOLL: bool>;

thread_local! {
    static CELLS: RefCell<Option<Cells>> = const { RefCell::new(None) };
}

impl<const EPOLL: bool> Scheduler for Counted<EPOLL> {
    const SOCKET_A_WORKER: bool = true;

    fn unavailable() -> Option<String> {
        unavailable()
    }

    fn start(plan: Plan) -> Result<Box<dyn Backend>, String> {
        let readiness = EPOLL.then_some(Readiness::Epoll);
        let glommio =
            Glommio::start(plan, options(readiness)).map_err(|error| error.to_string())?;
        CELLS.set(Some(glommio.cells().clone()));
        Ok(Box::new(glommio))
    }
}

fn messages_are_counted_and_rest_is_not<const EPOLL: bool>() {
    let stage = Real::<Counted<EPOLL>>::start(Setup::default());
    let cells = CELLS.take().expect("it was started here");
    if EPOLL {
        assert_eq!(cells.readiness, Readiness::Epoll);
    }
    let counts = || {
        let rings = &cells.rings;
        [
            rings.sum(|ring| ring.enters.get()),
            rings.sum(|ring| ring.sleeps.get()),
            rings.sum(|ring| ring.completions.get()),
            rings.sum(|ring| ring.overflows.get()),
            rings.sum(|ring| ring.rearms.get()),
        ]
    };
    let (client, server) = stage.pair();
    let before = counts();
    for _ in 0..MESSAGES {
        pass(&stage, &client, &server);
        pass(&stage, &server, &client);
    }
    elapse(&stage, Real::<Counted<EPOLL>>::LULL);
    let after = counts();
    let [enters, sleeps, completions, overflows, rearms] =
        [0, 1, 2, 3, 4].map(|count| after[count] - before[count]);
    println!("{enters} enters, {sleeps} sleeps, {completions} completions");
    // There are two a round trip, of which one could, rarely, be noticed with the other.
    assert!(completions >= MESSAGES, "{completions} completions");
    assert!(completions <= 8 * MESSAGES, "{completions} completions");
    assert!(0 < sleeps && sleeps <= enters, "{sleeps} of {enters}");
    assert_eq!((overflows, rearms), (0, 0));
    for ring in cells.rings.iter() {
        // A core without connections, too.
        assert!(ring.sleeps.get() > 0, "{cells:?}");
    }

    let before = counts();
    elapse(&stage, 2 * Real::<Counted<EPOLL>>::LULL);
    assert_eq!(counts(), before);
}

fn pass(stage: &impl Stage, from: &RealPeer, to: &RealPeer) {
    assert_eq!(from.send(b"message").expect("it goes on"), 7);
    let mut arrived = 0;
    wait(stage, "the message comes", || {
        if let Received::Bytes(count) = to.receive(&mut [0; 7]) {
            arrived += count;
        }
        (arrived == 7).then_some(())
    });
}

#[test]
fn glommio() {
    conformance::run::<Real<Counted<false>>>(messages_are_counted_and_rest_is_not::<false>);
}

#[test]
fn glommio_epoll() {
    conformance::run::<Real<Counted<true>>>(messages_are_counted_and_rest_is_not::<true>);
}
