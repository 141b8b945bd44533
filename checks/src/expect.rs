//! Sending and expecting, step by step.

use std::sync::Arc;

use crate::pattern::Pattern;
use crate::progress::{Heard, Progress};
use crate::reply::shown;

/// A step of a script.
#[derive(Clone, Debug)]
pub enum ExpectStep {
    /// These bytes are sent.
    Send(Box<[u8]>),
    /// This is waited for, in what comes after what the step before found.
    Expect(Pattern),
}

/// A script that is followed.
#[derive(Debug)]
pub(crate) struct Expect {
    steps: Arc<[ExpectStep]>,
    next: usize,
    /// Bytes up to the end of what was found last.
    found: usize,
    /// Bytes in which the next one was looked for already.
    searched: usize,
}

impl Expect {
    pub(crate) fn new(steps: Arc<[ExpectStep]>) -> Self {
        Self {
            steps,
            next: 0,
            found: 0,
            searched: 0,
        }
    }

    pub(crate) fn step(&mut self, heard: Heard<'_>, output: &mut Vec<u8>) -> Progress {
        while let Some(step) = self.steps.get(self.next) {
            match step {
                ExpectStep::Send(bytes) => output.extend_from_slice(bytes),
                ExpectStep::Expect(pattern) => {
                    let rest = &heard.bytes[self.found..];
                    match pattern.find_end(rest, self.searched) {
                        Some(end) => {
                            self.found += end;
                            self.searched = 0;
                        }
                        None if heard.has_ended && !rest.is_empty() => {
                            return Progress::Failed(format!(
                                "step {} is not in the answer {}",
                                self.next + 1,
                                shown(rest)
                            ));
                        }
                        None => {
                            self.searched = rest.len();
                            return Progress::More;
                        }
                    }
                }
            }
            self.next += 1;
        }
        Progress::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::Script;
    use crate::dialogue::tests::{failure, passes_however_it_comes, run};

    fn send(text: &str) -> ExpectStep {
        ExpectStep::Send(text.as_bytes().into())
    }

    fn text(text: &str) -> ExpectStep {
        ExpectStep::Expect(Pattern::bytes(text.as_bytes()))
    }

    fn regex(text: &str) -> ExpectStep {
        ExpectStep::Expect(Pattern::regex(text).expect("an expression"))
    }

    fn script(steps: &[ExpectStep]) -> Script {
        Script::Expect(steps.into())
    }

    #[test]
    fn steps_follow_each_other_however_the_answer_comes() {
        let script = script(&[
            text("220 "),
            send("EHLO a\r\n"),
            regex("(?m)^250 .*\r\n"),
            send("QUIT\r\n"),
        ]);
        let answer = b"220 mail ESMTP\r\n250-SIZE\r\n250 OK\r\n";
        passes_however_it_comes(&script, answer, answer.len());
        let (_, sent) = run(&script, answer, &[]);
        assert_eq!(sent, b"EHLO a\r\nQUIT\r\n");
    }

    #[test]
    fn what_one_step_found_is_not_found_again() {
        let twice = script(&[text("ab"), text("ab")]);
        passes_however_it_comes(&twice, b"xabab", 5);
        assert!(failure(&twice, b"aba").contains("step 2"));
        // The first match counts, and matches don't overlap.
        assert!(failure(&script(&[text("aa"), text("aa")]), b"aaa").contains("step 2"));
    }

    #[test]
    fn the_role_of_redis_is_told_by_its_answer() {
        let script = script(&[send("INFO replication\r\nQUIT\r\n"), text("role:master")]);
        let master = b"$331\r\n# Replication\r\nrole:master\r\nconnected_slaves:1\r\n";
        passes_however_it_comes(
            &script,
            master,
            b"$331\r\n# Replication\r\nrole:master".len(),
        );
        let replica = failure(&script, b"$331\r\n# Replication\r\nrole:slave\r\n+OK\r\n");
        assert!(
            replica.starts_with("step 2 is not in the answer \"$331\\r\\n"),
            "{replica}"
        );
        assert!(failure(&script, b"").contains("without an answer"));
    }

    #[test]
    fn bytes_are_found_wherever_they_are_and_expressions_are_of_bytes() {
        passes_however_it_comes(
            &script(&[ExpectStep::Expect(Pattern::bytes([0xff, 0]))]),
            &[1, 0xff, 0],
            3,
        );
        passes_however_it_comes(&script(&[regex(r"(?-u)\x00\xff")]), &[0, 0, 0xff], 3);
        // Nothing is expected.
        assert_eq!(
            run(&script(&[send("a")]), b"", &[]),
            (Progress::Passed, b"a".to_vec())
        );
    }

    #[test]
    fn expressions_that_are_none_or_too_large_are_refused() {
        for text in ["(", "a{100000}{1000}", r"\x{zz}"] {
            let error = Pattern::regex(text).expect_err(text).to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }
}
