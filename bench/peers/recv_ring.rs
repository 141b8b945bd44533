//! Candidate (c): the ring itself receives, into buffers that it chooses, and sends.
//!
//! All connections share the buffers, apart for each direction, or a server that echoes could wait for ever for
//! room that its own input holds. A receiver that stops reading keeps the buffers that wait for it, and in the
//! end everyone's: a product would have to bound that by connection, here nothing does.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use io_uring::cqueue;
use rustix::fd::OwnedFd;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{Shutdown, shutdown};

use crate::pool::{Chunk, Ledger};
use crate::readiness::send_some;
use crate::service::Service;
use crate::socket;
use crate::sys::{Pool, Ring, accepted};

/// What the variants of the relay differ in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// A buffer serves several receives, one after another in it.
    pub(crate) incremental: bool,
    /// Every send is the ring's; else only what a send call had no room for.
    pub(crate) ring_sends: bool,
}

/// Plain buffers of a direction: one for each message under way in the largest workload.
const PLAIN: (u16, u32) = (1024, 16 * 1024);
/// Incremental buffers of a direction: together they fit a core's cache.
const INCREMENTAL: (u16, u32) = (8, 64 * 1024);
/// The listener's token; operation `o` of side `s` of pair `i` is `4 i + 2 o + s + 1`.
const LISTENER: u64 = 0;

/// What a completion is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Recv = 0,
    Send = 1,
}

/// Bytes on their way from one side to the other.
#[derive(Default)]
struct Direction {
    /// Received and unsent, in order; the first is being sent if `sending`.
    chunks: VecDeque<Chunk>,
    sending: bool,
    receiving: bool,
    /// The source has sent its last.
    ended: bool,
}

struct Pair {
    sockets: [OwnedFd; 2],
    /// From side 0, from side 1.
    directions: [Direction; 2],
    failed: bool,
}

struct Relay {
    ring: Ring,
    /// The buffers for what comes from each side, and what is in them.
    pools: [Pool; 2],
    ledgers: [Ledger; 2],
    settings: Settings,
    pairs: Vec<Option<Pair>>,
    vacant: Vec<usize>,
    /// Directions whose recv ended as no buffer was left.
    starved: Vec<(usize, usize)>,
}

/// Relays until the process is killed.
pub(crate) fn run(Service { listen, upstream }: Service, settings: Settings) -> io::Result<()> {
    let ring = Ring::new()?;
    let buffers = if settings.incremental {
        INCREMENTAL
    } else {
        PLAIN
    };
    let pool = |side| Pool::new(&ring, side, buffers, settings.incremental);
    let pools = [pool(0)?, pool(1)?];
    let ledgers = [Ledger::new(&pools[0]), Ledger::new(&pools[1])];
    let (pairs, vacant, starved) = (Vec::new(), Vec::new(), Vec::new());
    let mut relay = Relay {
        ring,
        pools,
        ledgers,
        settings,
        pairs,
        vacant,
        starved,
    };
    let listener = socket::listener(listen)?;
    relay.ring.accept(&listener, LISTENER)?;
    let mut completions = Vec::new();
    loop {
        relay.ring.wait()?;
        relay.ring.take(&mut completions);
        for completion in completions.drain(..) {
            let (token, result, flags) = (
                completion.user_data(),
                completion.result(),
                completion.flags(),
            );
            if token == LISTENER {
                relay.on_accept(result, upstream)?;
                if !cqueue::more(flags) {
                    relay.ring.accept(&listener, LISTENER)?;
                }
                continue;
            }
            let number = token as usize - 1;
            let (index, side) = (number / 4, number % 2);
            if number & 2 == 0 {
                relay.on_recv(index, side, result, flags)?;
            } else {
                relay.on_send(index, side, result)?;
            }
            relay.close_if_done(index)?;
        }
    }
}

