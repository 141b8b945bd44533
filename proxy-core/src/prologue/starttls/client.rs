//! The client's side: what it hears until it changes to TLS.

use super::line::line;
use super::step::{Next, Step};
use super::{Bad, CLIENT_BYTES_MAX, COMMANDS_MAX, Protocol, imap, postgres, smtp};
use crate::prologue::Parsed;

/// Speaks a protocol with a client until TLS begins.
#[derive(Clone, Debug)]
pub struct ClientSide {
    protocol: Protocol,
    /// Bytes that were understood.
    at: usize,
    commands: usize,
}

impl ClientSide {
    /// Before the client has said anything.
    pub const fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            at: 0,
            commands: 0,
        }
    }

    /// The protocol that it speaks.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What the client has to hear first; empty if it speaks first.
    pub const fn banner(&self) -> &'static [u8] {
        match self.protocol {
            Protocol::Postgres => b"",
            Protocol::Smtp => smtp::BANNER,
            Protocol::Imap => imap::BANNER,
        }
    }

    /// `received` is everything since the beginning. What the client has to hear is appended to `reply`, also where
    /// the answer is `Bad`.
    pub fn parse(&mut self, received: &[u8], reply: &mut Vec<u8>) -> Parsed<Next, Bad> {
        let within = &received[..received.len().min(CLIENT_BYTES_MAX)];
        loop {
            let rest = &within[self.at..];
            let step = match self.protocol {
                Protocol::Postgres => postgres::hear(rest, reply),
                Protocol::Smtp => command(rest, |line| smtp::hear(line, reply)),
                Protocol::Imap => command(rest, |line| imap::hear(line, reply)),
            };
            let (step, bytes) = match step {
                Ok(Some(step)) => step,
                Ok(None) if within.len() == CLIENT_BYTES_MAX => return Parsed::Bad(Bad::NoTls),
                Ok(None) => return Parsed::More,
                Err(reason) => return Parsed::Bad(reason),
            };
            self.at += bytes;
            self.commands += 1;
            match step {
                Step::Next(value) => {
                    return Parsed::Done {
                        value,
                        consumed: self.at,
                    };
                }
                Step::Answered if self.commands == COMMANDS_MAX => return Parsed::Bad(Bad::NoTls),
                Step::Answered => {}
            }
        }
    }
}

type Heard = Result<Option<(Step, usize)>, Bad>;

fn command(bytes: &[u8], hear: impl FnOnce(&[u8]) -> Result<Step, Bad>) -> Heard {
    match line(bytes)? {
        Some((line, bytes)) => Ok(Some((hear(line)?, bytes))),
        None => Ok(None),
    }
}
