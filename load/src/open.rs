//! Opening the flows, one after the other, with the heavy ones where they are wanted.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::fd::OwnedFd;

use crate::workload::Workload;

/// Connections opened in the search for one heavy flow's place, at most, for each worker.
const CANDIDATES_MAX: usize = 4;

/// How long a proxy may take to answer the first byte of a connection.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// A proxy whose cores accept for themselves.
#[derive(Clone, Copy)]
pub struct FirstCore<'a> {
    /// Workers that it has.
    pub workers: usize,
    /// How many connections the first of them has begun with.
    pub begun: &'a dyn Fn() -> u64,
}

/// Connections that were answered, with the address that each went to.
#[derive(Default)]
pub(crate) struct Opened {
    pub(crate) heavy: Vec<(OwnedFd, SocketAddr)>,
    pub(crate) light: Vec<(OwnedFd, SocketAddr)>,
}

/// Opens all flows of `workload`.
pub(crate) fn open(
    proxy: &[SocketAddr],
    workload: &Workload,
    first_core: Option<FirstCore<'_>>,
) -> io::Result<Opened> {
    let (heavy, light) = (workload.heavy.count, workload.light.count);
    let first_core = first_core.filter(|_| workload.heavy_on_one_core);
    let workers = first_core.map_or(0, |core| core.workers);
    let mut candidates_left = heavy * workers * CANDIDATES_MAX;
    let mut opened = Opened::default();
    for address in proxy.iter().copied().cycle() {
        let wanted = heavy - opened.heavy.len();
        if wanted == 0 && opened.light.len() >= light {
            break;
        }
        let begun = || first_core.map_or(0, |core| (core.begun)());
        let before = begun();
        let stream = connect(address)?;
        let is_on_first = begun() > before;
        if wanted > 0 && (first_core.is_none() || is_on_first || candidates_left <= wanted) {
            opened.heavy.push((stream.into(), address));
        } else if opened.light.len() < light {
            opened.light.push((stream.into(), address));
        }
        // What is neither is closed.
        candidates_left = candidates_left.saturating_sub(1);
    }
    Ok(opened)
}

/// An answer means that a worker has taken the connection, and counted it.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.write_all(&[0])?;
    stream.read_exact(&mut [0])?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
