//! PostgreSQL: the messages that come before the startup message.

use super::Bad;
use super::step::{Next, Step};

/// Length 8, then the code that no version of the protocol has.
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
const CANCEL_REQUEST: [u8; 4] = [0x04, 0xd2, 0x16, 0x2e];
/// The first byte of a TLS record, which no message begins with: it would be one of 369 MB.
const TLS: u8 = 22;
/// What a server takes for a startup message.
const STARTUP_BYTES_MAX: usize = 10_000;

/// The first message, and how many of its bytes the proxy has answered itself.
pub(super) fn hear(bytes: &[u8], reply: &mut Vec<u8>) -> Result<Option<(Step, usize)>, Bad> {
    match bytes.first() {
        None => return Ok(None),
        Some(&TLS) => return Ok(Some((Step::Next(Next::Direct), 0))),
        Some(0) => {}
        Some(_) => return Err(Bad::Form),
    }
    let Some((head, _)) = bytes.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let [_, a, b, c, code @ ..] = *head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    match *head {
        SSL_REQUEST => {
            reply.push(b'S');
            Ok(Some((Step::Next(Next::Hello), head.len())))
        }
        GSSENC_REQUEST => {
            reply.push(b'N');
            Ok(Some((Step::Answered, head.len())))
        }
        _ if !(8..=STARTUP_BYTES_MAX).contains(&length) => Err(Bad::Form),
        // A startup message, of any version of the protocol: the server knows which ones it speaks.
        _ if code == CANCEL_REQUEST || code[..2] != [0x04, 0xd2] => {
            Ok(Some((Step::Next(Next::Plain), 0)))
        }
        _ => Err(Bad::Form),
    }
}

/// A server's answer to SSLRequest.
pub(super) fn answer(byte: u8) -> Result<(), Bad> {
    match byte {
        b'S' => Ok(()),
        // No TLS, or an error message.
        b'N' | b'E' => Err(Bad::Refused),
        _ => Err(Bad::Form),
    }
}
