//! Connects that fail, and of which side that tells.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;

use crate::connection::connect::Connect;
use crate::connection::origin::ClientAddress;
use crate::runtime::Runtime;
use crate::upstream::addresses::Walk;
use crate::upstream::outage::Fault;
use crate::upstream::pool::Pool;
use crate::worker::Worker;

/// Why a connect failed.
#[derive(Clone, Copy)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    /// It says nothing of the server.
    pub(super) is_ours: bool,
}

/// Whether a connect failed because this process has no descriptor or memory to spare.
pub(super) fn is_ours(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}

impl<R: Runtime> Connect<R> {
    /// Counts a failure at an address of a server's.
    pub(super) fn note_failure(
        &mut self,
        worker: &Worker,
        pool: &Pool,
        (place, walk, spot): (usize, &Walk, usize),
        (error, fault, is_ours): (&io::Error, Fault, bool),
    ) -> Refusal {
        self.attempts.on_failure(fault.reason);
        let server = pool.server(place);
        let cells = server.cells.of(worker.slot());
        cells.failures[fault.reason as usize].increment();
        tracing::debug!(
            upstream = pool.upstream().name,
            server = server.label,
            %error,
            "connect failed"
        );
        if !is_ours {
            walk.on_failure_at(spot, worker.now);
        }
        Refusal { fault, is_ours }
    }
}

/// Clients whose addresses no server can be connected to from: the log has each power of two of them.
static UNSUITED: AtomicU64 = AtomicU64::new(0);

/// Why a server is not connected to for a client by its address. It says nothing of the server.
#[cold]
pub(super) fn unsuited(pool: &Pool, client: ClientAddress) -> io::Error {
    let connects = UNSUITED.fetch_add(1, Relaxed) + 1;
    if connects.is_power_of_two() {
        tracing::warn!(
            upstream = pool.upstream().name,
            %client,
            connects,
            "a server can't be connected to from this client's address, as source_address = \"client\" says: it is of another family, or \
             nobody's"
        );
    }
    io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "the client's address can't be connected from",
    )
}
