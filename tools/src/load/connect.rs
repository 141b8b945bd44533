//! Opening the flows, one after the other, with the heavy ones where they are wanted.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Workload;
use crate::host::Proxy;

/// Connections opened in the search for one heavy flow's place, at most, for each worker.
const CANDIDATES_MAX: usize = 4;

/// How long a proxy may take to answer the first byte of a connection.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Connections that were answered, with the address that each went to.
#[derive(Default)]
pub(super) struct Connected {
    pub(super) heavy: Vec<(TcpStream, SocketAddr)>,
    pub(super) light: Vec<(TcpStream, SocketAddr)>,
}

/// Opens all flows of `workload`.
pub(super) fn connect(proxy: &Proxy, workload: &Workload) -> io::Result<Connected> {
    let (heavy, light) = (workload.heavy.count, workload.light.count);
    let anywhere = !workload.heavy_on_one_core || !proxy.has_places;
    let mut candidates_left = heavy * proxy.threads.len() * CANDIDATES_MAX;
    let mut connected = Connected::default();
    let addresses = proxy.addresses.iter().copied().cycle();
    for address in addresses {
        let wanted = heavy - connected.heavy.len();
        if wanted == 0 && connected.light.len() >= light {
            break;
        }
        let before = (proxy.begun_on_first)();
        let stream = open(address)?;
        let first_core = (proxy.begun_on_first)() > before;
        if wanted > 0 && (anywhere || first_core || candidates_left <= wanted) {
            connected.heavy.push((stream, address));
        } else if connected.light.len() < light {
            connected.light.push((stream, address));
        }
        // What is neither is closed.
        candidates_left = candidates_left.saturating_sub(1);
    }
    Ok(connected)
}

/// An answer means that a worker has taken the connection, and counted it.
fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.write_all(&[0])?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}
