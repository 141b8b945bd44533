//! A server is asked for TLS, in the words of its protocol, before it gets the client's hello. Until it has agreed, it is not
//! connected to: one that doesn't is a failed connect, and nothing of the client's is lost.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::metrics::ConnectFailure;
use crate::prologue::Parsed;
use crate::prologue::starttls::{Bad, Protocol, SERVER_BYTES_MAX, ServerSide};
use crate::runtime::{Interest, Socket};
use crate::transport::Transport;
use crate::upstream::outage::Fault;

/// Bytes of the server's words that are received at a time.
const RECEIVED_AT_A_TIME: usize = 1024;

/// What is spoken with a server between the connect and the first byte of the client.
#[derive(Debug)]
pub(super) struct Asking {
    side: ServerSide,
    /// What the server is told, and how much of it is sent.
    request: Vec<u8>,
    sent: usize,
    /// What it said, which isn't for the client.
    answer: Vec<u8>,
    /// How long the connect took.
    pub(super) connect_took: Duration,
}

impl Asking {
    /// `before` is sent first.
    pub(super) fn new(protocol: Protocol, mut before: Vec<u8>, connect_took: Duration) -> Self {
        let side = ServerSide::new(protocol);
        before.extend_from_slice(side.opening());
        Self {
            side,
            request: before,
            sent: 0,
            answer: Vec::new(),
            connect_took,
        }
    }

    /// Ready once the server takes TLS, or doesn't.
    pub(super) fn poll<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        server: &S,
    ) -> Poll<io::Result<()>> {
        loop {
            while self.sent < self.request.len() {
                let rest = &self.request[self.sent..];
                match server.poll_io(cx, Interest::Write, |transport| transport.send(rest)) {
                    Poll::Ready(Ok(count)) => self.sent += count,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let mut buffer = [0; RECEIVED_AT_A_TIME];
            let room = SERVER_BYTES_MAX - self.answer.len();
            let buffer = &mut buffer[..room.min(RECEIVED_AT_A_TIME)];
            match server.poll_io(cx, Interest::Read, |transport| transport.receive(buffer)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(count)) => self.answer.extend_from_slice(&buffer[..count]),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            match self.side.parse(&self.answer, &mut self.request) {
                Parsed::More => {}
                // What a server says in the clear after that is from somebody else.
                Parsed::Done { consumed, .. } if consumed < self.answer.len() => {
                    return Poll::Ready(Err(io::Error::other(Bad::Form)));
                }
                Parsed::Done { .. } => return Poll::Ready(Ok(())),
                Parsed::Not => return Poll::Ready(Err(io::Error::other(Bad::Form))),
                Parsed::Bad(reason) => return Poll::Ready(Err(io::Error::other(reason))),
            }
        }
    }

    /// What an error of it says of the server: where the kernel doesn't say more, it takes no TLS.
    pub(super) fn fault(error: &io::Error) -> Fault {
        match Fault::of(error) {
            Fault {
                reason: ConnectFailure::Other,
                errno: None,
            } => ConnectFailure::Starttls.into(),
            fault => fault,
        }
    }
}
