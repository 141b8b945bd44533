//! Candidate (a): edge-triggered epoll, and plain recv and send.

use std::io;
use std::net::SocketAddr;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::readiness::{Edge, Pair, SCRATCH_BYTES};
use crate::service::Service;
use crate::socket;

/// Events fetched at once.
const EVENTS_MAX: usize = 256;
/// The listener's token; side `s` of pair `i` is `2 i + s + 1`.
const LISTENER: u64 = 0;
/// What sockets are watched for.
const EDGES: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// Relays until the process is killed.
pub(crate) fn run(Service { listen, upstream }: Service) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let listener = socket::listener(listen)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut vacant: Vec<usize> = Vec::new();
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let token = event.data.u64();
            if token == LISTENER {
                accept(&epoll, &listener, upstream, &mut pairs, &mut vacant)?;
                continue;
            }
            let (index, side) = ((token as usize - 1) / 2, (token as usize - 1) % 2);
            // The other side's event, fetched together with this one, may have ended the pair.
            let Some(pair) = &mut pairs[index] else {
                continue;
            };
            let flags = event.flags;
            let hangup = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
            let read = hangup || flags.contains(EventFlags::IN);
            let edge = Edge {
                read,
                write: flags.contains(EventFlags::OUT),
                hangup,
            };
            if pair.on_edge(side, edge, &mut scratch) {
                pairs[index] = None;
                vacant.push(index);
            }
        }
    }
}

fn accept(
    epoll: &OwnedFd,
    listener: &OwnedFd,
    upstream: SocketAddr,
    pairs: &mut Vec<Option<Pair>>,
    vacant: &mut Vec<usize>,
) -> io::Result<()> {
    while let Some(client) = socket::accept(listener)? {
        let pair = Pair::new(client, socket::connecting(upstream)?);
        let index = vacant.pop().unwrap_or_else(|| {
            pairs.push(None);
            pairs.len() - 1
        });
        for side in 0..2 {
            epoll::add(
                epoll,
                pair.socket(side),
                EventData::new_u64((2 * index + side + 1) as u64),
                EDGES,
            )?;
        }
        pairs[index] = Some(pair);
    }
    Ok(())
}
