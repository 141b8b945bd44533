//! The server's side: it is asked for TLS before it gets the client's hello.

use super::line::line;
use super::{Bad, Protocol, SERVER_BYTES_MAX, imap, postgres, smtp};
use crate::prologue::Parsed;

/// Speaks a protocol with a server until it takes a ClientHello.
#[derive(Clone, Debug)]
pub struct ServerSide {
    awaited: Awaited,
    /// Bytes that were understood.
    at: usize,
}

/// What the server has to say next.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    PostgresAnswer,
    SmtpGreeting,
    SmtpCapabilities,
    SmtpReady,
    ImapGreeting,
    ImapReady,
}

/// What a line of the server's changes.
enum Step {
    Continue,
    Await(Awaited),
    Ready,
}

impl ServerSide {
    /// Before the server has said anything.
    pub const fn new(protocol: Protocol) -> Self {
        let awaited = match protocol {
            Protocol::Postgres => Awaited::PostgresAnswer,
            Protocol::Smtp => Awaited::SmtpGreeting,
            Protocol::Imap => Awaited::ImapGreeting,
        };
        Self { awaited, at: 0 }
    }

    /// What the server has to hear first; empty if it speaks first.
    pub const fn opening(&self) -> &'static [u8] {
        match self.awaited {
            Awaited::PostgresAnswer => &postgres::SSL_REQUEST,
            _ => b"",
        }
    }

    /// `received` is everything that the server has said since the beginning. What it has to hear next is appended to
    /// `request`. Once this is done, it gets the ClientHello; what it has said up to there isn't for the client.
    pub fn parse(&mut self, received: &[u8], request: &mut Vec<u8>) -> Parsed<(), Bad> {
        let within = &received[..received.len().min(SERVER_BYTES_MAX)];
        loop {
            match self.step(&within[self.at..], request) {
                Ok(Some(Step::Ready)) => {
                    return Parsed::Done {
                        value: (),
                        consumed: self.at,
                    };
                }
                Ok(Some(Step::Await(awaited))) => self.awaited = awaited,
                Ok(Some(Step::Continue)) => {}
                Ok(None) if within.len() == SERVER_BYTES_MAX => return Parsed::Bad(Bad::TooLong),
                Ok(None) => return Parsed::More,
                Err(reason) => return Parsed::Bad(reason),
            }
        }
    }

    fn step(&mut self, bytes: &[u8], request: &mut Vec<u8>) -> Result<Option<Step>, Bad> {
        if let Awaited::PostgresAnswer = self.awaited {
            let Some(byte) = bytes.first() else {
                return Ok(None);
            };
            self.at += 1;
            return postgres::answer(*byte).map(|()| Some(Step::Ready));
        }
        let Some((line, bytes)) = line(bytes)? else {
            return Ok(None);
        };
        self.at += bytes;
        self.line(line, request).map(Some)
    }

    fn line(&self, line: &[u8], request: &mut Vec<u8>) -> Result<Step, Bad> {
        let (is_last, next, say): (_, _, &[u8]) = match self.awaited {
            Awaited::SmtpGreeting => (
                smtp::answer(line, b"220")?,
                Step::Await(Awaited::SmtpCapabilities),
                smtp::EHLO,
            ),
            Awaited::SmtpCapabilities => (
                smtp::answer(line, b"250")?,
                Step::Await(Awaited::SmtpReady),
                smtp::STARTTLS,
            ),
            Awaited::ImapGreeting => {
                imap::greeting(line)?;
                (true, Step::Await(Awaited::ImapReady), imap::STARTTLS)
            }
            Awaited::SmtpReady => (smtp::answer(line, b"220")?, Step::Ready, b""),
            Awaited::ImapReady => (imap::answer(line)?, Step::Ready, b""),
            // It says no lines.
            Awaited::PostgresAnswer => return Err(Bad::Form),
        };
        if !is_last {
            return Ok(Step::Continue);
        }
        request.extend_from_slice(say);
        Ok(next)
    }
}
