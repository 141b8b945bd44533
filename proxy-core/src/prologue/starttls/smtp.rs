//! SMTP: what a client hears before TLS, and what a server is told.

use super::Bad;
use super::line::word;
use super::step::{Next, Step};

pub(super) const BANNER: &[u8] = b"220 corelane ESMTP\r\n";
/// After TLS has begun a server forgets what it was told before (RFC 3207), so the name is of no consequence.
pub(super) const EHLO: &[u8] = b"EHLO corelane.invalid\r\n";
pub(super) const STARTTLS: &[u8] = b"STARTTLS\r\n";

/// A command of the client.
pub(super) fn hear(line: &[u8], reply: &mut Vec<u8>) -> Result<Step, Bad> {
    let (command, rest) = word(line);
    let is = |name: &[u8]| command.eq_ignore_ascii_case(name);
    let answer: &[u8] = if is(b"STARTTLS") && rest.is_empty() {
        reply.extend_from_slice(b"220 Ready to start TLS\r\n");
        return Ok(Step::Next(Next::Hello));
    } else if is(b"QUIT") {
        reply.extend_from_slice(b"221 Bye\r\n");
        return Err(Bad::Quit);
    } else if is(b"EHLO") {
        b"250-corelane\r\n250 STARTTLS\r\n"
    } else if is(b"HELO") {
        b"250 corelane\r\n"
    } else if is(b"NOOP") || is(b"RSET") {
        b"250 OK\r\n"
    } else {
        b"530 Must issue a STARTTLS command first\r\n"
    };
    reply.extend_from_slice(answer);
    Ok(Step::Answered)
}

/// A line of a server's reply; whether it is the last one. Only this code is welcome.
pub(super) fn answer(line: &[u8], code: &[u8; 3]) -> Result<bool, Bad> {
    let Some((told, rest)) = line.split_first_chunk::<3>() else {
        return Err(Bad::Form);
    };
    if !told.iter().all(u8::is_ascii_digit) {
        return Err(Bad::Form);
    }
    if told != code {
        return Err(Bad::Refused);
    }
    match rest.first() {
        Some(b'-') => Ok(false),
        None | Some(b' ') => Ok(true),
        Some(_) => Err(Bad::Form),
    }
}
