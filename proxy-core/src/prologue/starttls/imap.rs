//! IMAP: what a client hears before TLS, and what a server is told.

use super::Bad;
use super::line::word;
use super::step::{Next, Step};

pub(super) const BANNER: &[u8] = b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] corelane\r\n";
pub(super) const STARTTLS: &[u8] = b"corelane STARTTLS\r\n";
/// What the client puts before a command, and gets back.
const TAG_BYTES_MAX: usize = 64;

/// A command of the client.
pub(super) fn hear(line: &[u8], reply: &mut Vec<u8>) -> Result<Step, Bad> {
    let (tag, rest) = word(line);
    let is_tag = |byte: &u8| byte.is_ascii_graphic() && !b"+(){%*\"\\".contains(byte);
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX || !tag.iter().all(is_tag) {
        return Err(Bad::Form);
    }
    let (command, arguments) = word(rest);
    let is = |name: &[u8]| command.eq_ignore_ascii_case(name) && arguments.is_empty();
    let (untagged, answer, step): (&[u8], &[u8], _) = if is(b"STARTTLS") {
        (
            b"",
            b"OK Begin TLS negotiation now",
            Ok(Step::Next(Next::Hello)),
        )
    } else if is(b"LOGOUT") {
        (b"* BYE corelane\r\n", b"OK Bye", Err(Bad::Quit))
    } else if is(b"CAPABILITY") {
        (
            b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n",
            b"OK Done",
            Ok(Step::Answered),
        )
    } else if is(b"NOOP") {
        (b"", b"OK Done", Ok(Step::Answered))
    } else {
        (
            b"",
            b"NO [PRIVACYREQUIRED] STARTTLS first",
            Ok(Step::Answered),
        )
    };
    for part in [untagged, tag, b" ", answer, b"\r\n"] {
        reply.extend_from_slice(part);
    }
    step
}

/// The line with which a server greets.
pub(super) fn greeting(line: &[u8]) -> Result<(), Bad> {
    let (star, rest) = word(line);
    if star != b"*" {
        return Err(Bad::Form);
    }
    match word(rest).0 {
        status if status.eq_ignore_ascii_case(b"OK") => Ok(()),
        // PREAUTH can't change to TLS any more; BYE ends.
        _ => Err(Bad::Refused),
    }
}

/// A line of a server's answer to STARTTLS; whether it is the last one.
pub(super) fn answer(line: &[u8]) -> Result<bool, Bad> {
    let (tag, rest) = word(line);
    match tag {
        b"*" => Ok(false),
        b"corelane" if word(rest).0.eq_ignore_ascii_case(b"OK") => Ok(true),
        b"corelane" => Err(Bad::Refused),
        _ => Err(Bad::Form),
    }
}
