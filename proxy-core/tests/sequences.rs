//! Whatever two sides do, in whatever order, and whatever the kernel makes of it: bytes stay in order, and the
//! connection ends for the right reason.

use std::time::Duration;

use conformance::{
    Peer, Received, Scripted, ScriptedPeer, Setup, Stage, elapse, fill, first_difference, settle,
};
use proptest::prelude::*;
use proxy_core::STALL_CHECK_INTERVAL;
use proxy_core::metrics::Cause;

#[derive(Clone, Copy, Debug)]
enum Operation {
    /// A side sends.
    Send(usize, usize),
    /// A side receives at most so many bytes.
    Receive(usize, usize),
    /// A side ends its stream.
    End(usize),
    /// A side resets the connection.
    Reset(usize),
    /// A side closes its socket, perhaps with bytes unread.
    Close(usize),
    /// The proxy does so many things.
    Step(usize),
    /// Time passes.
    Elapse(u64),
}

/// Operations of a connection that neither side cuts.
fn orderly() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..2usize, sizes()).prop_map(|(side, count)| Operation::Send(side, count)),
        4 => (0..2usize, sizes()).prop_map(|(side, count)| Operation::Receive(side, count)),
        6 => (0..20usize).prop_map(Operation::Step),
        1 => (0..3000u64).prop_map(Operation::Elapse),
        1 => (0..2usize).prop_map(Operation::End),
    ]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        20 => orderly(),
        1 => (0..2usize).prop_map(Operation::Reset),
        1 => (0..2usize).prop_map(Operation::Close),
    ]
}

/// One byte, a few, more than the room of a connection, more than the proxy's buffer.
fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![1..10usize, 1..5_000usize, 1..200_000usize]
}

/// The client, or the server.
struct Side {
    peer: Option<ScriptedPeer>,
    seed: u64,
    sent: u64,
    has_ended: bool,
    /// It reset, or closed before everything was over.
    has_left: bool,
    /// What it has got of the other side's stream.
    received: u64,
    got_end: bool,
    got_reset: bool,
}

impl Side {
    fn new(peer: ScriptedPeer, seed: u64) -> Self {
        Self {
            peer: Some(peer),
            seed,
            sent: 0,
            has_ended: false,
            has_left: false,
            received: 0,
            got_end: false,
            got_reset: false,
        }
    }

    fn send(&mut self, count: usize) {
        let Some(peer) = self.peer.as_ref().filter(|_| !self.has_ended) else {
            return;
        };
        let mut bytes = vec![0; count];
        fill(self.seed, self.sent, &mut bytes);
        match peer.send(&bytes) {
            Ok(count) => self.sent += count as u64,
            // It is said once; what still lies there to be received is of no use to this test.
            Err(_) => self.got_reset = true,
        }
    }

    /// False when nothing came.
    fn receive(&mut self, most: usize, other: (u64, u64, bool)) -> bool {
        let Some(peer) = self
            .peer
            .as_ref()
            .filter(|_| !self.got_end && !self.got_reset)
        else {
            return false;
        };
        let (seed, sent, has_ended) = other;
        let mut bytes = vec![0; most];
        match peer.receive(&mut bytes) {
            Received::Nothing => return false,
            Received::Bytes(count) => {
                let wrong = first_difference(seed, self.received, &bytes[..count]);
                assert_eq!(wrong, None, "the byte at this position is wrong");
                self.received += count as u64;
                assert!(self.received <= sent, "more came than was sent");
            }
            Received::End => {
                assert!(has_ended, "an end that nobody sent");
                assert_eq!(self.received, sent, "the end came before the last byte");
                self.got_end = true;
            }
            Received::Reset => self.got_reset = true,
        }
        true
    }

    fn end(&mut self) {
        if let Some(peer) = &self.peer
            && !std::mem::replace(&mut self.has_ended, true)
        {
            peer.shutdown_write();
        }
    }

    fn leave(&mut self, by_reset: bool) {
        if let Some(peer) = self.peer.take() {
            self.has_left = true;
            // Closing ends the stream, unless bytes are unread.
            self.has_ended |= !by_reset;
            if by_reset {
                peer.reset();
            }
        }
    }

    /// What the other side compares with.
    fn stream(&self) -> (u64, u64, bool) {
        (self.seed, self.sent, self.has_ended)
    }
}

/// Plays the operations, and then lets both sides receive everything and end.
fn play(operations: &[Operation], mischief: u64, room: usize) {
    let stage = Scripted::start_with(Setup::default(), mischief, room);
    let (client, server) = stage.pair();
    // A server that is gone before the proxy has seen its connect done is a failed connect.
    while stage.step() {}
    let sides = &mut [Side::new(client, 1), Side::new(server, 2)];
    for &operation in operations {
        match operation {
            Operation::Send(side, count) => sides[side].send(count),
            Operation::Receive(side, most) => {
                let other = sides[1 - side].stream();
                sides[side].receive(most, other);
            }
            Operation::End(side) => sides[side].end(),
            Operation::Reset(side) => sides[side].leave(true),
            Operation::Close(side) => sides[side].leave(false),
            Operation::Step(count) => {
                for _ in 0..count {
                    stage.step();
                }
            }
            Operation::Elapse(millis) => elapse(&stage, Duration::from_millis(millis)),
        }
    }
    for side in &mut *sides {
        side.end();
    }
    let mut quiet = 0;
    // Bytes move without time passing; a reset behind a stalled side takes an interval to be found.
    while quiet < 3 {
        let streams = [sides[1].stream(), sides[0].stream()];
        let moved = sides[0].receive(100_000, streams[0]) | sides[1].receive(100_000, streams[1]);
        if moved || stage.pass(stage.now()) {
            quiet = 0;
        } else {
            quiet += 1;
            elapse(&stage, STALL_CHECK_INTERVAL);
        }
    }
    check(&stage, sides);
}

fn check(stage: &Scripted, sides: &[Side; 2]) {
    settle(stage);
    let count = |cause: Cause| {
        stage
            .listener()
            .cells
            .sum(|cells| cells.ended[cause as usize].get())
    };
    let causes: Vec<_> = Cause::ALL
        .into_iter()
        .filter(|&cause| count(cause) > 0)
        .collect();
    let [cause] = causes[..] else {
        panic!("one connection ended by {causes:?}");
    };
    match cause {
        Cause::Finished => {}
        Cause::ClientReset => assert!(sides[0].has_left),
        Cause::ServerReset => assert!(sides[1].has_left),
        other => panic!("{other:?}, where nothing failed"),
    }
    for (side, other) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
        if side.has_left {
            continue;
        }
        if !other.has_left {
            assert_eq!(side.received, other.sent, "bytes are missing");
            assert!(side.got_end);
        } else {
            // To a side that has had the whole stream, and has ended its own, there is no more to say.
            let told = side.got_end || side.got_reset;
            assert!(told, "the other side left, and this one waits for ever");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn two_sides_that_end_in_order_get_everything(
        operations in prop::collection::vec(orderly(), 0..60),
        mischief in 0..u64::MAX,
        room in 1..100_000usize,
    ) {
        play(&operations, mischief, room.max(16));
    }

    #[test]
    fn a_side_that_leaves_is_told_of(
        operations in prop::collection::vec(any_operation(), 0..60),
        mischief in 0..u64::MAX,
        room in 1..100_000usize,
    ) {
        play(&operations, mischief, room.max(16));
    }
}
