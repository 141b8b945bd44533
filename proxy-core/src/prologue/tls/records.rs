//! A ClientHello comes in records, and these in segments: neither has to end where the message does.

use super::{Bad, CLIENT_HELLO_BYTES_MAX, ClientHello};
use crate::prologue::Parsed;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Kind, version, length.
const RECORD_HEAD: usize = 5;
const RECORD_BYTES_MAX: usize = 1 << 14;
/// Type, length.
const MESSAGE_HEAD: usize = 4;

/// Finds the end of a ClientHello, and reads it then. It remembers how far it has looked, so each byte is looked at
/// once, however few come at a time, and once more when all are there.
#[derive(Clone, Debug, Default)]
pub struct HelloParser {
    /// Bytes that were looked at.
    at: usize,
    /// Bytes of the record there that weren't.
    left_in_record: usize,
    head: [u8; MESSAGE_HEAD],
    head_known: usize,
    /// Bytes of the message's body, as far as they were looked at.
    body: usize,
    /// More than one record has a part of it.
    fragmented: bool,
}

impl HelloParser {
    /// `received` is everything since the beginning of the hello.
    pub fn parse(&mut self, received: &[u8]) -> Parsed<ClientHello, Bad> {
        let within = &received[..received.len().min(CLIENT_HELLO_BYTES_MAX)];
        match self.look(within) {
            Ok(true) => match self.read(within) {
                Ok(value) => Parsed::Done {
                    value,
                    consumed: self.at,
                },
                Err(reason) => Parsed::Bad(reason),
            },
            Ok(false) if within.len() == CLIENT_HELLO_BYTES_MAX => Parsed::Bad(Bad::TooLong),
            Ok(false) => Parsed::More,
            Err(Wrong::Other) => Parsed::Not,
            Err(Wrong::Bad(reason)) => Parsed::Bad(reason),
        }
    }

    /// Whether all of the message is there.
    fn look(&mut self, received: &[u8]) -> Result<bool, Wrong> {
        loop {
            if self.left_in_record == 0 {
                let Some(length) = record(&received[self.at..]).map_err(|_| self.wrong())? else {
                    return Ok(false);
                };
                self.fragmented = self.at > 0;
                self.at += RECORD_HEAD;
                self.left_in_record = length;
            }
            let chunk = &received[self.at..];
            let chunk = &chunk[..chunk.len().min(self.left_in_record)];
            if chunk.is_empty() {
                return Ok(false);
            }
            let mut taken = 0;
            while self.head_known < MESSAGE_HEAD && taken < chunk.len() {
                self.head[self.head_known] = chunk[taken];
                self.head_known += 1;
                taken += 1;
            }
            if self.head[0] != CLIENT_HELLO {
                return Err(Wrong::Other);
            }
            let end = if self.head_known == MESSAGE_HEAD {
                let [_, high, middle, low] = self.head;
                let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                if length > CLIENT_HELLO_BYTES_MAX - RECORD_HEAD - MESSAGE_HEAD {
                    return Err(Wrong::Bad(Bad::TooLong));
                }
                let more = (chunk.len() - taken).min(length - self.body);
                self.body += more;
                taken += more;
                self.body == length
            } else {
                false
            };
            self.at += taken;
            self.left_in_record -= taken;
            if end {
                return Ok(true);
            }
        }
    }

    /// What a record is that can't be one of a ClientHello.
    const fn wrong(&self) -> Wrong {
        if self.at == 0 {
            Wrong::Other
        } else {
            Wrong::Bad(Bad::Record)
        }
    }

    fn read(&self, received: &[u8]) -> Result<ClientHello, Bad> {
        if !self.fragmented {
            return ClientHello::new(&received[RECORD_HEAD + MESSAGE_HEAD..self.at]);
        }
        let mut message = Vec::with_capacity(MESSAGE_HEAD + self.body);
        let mut rest = &received[..self.at];
        while let Ok(Some(length)) = record(rest) {
            let payload = &rest[RECORD_HEAD..];
            let (payload, after) = payload.split_at(payload.len().min(length));
            message.extend_from_slice(payload);
            rest = after;
        }
        ClientHello::new(&message[MESSAGE_HEAD..])
    }
}

enum Wrong {
    /// Not TLS.
    Other,
    Bad(Bad),
}

/// The length of the record that begins here, once its head is there; what can't be one is known earlier.
fn record(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let differs = |at: usize, expected: u8| bytes.get(at).is_some_and(|byte| *byte != expected);
    if differs(0, HANDSHAKE) || differs(1, 3) {
        return Err(());
    }
    let Some(length) = bytes.get(3..RECORD_HEAD) else {
        // A length begins with less than what the longest one does.
        return match bytes.get(3) {
            Some(high) if usize::from(*high) > RECORD_BYTES_MAX >> 8 => Err(()),
            _ => Ok(None),
        };
    };
    match usize::from(u16::from_be_bytes([length[0], length[1]])) {
        0 => Err(()),
        length if length > RECORD_BYTES_MAX => Err(()),
        length => Ok(Some(length)),
    }
}
