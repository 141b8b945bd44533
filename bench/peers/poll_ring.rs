//! Candidate (b): edges from multishot `POLL_ADD` in an `io_uring` of our own, and plain recv and send.

use std::io;
use std::net::SocketAddr;

use io_uring::cqueue;
use rustix::fd::OwnedFd;

use crate::readiness::{Edge, Pair, SCRATCH_BYTES};
use crate::service::Service;
use crate::socket;
use crate::sys::Ring;

/// The listener's token; side `s` of pair `i` is `2 i + s + 2`.
const LISTENER: u64 = 0;
/// The token of removals.
const REMOVAL: u64 = 1;
/// What sockets are watched for.
const EDGES: u32 = (libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP) as u32;
/// What says that reading comes to an end.
const HANGUPS: i32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as i32;

/// A pair, and how many of its polls the ring still has: its tokens mean it until there are none.
struct Slot {
    pair: Option<Pair>,
    polls: u8,
}

/// Relays until the process is killed.
pub(crate) fn run(Service { listen, upstream }: Service) -> io::Result<()> {
    let mut ring = Ring::new()?;
    let listener = socket::listener(listen)?;
    ring.poll(&listener, libc::POLLIN as u32, LISTENER)?;
    let mut slots: Vec<Slot> = Vec::new();
    let mut vacant: Vec<usize> = Vec::new();
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut completions = Vec::new();
    loop {
        ring.wait()?;
        ring.take(&mut completions);
        for completion in completions.drain(..) {
            let token = completion.user_data();
            let armed = cqueue::more(completion.flags());
            if token == LISTENER {
                accept(&mut ring, &listener, upstream, &mut slots, &mut vacant)?;
                if !armed {
                    ring.poll(&listener, libc::POLLIN as u32, LISTENER)?;
                }
                continue;
            }
            // Only a removal that found nothing completes, and then there was nothing to remove.
            let Some(number) = token.checked_sub(REMOVAL + 1) else {
                continue;
            };
            let (index, side) = (number as usize / 2, number as usize % 2);
            let slot = &mut slots[index];
            slot.polls -= u8::from(!armed);
            let Some(pair) = &mut slot.pair else {
                if slot.polls == 0 {
                    vacant.push(index);
                }
                continue;
            };
            let events = completion.result();
            let hangup = events < 0 || events & HANGUPS != 0;
            let read = hangup || events & i32::from(libc::POLLIN) != 0;
            let edge = Edge {
                read,
                write: events & i32::from(libc::POLLOUT) != 0,
                hangup,
            };
            if pair.on_edge(side, edge, &mut scratch) {
                // The ring holds the files open until their polls are gone.
                ring.remove_poll(token_of(index, 0), REMOVAL)?;
                ring.remove_poll(token_of(index, 1), REMOVAL)?;
                slot.pair = None;
                if slot.polls == 0 {
                    vacant.push(index);
                }
            } else if !armed {
                // The completion queue was full: the edge may be gone, a new poll tells it again.
                ring.poll(pair.socket(side), EDGES, token)?;
                slot.polls += 1;
            }
        }
    }
}

fn accept(
    ring: &mut Ring,
    listener: &OwnedFd,
    upstream: SocketAddr,
    slots: &mut Vec<Slot>,
    vacant: &mut Vec<usize>,
) -> io::Result<()> {
    while let Some(client) = socket::accept(listener)? {
        let pair = Pair::new(client, socket::connecting(upstream)?);
        let index = vacant.pop().unwrap_or_else(|| {
            slots.push(Slot {
                pair: None,
                polls: 0,
            });
            slots.len() - 1
        });
        for side in 0..2 {
            ring.poll(pair.socket(side), EDGES, token_of(index, side))?;
        }
        slots[index] = Slot {
            pair: Some(pair),
            polls: 2,
        };
    }
    Ok(())
}

fn token_of(index: usize, side: usize) -> u64 {
    (2 * index + side) as u64 + REMOVAL + 1
}
