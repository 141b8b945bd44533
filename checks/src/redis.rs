//! Redis' PING.

use crate::progress::{Heard, Progress};
use crate::reply::{line, shown};

/// A PING that waits for its answer.
#[derive(Debug)]
pub(crate) struct Redis;

impl Redis {
    pub(crate) fn begin(output: &mut Vec<u8>) -> Self {
        output.extend_from_slice(b"PING\r\n");
        Self
    }

    pub(crate) fn step(&mut self, heard: Heard<'_>) -> Progress {
        if heard.bytes.is_empty() {
            return Progress::More;
        }
        match line(heard.bytes, heard.has_ended) {
            None => Progress::More,
            Some(b"+PONG") => Progress::Passed,
            // It works, and wants a password, which its clients have.
            Some(line) if line.starts_with(b"-NOAUTH ") || line.starts_with(b"-NOPERM ") => {
                Progress::Passed
            }
            Some(line) => Progress::Failed(format!("PING was answered by {}", shown(line))),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::dialogue::Script;
    use crate::dialogue::tests::{failure, passes_however_it_comes, run};

    #[test]
    fn a_pong_passes_and_so_does_the_wish_for_a_password() {
        passes_however_it_comes(&Script::Redis, b"+PONG\r\n", 5);
        let noauth = b"-NOAUTH Authentication required.\r\n";
        passes_however_it_comes(&Script::Redis, noauth, 8);
        assert_eq!(run(&Script::Redis, b"+PONG\r\n", &[]).1, b"PING\r\n");
    }

    #[test]
    fn a_server_that_loads_or_is_something_else_fails() {
        let loading = failure(&Script::Redis, b"-LOADING Redis is loading\r\n");
        assert!(loading.contains("-LOADING"), "{loading}");
        failure(&Script::Redis, b"HTTP/1.1 400 Bad Request\r\n");
        failure(&Script::Redis, b"+PONG!\r\n");
    }
}