impl Relay {
    fn on_accept(&mut self, result: i32, upstream: SocketAddr) -> io::Result<()> {
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        let client = accepted(result);
        set_tcp_nodelay(&client, true)?;
        let sockets = [client, socket::connecting(upstream)?];
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            self.pairs.len() - 1
        });
        self.pairs[index] = Some(Pair {
            sockets,
            directions: Default::default(),
            failed: false,
        });
        self.receive(index, 0)?;
        self.receive(index, 1)
    }

    /// Begins to receive from a side.
    fn receive(&mut self, index: usize, side: usize) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        let direction = &mut pair.directions[side];
        if !direction.receiving && !direction.ended && !pair.failed {
            direction.receiving = true;
            self.ring.recv(
                &pair.sockets[side],
                &self.pools[side],
                token_of(index, Operation::Recv, side),
            )?;
        }
        Ok(())
    }

    fn on_recv(&mut self, index: usize, side: usize, result: i32, flags: u32) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        let direction = &mut pair.directions[side];
        direction.receiving = cqueue::more(flags);
        match result {
            0 => {
                direction.ended = true;
                if direction.chunks.is_empty() {
                    finish(pair, side);
                }
                return Ok(());
            }
            1.. => {
                let buffer = cqueue::buffer_select(flags).expect("received bytes are in a buffer");
                let more = self.settings.incremental && cqueue::buffer_more(flags);
                let chunk = self.ledgers[side].receive(buffer, result.unsigned_abs(), more);
                direction.chunks.push_back(chunk);
                if !direction.sending {
                    self.send(index, side)?;
                }
            }
            // Where buffers went back since the kernel found none, it is simply asked again.
            _ if -result == libc::ENOBUFS && self.ledgers[side].exhausted() => {
                self.starved.push((index, side));
                return Ok(());
            }
            _ if -result == libc::ENOBUFS => {}
            _ => fail(pair),
        }
        self.receive(index, side)
    }

    /// Begins to send the first chunk that came from a side.
    fn send(&mut self, index: usize, side: usize) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        let target = &pair.sockets[1 - side];
        let direction = &mut pair.directions[side];
        let mut freed = false;
        if !self.settings.ring_sends {
            while let Some(chunk) = direction.chunks.front_mut() {
                let bytes = self.pools[side].bytes(chunk.buffer, chunk.offset, chunk.len);
                let Ok(sent) = send_some(target, bytes) else {
                    break;
                };
                if sent < bytes.len() {
                    chunk.offset += sent as u32;
                    chunk.len -= sent as u32;
                    break;
                }
                freed |= self.ledgers[side].release(*chunk, &mut self.pools[side]);
                direction.chunks.pop_front();
            }
        }
        if let Some(&Chunk {
            buffer,
            offset,
            len,
        }) = direction.chunks.front()
        {
            direction.sending = true;
            let token = token_of(index, Operation::Send, side);
            self.ring
                .send(target, &self.pools[side], (buffer, offset, len), token)?;
        }
        if freed { self.feed() } else { Ok(()) }
    }

    fn on_send(&mut self, index: usize, side: usize, result: i32) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        let direction = &mut pair.directions[side];
        direction.sending = false;
        let chunk = direction.chunks.pop_front().expect("what was being sent");
        let freed = self.ledgers[side].release(chunk, &mut self.pools[side]);
        let (last, ended) = (direction.chunks.is_empty(), direction.ended);
        if result != chunk.len as i32 {
            // An error, or the socket was closed half-way.
            fail(pair);
        } else if !pair.failed && last && ended {
            finish(pair, side);
        } else if !pair.failed && !last {
            self.send(index, side)?;
        }
        if freed { self.feed() } else { Ok(()) }
    }

    /// Lets those receive again that had no buffer.
    fn feed(&mut self) -> io::Result<()> {
        while let Some((index, side)) = self.starved.pop() {
            self.receive(index, side)?;
        }
        Ok(())
    }

    fn close_if_done(&mut self, index: usize) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        let idle = |direction: &Direction| !direction.receiving && !direction.sending;
        let done =
            |direction: &Direction| pair.failed || direction.ended && direction.chunks.is_empty();
        if pair
            .directions
            .iter()
            .all(|direction| idle(direction) && done(direction))
        {
            for (side, direction) in pair.directions.iter_mut().enumerate() {
                for chunk in direction.chunks.drain(..) {
                    self.ledgers[side].release(chunk, &mut self.pools[side]);
                }
            }
            self.pairs[index] = None;
            self.vacant.push(index);
            self.feed()?;
        }
        Ok(())
    }
}

/// Passes on the end of what came from a side.
fn finish(pair: &mut Pair, side: usize) {
    if shutdown(&pair.sockets[1 - side], Shutdown::Write).is_err() {
        fail(pair);
    }
}

/// Ends both sockets' operations; the pair goes when they have completed.
fn fail(pair: &mut Pair) {
    pair.failed = true;
    for socket in &pair.sockets {
        // Not connected any more is what it should be.
        let _ = shutdown(socket, Shutdown::Both);
    }
}

fn token_of(index: usize, operation: Operation, side: usize) -> u64 {
    (4 * index + 2 * operation as usize + side) as u64 + 1
}
