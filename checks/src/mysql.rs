//! The start of a session of MySQL or MariaDB.
//!
//! A client that leaves after the server's greeting counts there as a broken one, and a host with many of those is blocked. So
//! a check logs in: without a password, as a user that need not exist. A server that refuses the user works.

use std::sync::Arc;

use crate::progress::{Heard, Progress};
use crate::reply::shown;

/// A packet's length and number.
const HEAD_BYTES: usize = 4;
/// LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;
/// utf8.
const CHARSET: u8 = 33;
/// The command by which a client says goodbye.
const QUIT: &[u8] = b"\x01\0\0\0\x01";
/// Errors after which a client gets no further: too many connections, this host is blocked or not allowed, shutting down, too
/// many connections of the user.
const FATAL: [u16; 5] = [1040, 1129, 1130, 1053, 1203];

/// A start, and how far it has come.
#[derive(Debug)]
pub(crate) struct Mysql {
    user: Arc<str>,
    state: State,
    /// Bytes of the packets that were taken.
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Greeting,
    Login,
    /// It has asked for another way to log in, and got no password.
    Switched,
}

impl Mysql {
    pub(crate) fn new(user: Arc<str>) -> Self {
        Self {
            user,
            state: State::Greeting,
            taken: 0,
        }
    }

    pub(crate) fn step(&mut self, heard: Heard<'_>, output: &mut Vec<u8>) -> Progress {
        loop {
            let rest = &heard.bytes[self.taken..];
            let Some((head, after)) = rest.split_at_checked(HEAD_BYTES) else {
                return Progress::More;
            };
            let len = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
            let number = head[3];
            let Some(packet) = after.get(..len) else {
                return Progress::More;
            };
            self.taken += HEAD_BYTES + len;
            let Some(&first) = packet.first() else {
                return Progress::Failed("it sent an empty packet".to_owned());
            };
            match (self.state, first) {
                (State::Greeting, 10) => {
                    self.log_in(number.wrapping_add(1), output);
                    self.state = State::Login;
                }
                (State::Login, 0xfe) => {
                    // No password.
                    output.extend_from_slice(&[0, 0, 0, number.wrapping_add(1)]);
                    self.state = State::Switched;
                }
                (State::Login | State::Switched, 0) => {
                    output.extend_from_slice(QUIT);
                    return Progress::Passed;
                }
                // It asks for a password in yet another way.
                (State::Login | State::Switched, 1 | 0xfe) => return Progress::Passed,
                (state, 0xff) => return judge(state, packet),
                _ => {
                    let answer = shown(rest);
                    return Progress::Failed(format!("the answer {answer} is not MySQL's"));
                }
            }
        }
    }

    fn log_in(&self, number: u8, output: &mut Vec<u8>) {
        let mut packet = CAPABILITIES.to_le_bytes().to_vec();
        packet.extend_from_slice(&(1_u32 << 24).to_le_bytes());
        packet.push(CHARSET);
        packet.extend_from_slice(&[0; 23]);
        packet.extend_from_slice(self.user.as_bytes());
        packet.push(0);
        // No password.
        packet.push(0);
        packet.extend_from_slice(b"mysql_native_password\0");
        output.extend_from_slice(&(packet.len() as u32).to_le_bytes()[..3]);
        output.push(number);
        output.extend_from_slice(&packet);
    }
}

/// What an error says of the server.
fn judge(state: State, packet: &[u8]) -> Progress {
    let Some(&[low, high]) = packet.get(1..3) else {
        return Progress::Failed("it sent an error without a number".to_owned());
    };
    let code = u16::from_le_bytes([low, high]);
    if matches!(state, State::Greeting) || FATAL.contains(&code) {
        let message = shown(&packet[3..]);
        return Progress::Failed(format!("it says {message} (error {code})"));
    }
    Progress::Passed
}

#[cfg(test)]
mod tests {
    use crate::dialogue::Script;
    use crate::dialogue::tests::{failure, passes_however_it_comes, run};

    fn script() -> Script {
        Script::Mysql {
            user: "corelane".into(),
        }
    }

    fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
        packet.push(number);
        packet.extend_from_slice(payload);
        packet
    }

    fn greeting() -> Vec<u8> {
        packet(
            0,
            b"\x0a10.11.14-MariaDB\0\x01\0\0\0abcdefgh\0\xfe\xf7\x21\x02\0\xff\x81",
        )
    }

    fn refusal(number: u8, code: u16) -> Vec<u8> {
        let [low, high] = code.to_le_bytes();
        packet(number, &[&[0xff, low, high], &b"#28000words"[..]].concat())
    }

    #[test]
    fn a_login_passes_and_says_goodbye() {
        let answer = [greeting(), packet(2, &[0, 0, 0, 2, 0, 0, 0])].concat();
        passes_however_it_comes(&script(), &answer, answer.len());
        let sent = run(&script(), &answer, &[]).1;
        assert_eq!(sent[3], 1, "the packet's number");
        assert_eq!(usize::from(sent[0]), sent.len() - 4 - 5);
        assert!(sent.ends_with(b"\x01\0\0\0\x01"));
    }

    #[test]
    fn a_user_that_it_refuses_tells_that_it_works() {
        let answer = [greeting(), refusal(2, 1045)].concat();
        passes_however_it_comes(&script(), &answer, answer.len());
        let switch = packet(2, b"\xfemysql_native_password\0abcdefghabcdefghabcd\0");
        let answer = [greeting(), switch, refusal(4, 1698)].concat();
        passes_however_it_comes(&script(), &answer, answer.len());
        let sent = run(&script(), &answer, &[]).1;
        assert!(sent.ends_with(&[0, 0, 0, 3]), "{sent:?}");
    }

    #[test]
    fn one_that_is_full_or_blocks_this_host_or_is_something_else_fails() {
        let blocked = failure(&script(), &refusal(0, 1129));
        assert!(blocked.contains("(error 1129)"), "{blocked}");
        failure(&script(), &refusal(0, 1045));
        failure(&script(), &[greeting(), refusal(2, 1040)].concat());
        failure(&script(), b"HTTP/1.1 400 Bad Request\r\n\r\n");
        failure(&script(), &packet(0, b""));
        failure(&script(), &packet(0, b"\xff\x10"));
        failure(&script(), &greeting());
    }
}
