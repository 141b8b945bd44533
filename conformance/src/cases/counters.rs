//! What cases look at.

use std::time::Duration;

use proxy_core::metrics::{Cause, ConnectFailure, Rejection, ServerCells};

use crate::stage::{Peer, Received, Stage};
use crate::wait::{wait, wait_within};

/// The proxy's counters, over all workers.
pub(crate) struct Counts<'a, S>(pub(crate) &'a S);

impl<S: Stage> Counts<'_, S> {
    pub(crate) fn accepted(&self) -> u64 {
        self.0.listener().cells.sum(|cells| cells.accepted.get())
    }

    pub(crate) fn ended(&self, cause: Cause) -> u64 {
        let cells = &self.0.listener().cells;
        cells.sum(|cells| cells.ended[cause as usize].get())
    }

    pub(crate) fn rejected(&self, rejection: Rejection) -> u64 {
        let cells = &self.0.listener().cells;
        cells.sum(|cells| cells.rejected[rejection as usize].get())
    }

    pub(crate) fn failures(&self, server: usize, failure: ConnectFailure) -> u64 {
        let cells = &self.0.pool().server(server).cells;
        cells.sum(|cells| cells.failures[failure as usize].get())
    }

    pub(crate) fn retries(&self) -> u64 {
        let cells = &self.0.pool().upstream().cells;
        cells.sum(|cells| cells.retries.get())
    }

    pub(crate) fn retries_refused(&self) -> u64 {
        let cells = &self.0.pool().upstream().cells;
        cells.sum(|cells| cells.retries_refused.get())
    }

    /// Bytes from clients, and bytes to them.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let cells = &self.0.listener().cells;
        let servers = |read: fn(&ServerCells) -> u64| {
            let servers = self.0.pool().servers();
            servers.map(|server| server.cells.sum(read)).sum::<u64>()
        };
        // A worker counts them a moment after the listener's, and more may come meanwhile.
        wait(self.0, "the servers' bytes are the listener's", || {
            let bytes = (
                cells.sum(|cells| cells.bytes_in.get()),
                cells.sum(|cells| cells.bytes_out.get()),
            );
            let by_server = (
                servers(|cells| cells.bytes_in.get()),
                servers(|cells| cells.bytes_out.get()),
            );
            (by_server == bytes).then_some(bytes)
        })
    }

    /// Waits until so many connections ended by `cause`, and checks that none ended by another.
    pub(crate) fn expect_ended(&self, cause: Cause, count: u64) {
        let ended = || Cause::ALL.map(|cause| (cause.label(), self.ended(cause)));
        wait(self.0, "the connections end", || {
            let total: u64 = ended().iter().map(|(_, count)| count).sum();
            (total >= count).then_some(())
        });
        let others = |&(label, ended): &(&str, u64)| label != cause.label() && ended > 0;
        let others: Vec<_> = ended().into_iter().filter(others).collect();
        assert!(others.is_empty(), "{cause:?} was expected, not {others:?}");
        assert_eq!(self.ended(cause), count, "{cause:?}");
    }
}

/// Waits for the orderly end of the stream, before which no byte must come.
pub(crate) fn expect_end<S: Stage>(stage: &S, peer: &S::Peer) {
    let received = wait(stage, "the end of the stream", || next(peer));
    assert_eq!(received, Received::End);
}

/// What the proxy may wait for acknowledgements before it passes a reset on.
pub(crate) const ACKNOWLEDGEMENT: Duration = Duration::from_secs(2);

/// Waits for a reset, and passes over bytes that come before it.
pub(crate) fn expect_reset<S: Stage>(stage: &S, peer: &S::Peer) {
    expect_reset_within(stage, S::PATIENCE + ACKNOWLEDGEMENT, peer);
}

pub(crate) fn expect_reset_within<S: Stage>(stage: &S, limit: Duration, peer: &S::Peer) {
    let mut chunk = [0; 4096];
    let last = wait_within(stage, limit, "a reset", || {
        loop {
            match peer.receive(&mut chunk) {
                Received::Bytes(_) => {}
                Received::Nothing => return None,
                last => return Some(last),
            }
        }
    });
    assert_eq!(last, Received::Reset);
}

fn next<P: Peer>(peer: &P) -> Option<Received> {
    match peer.receive(&mut [0; 16]) {
        Received::Nothing => None,
        received => Some(received),
    }
}
