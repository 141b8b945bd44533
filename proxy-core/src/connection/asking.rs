//! A server is asked for TLS, in the words of its protocol, before it gets the client's hello.

use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::prologue::Parsed;
use crate::prologue::starttls::{Bad, Protocol, SERVER_BYTES_MAX, ServerSide};
use crate::runtime::{Interest, Socket};
use crate::transport::Transport;
use crate::worker::Worker;

/// What is spoken with a server between the connect and the first byte of the client.
#[derive(Debug)]
pub(super) struct Asking {
    side: ServerSide,
    /// What the server is told, and how much of it is sent.
    request: Vec<u8>,
    sent: usize,
    /// What it said, which isn't for the client.
    answer: Vec<u8>,
    /// When it must have taken it.
    pub(super) deadline: Instant,
}

impl Asking {
    /// `before` is sent first.
    pub(super) fn new(protocol: Protocol, mut before: Vec<u8>, deadline: Instant) -> Self {
        let side = ServerSide::new(protocol);
        before.extend_from_slice(side.opening());
        Self {
            side,
            request: before,
            sent: 0,
            answer: Vec::new(),
            deadline,
        }
    }

    /// Whether the server has said anything.
    pub(super) fn has_heard(&self) -> bool {
        !self.answer.is_empty()
    }

    /// Ready once the server takes TLS, or doesn't.
    pub(super) fn poll<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
        server: &S,
    ) -> Poll<io::Result<()>> {
        let is_late = self.deadline <= worker.now;
        if is_late {
            // The process may have stood still: what came meanwhile is in time.
            server.assume_ready(Interest::Read);
        }
        let done = self.exchange(cx, worker, server);
        if is_late && done.is_pending() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        done
    }

    fn exchange<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &mut Worker,
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
            let scratch = worker.buffers.scratch();
            let room = (SERVER_BYTES_MAX - self.answer.len()).min(scratch.len());
            let buffer = &mut scratch[..room];
            match server.poll_io(cx, Interest::Read, |transport| transport.receive(buffer)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(count)) => self.answer.extend_from_slice(&scratch[..count]),
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
}
