//! The client of a connection whose server has not answered.

use std::task::{Context, Poll};
use std::time::Instant;

use crate::connection::connect::{CLIENT_CHECK_INTERVAL, Connect};
use crate::runtime::{Attempt, Interest, Runtime, Socket};
use crate::transport::Transport;

/// What became of the client while its server has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Waits,
    /// It is gone, and nothing is left to be done for it.
    Gone,
}

impl<R: Runtime> Connect<R> {
    /// Looks at the client if that is due.
    ///
    /// A client that was reset is gone, unless it had said something: that is delivered. One that ended its stream without
    /// a byte is gone, too: it has nothing to ask, and in all likelihood it has closed.
    pub(crate) fn check_client<T: Transport>(&mut self, client: &T, now: Instant) -> Client {
        if now < self.client_check_at || self.client_lost.is_some() {
            return Client::Waits;
        }
        self.client_check_at = now + CLIENT_CHECK_INTERVAL;
        let reset = client.take_error().err();
        let has_spoken = self.has_spoken();
        match client.peek() {
            Ok(Attempt::Done(_)) => {
                self.client_lost = reset;
                Client::Waits
            }
            Ok(_) if has_spoken => {
                self.client_lost = reset;
                Client::Waits
            }
            Err(error) if has_spoken => {
                self.client_lost = Some(error);
                Client::Waits
            }
            Ok(Attempt::Blocked) if reset.is_none() => Client::Waits,
            Ok(Attempt::Blocked | Attempt::Drained(_)) | Err(_) => Client::Gone,
        }
    }

    /// Has a connection that waits for a place run when its client goes away, without a timer. One that says something first is
    /// served, whatever becomes of it.
    pub(crate) fn watch_client(
        &mut self,
        cx: &mut Context<'_>,
        client: &impl Socket<Transport: Transport>,
    ) -> Client {
        let has_spoken = self.has_spoken() || self.client_lost.is_some();
        let Some(queued) = self.queued.as_mut().filter(|queued| !queued.has_heard) else {
            return Client::Waits;
        };
        if has_spoken {
            return Client::Waits;
        }
        match client.poll_io(cx, Interest::Read, Transport::peek) {
            Poll::Pending => Client::Waits,
            Poll::Ready(Ok(count)) if count > 0 => {
                queued.has_heard = true;
                Client::Waits
            }
            Poll::Ready(_) => Client::Gone,
        }
    }
}
