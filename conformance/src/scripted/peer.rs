//! A client's or a server's end.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use proxy_core::runtime::Attempt;

use super::end::EndId;
use super::kernel::Kernel;
use crate::stage::{Flood, Peer, Received};

/// The far end of one of the proxy's connections, in memory.
#[derive(Debug)]
pub struct ScriptedPeer {
    pub(super) kernel: Rc<RefCell<Kernel>>,
    pub(super) end: EndId,
}

impl Peer for ScriptedPeer {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match self.kernel.borrow_mut().send(self.end, bytes)? {
            Attempt::Done(count) | Attempt::Drained(count) => Ok(count),
            Attempt::Blocked => Ok(0),
        }
    }

    fn send_mark(&self) {
        self.kernel.borrow_mut().send_mark(self.end);
    }

    fn receive(&self, buffer: &mut [u8]) -> Received {
        match self.kernel.borrow_mut().receive(self.end, buffer) {
            Ok(Attempt::Done(count @ 1..) | Attempt::Drained(count @ 1..)) => {
                Received::Bytes(count)
            }
            Ok(Attempt::Blocked) => Received::Nothing,
            Ok(_) => Received::End,
            Err(_) => Received::Reset,
        }
    }

    fn unacknowledged(&self) -> usize {
        // They lie in the proxy's inbox at once. Who has heard so has nothing left that a reset would throw away.
        self.kernel.borrow_mut().end(self.end).acknowledged = true;
        0
    }

    fn shutdown_write(&self) {
        // It fails when the connection was reset, which the next receive tells.
        let _ = self.kernel.borrow_mut().shutdown_write(self.end);
    }

    fn is_reset(&self) -> bool {
        self.kernel.borrow_mut().end(self.end).error.is_some()
    }

    fn reset(self) {
        self.kernel.borrow_mut().end(self.end).resets_on_close = true;
    }
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        self.kernel.borrow_mut().close(self.end);
    }
}

/// A source that always has bytes and a sink that always takes them.
#[derive(Debug)]
pub struct ScriptedFlood {
    pub(super) listener: std::sync::Arc<proxy_core::Listener>,
    pub(super) _ends: [ScriptedPeer; 2],
}

impl Flood for ScriptedFlood {
    fn bytes(&self) -> u64 {
        let cells = &self.listener.cells;
        cells.sum(|cells| cells.bytes_in.get() + cells.bytes_out.get())
    }
}
