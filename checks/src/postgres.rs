//! The start of a session of PostgreSQL: whether it takes clients, without a login.
//!
//! As `pg_isready` does: a server that asks for a password, or that refuses this user, works. One that starts, stops or has
//! no place left says so by a SQLSTATE, and fails.

use crate::progress::{Heard, Progress};
use crate::reply::shown;

/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 3 << 16;
/// The message by which a client says goodbye.
const TERMINATE: &[u8] = b"X\0\0\0\x04";
/// A message's type and length.
const HEAD_BYTES: usize = 5;

/// A start that waits for its answer.
#[derive(Debug)]
pub(crate) struct Postgres;

impl Postgres {
    pub(crate) fn begin(user: &str, output: &mut Vec<u8>) -> Self {
        let at = output.len();
        output.extend_from_slice(&[0; 4]);
        output.extend_from_slice(&PROTOCOL.to_be_bytes());
        for (key, value) in [
            ("user", user),
            ("database", "postgres"),
            ("application_name", "corelane"),
        ] {
            for text in [key, value] {
                output.extend_from_slice(text.as_bytes());
                output.push(0);
            }
        }
        output.push(0);
        let len = (output.len() - at) as u32;
        output[at..at + 4].copy_from_slice(&len.to_be_bytes());
        Self
    }

    pub(crate) fn step(&mut self, heard: Heard<'_>, output: &mut Vec<u8>) -> Progress {
        let mut rest = heard.bytes;
        loop {
            let Some((head, after)) = rest.split_at_checked(HEAD_BYTES) else {
                return Progress::More;
            };
            let kind = head[0];
            // The length counts itself.
            let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some(len) = len.checked_sub(4).filter(|_| b"RENv".contains(&kind)) else {
                let answer = shown(heard.bytes);
                return Progress::Failed(format!("the answer {answer} is not PostgreSQL's"));
            };
            let Some((body, after)) = after.split_at_checked(len) else {
                return Progress::More;
            };
            match kind {
                b'R' => {
                    output.extend_from_slice(TERMINATE);
                    return Progress::Passed;
                }
                b'E' => return judge(body),
                // Notices, and versions that it knows.
                _ => rest = after,
            }
        }
    }
}

/// What an error says of the server.
fn judge(fields: &[u8]) -> Progress {
    let field = |wanted: u8| {
        let mut fields = fields.split(|&byte| byte == 0);
        let found = fields.find(|field| field.first() == Some(&wanted));
        found.map(|field| &field[1..])
    };
    let Some(state) = field(b'C') else {
        return Progress::Failed(format!("an error without a SQLSTATE: {}", shown(fields)));
    };
    // Shutting down, crashed, starting; out of memory, space or places.
    if state.starts_with(b"57P") || state.starts_with(b"53") {
        let message = field(b'M').unwrap_or_default();
        return Progress::Failed(format!(
            "it says {} ({})",
            shown(message),
            state.escape_ascii()
        ));
    }
    Progress::Passed
}

#[cfg(test)]
mod tests {
    use crate::dialogue::Script;
    use crate::dialogue::tests::{failure, passes_however_it_comes, run};

    fn script() -> Script {
        Script::Postgres {
            user: "corelane".into(),
        }
    }

    fn error(state: &str) -> Vec<u8> {
        let fields = format!("SFATAL\0VFATAL\0C{state}\0Mwords\0\0");
        let mut message = vec![b'E'];
        message.extend_from_slice(&(fields.len() as u32 + 4).to_be_bytes());
        message.extend_from_slice(fields.as_bytes());
        message
    }

    #[test]
    fn a_server_that_asks_for_a_password_works() {
        let asks = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
        passes_however_it_comes(&script(), asks, asks.len());
        let sent = run(&script(), asks, &[]).1;
        assert_eq!(sent[..8], [0, 0, 0, 67, 0, 3, 0, 0]);
        assert!(sent.ends_with(b"\0\0X\0\0\0\x04"));
        let after_a_notice = [b"N\0\0\0\x06a\0".as_slice(), asks].concat();
        passes_however_it_comes(&script(), &after_a_notice, after_a_notice.len());
    }

    #[test]
    fn a_user_that_it_refuses_tells_that_it_works() {
        for state in ["28000", "28P01", "3D000"] {
            let error = error(state);
            passes_however_it_comes(&script(), &error, error.len());
        }
    }

    #[test]
    fn one_that_starts_or_is_full_or_is_something_else_fails() {
        for state in ["57P03", "57P01", "53300"] {
            let why = failure(&script(), &error(state));
            assert_eq!(why, format!("it says \"words\" ({state})"));
        }
        failure(&script(), b"HTTP/1.1 400 Bad Request\r\n\r\n");
        failure(&script(), b"E\0\0\0\x05\0");
        failure(&script(), b"R\0\0\0\0");
    }
}
