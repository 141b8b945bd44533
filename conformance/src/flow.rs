//! Bytes from one peer to the other, checked as they arrive.

use std::cell::RefCell;

use crate::pattern;
use crate::stage::{Peer, Received, Stage};

/// Most bytes that are received at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Most bytes that are sent at once, unless a flow says otherwise.
const SEND_BYTES: usize = 32 * 1024;

thread_local! {
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK_BYTES].into());
}

/// One direction of a connection, from a peer to the other.
pub struct Flow<'a, P> {
    source: &'a P,
    sink: &'a P,
    seed: u64,
    length: u64,
    chunk: usize,
    ends: bool,
    shut: bool,
    ended: bool,
    /// Bytes that the source sent.
    pub sent: u64,
    /// Bytes that arrived.
    pub received: u64,
}

impl<'a, P: Peer> Flow<'a, P> {
    /// `length` bytes of the stream `seed`.
    pub fn new(source: &'a P, sink: &'a P, seed: u64, length: u64) -> Self {
        Self {
            source,
            sink,
            seed,
            length,
            chunk: SEND_BYTES,
            ends: false,
            shut: false,
            ended: false,
            sent: 0,
            received: 0,
        }
    }

    /// The source ends its stream after the last byte, and the sink must see it.
    #[must_use]
    pub fn with_end(mut self) -> Self {
        self.ends = true;
        self
    }

    /// At most `chunk` bytes are sent at once.
    #[must_use]
    pub fn with_chunk(mut self, chunk: usize) -> Self {
        self.chunk = chunk.min(SEND_BYTES);
        self
    }

    /// Sends what there is room for. False when that is nothing.
    ///
    /// # Panics
    /// When the source was reset.
    pub fn send(&mut self) -> bool {
        if self.sent == self.length {
            return self.ends && !std::mem::replace(&mut self.shut, true) && {
                self.source.shutdown_write();
                true
            };
        }
        let sent = CHUNK.with_borrow_mut(|chunk| {
            let room = (self.length - self.sent).min(self.chunk as u64) as usize;
            pattern::fill(self.seed, self.sent, &mut chunk[..room]);
            self.source.send(&chunk[..room])
        });
        let sent = sent.unwrap_or_else(|error| panic!("sending byte {}: {error}", self.sent));
        self.sent += sent as u64;
        sent > 0
    }

    /// Receives what is there. False when that is nothing.
    ///
    /// # Panics
    /// When it is not what was sent.
    pub fn receive(&mut self) -> bool {
        if self.is_done() {
            return false;
        }
        CHUNK.with_borrow_mut(|chunk| match self.sink.receive(chunk) {
            Received::Bytes(count) => {
                let wrong = pattern::first_difference(self.seed, self.received, &chunk[..count]);
                assert_eq!(wrong, None, "the byte at this position is wrong");
                self.received += count as u64;
                assert!(self.received <= self.sent, "more arrived than was sent");
                true
            }
            Received::Nothing => false,
            Received::End => {
                assert!(
                    self.shut,
                    "the stream ended at byte {} by itself",
                    self.received
                );
                assert_eq!(
                    self.received, self.length,
                    "the end came before the last byte"
                );
                self.ended = true;
                true
            }
            Received::Reset => panic!("reset after byte {} of {}", self.received, self.length),
        })
    }

    /// Bytes that were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether everything has arrived.
    pub fn is_done(&self) -> bool {
        self.received == self.length && (self.ended || !self.ends)
    }
}

/// Sends and receives until every flow is done.
///
/// # Panics
/// When nothing moves for [`Stage::PATIENCE`], or what arrives is not what was sent.
pub fn pump<S: Stage>(stage: &S, flows: &mut [Flow<'_, S::Peer>]) {
    let mut until = stage.now() + S::PATIENCE;
    loop {
        let mut moved = false;
        for flow in &mut *flows {
            moved |= flow.send() | flow.receive();
        }
        if flows.iter().all(Flow::is_done) {
            return;
        }
        if moved {
            until = stage.now() + S::PATIENCE;
        } else if !stage.pass(until) {
            let counts: Vec<_> = flows
                .iter()
                .map(|flow| (flow.sent, flow.received))
                .collect();
            panic!("nothing moves any more; sent and received: {counts:?}");
        }
    }
}

/// Sends, without receiving, until nothing more is taken.
pub fn push_until_stuck<S: Stage>(stage: &S, flow: &mut Flow<'_, S::Peer>) {
    let mut until = stage.now() + S::LULL;
    while flow.sent < flow.length {
        if flow.send() {
            until = stage.now() + S::LULL;
        } else if !stage.pass(until) && !flow.send() {
            return;
        }
    }
}
