//! One check of a server: what is said, what is heard, and whether it has passed.

use std::sync::Arc;

use crate::agent::{self, Report};
use crate::expect::{Expect, ExpectStep};
use crate::http::{Http, HttpScript};
use crate::mysql::Mysql;
use crate::postgres::Postgres;
use crate::progress::{Heard, Progress};
use crate::redis::Redis;
use crate::tls::{Tls, TlsScript};

/// The most bytes of an answer. A server that says more before it has passed fails.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What is said to a server and expected of it.
#[derive(Clone, Debug)]
pub enum Script {
    /// Steps of sending and expecting.
    Expect(Arc<[ExpectStep]>),
    /// A request of HTTP.
    Http(Arc<HttpScript>),
    /// The start of a session of PostgreSQL, as this user.
    Postgres {
        /// The user, without bytes of zero.
        user: Arc<str>,
    },
    /// The start of a session of MySQL or MariaDB, as this user.
    Mysql {
        /// The user, without bytes of zero.
        user: Arc<str>,
    },
    /// Redis' PING.
    Redis,
    /// A handshake of TLS.
    Tls(TlsScript),
    /// What an agent says of its server, once it was told this; it may be nothing.
    Agent(Arc<[u8]>),
}

/// A check that is under way.
#[derive(Debug)]
pub struct Dialogue {
    speaker: Speaker,
    input: Vec<u8>,
    output: Vec<u8>,
}

#[derive(Debug)]
enum Speaker {
    Expect(Expect),
    Http(Http),
    Postgres(Postgres),
    Mysql(Mysql),
    Redis(Redis),
    Tls(Box<Tls>),
    /// None before its line has come.
    Agent(Option<Report>),
    /// It can't even begin.
    Broken(String),
}

impl Dialogue {
    /// A check of a server that was connected to, which is told `preface` first. Where nothing has to be heard, it has passed
    /// already.
    pub fn begin(script: &Script, preface: &[u8]) -> (Self, Progress) {
        let mut output = preface.to_vec();
        let speaker = match script {
            Script::Expect(steps) => Speaker::Expect(Expect::new(steps.clone())),
            Script::Http(script) => Speaker::Http(Http::begin(script.clone(), &mut output)),
            Script::Postgres { user } => Speaker::Postgres(Postgres::begin(user, &mut output)),
            Script::Mysql { user } => Speaker::Mysql(Mysql::new(user.clone())),
            Script::Redis => Speaker::Redis(Redis::begin(&mut output)),
            Script::Agent(send) => {
                output.extend_from_slice(send);
                Speaker::Agent(None)
            }
            Script::Tls(script) => match Tls::begin(script) {
                Ok(tls) => Speaker::Tls(tls.into()),
                Err(why) => Speaker::Broken(why),
            },
        };
        let mut dialogue = Self {
            speaker,
            input: Vec::new(),
            output,
        };
        let progress = dialogue.step(false);
        (dialogue, progress)
    }

    /// What an agent has said, once it has passed.
    pub fn report(&self) -> Option<&Report> {
        match &self.speaker {
            Speaker::Agent(report) => report.as_ref(),
            _ => None,
        }
    }

    /// What is to be sent now; may be empty.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes of the output were sent.
    pub fn on_sent(&mut self, count: usize) {
        self.output.drain(..count.min(self.output.len()));
    }

    /// These bytes came.
    pub fn on_receive(&mut self, bytes: &[u8]) -> Progress {
        let room = ANSWER_BYTES_MAX - self.input.len().min(ANSWER_BYTES_MAX);
        let taken = bytes.len().min(room);
        self.input.extend_from_slice(&bytes[..taken]);
        let progress = self.step(false);
        if progress == Progress::More && taken < bytes.len() {
            let limit = ANSWER_BYTES_MAX / 1024;
            return Progress::Failed(format!(
                "the first {limit} KiB of the answer have not what is expected"
            ));
        }
        progress
    }

    /// The stream has ended: it has passed or failed now.
    pub fn on_end(&mut self) -> Progress {
        match self.step(true) {
            Progress::More => Progress::Failed(match self.input.is_empty() {
                true => "the server closed the connection without an answer".to_owned(),
                false => "the server closed the connection within its answer".to_owned(),
            }),
            over => over,
        }
    }

    fn step(&mut self, has_ended: bool) -> Progress {
        let heard = Heard {
            bytes: &self.input,
            has_ended,
        };
        let output = &mut self.output;
        match &mut self.speaker {
            Speaker::Expect(expect) => expect.step(heard, output),
            Speaker::Http(http) => http.step(heard),
            Speaker::Postgres(postgres) => postgres.step(heard, output),
            Speaker::Mysql(mysql) => mysql.step(heard, output),
            Speaker::Redis(redis) => redis.step(heard),
            Speaker::Tls(tls) => tls.step(heard, output),
            Speaker::Agent(report) => listen(heard, report),
            Speaker::Broken(why) => Progress::Failed(why.clone()),
        }
    }
}

/// Waits for an agent's line, of which one word at least must be understood.
fn listen(heard: Heard<'_>, report: &mut Option<Report>) -> Progress {
    if heard.bytes.is_empty() {
        return Progress::More;
    }
    match agent::report(heard.bytes, heard.has_ended) {
        None => Progress::More,
        Some(said) if said.is_empty() => {
            Progress::Failed(format!("an agent doesn't say {:?}", said.line))
        }
        Some(said) => {
            *report = Some(said);
            Progress::Passed
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a script comes to when its server says `answer`, in pieces that end at `cuts`, and then ends. Also all that was sent.
    pub(crate) fn run(script: &Script, answer: &[u8], cuts: &[usize]) -> (Progress, Vec<u8>) {
        let (mut dialogue, mut progress) = Dialogue::begin(script, b"");
        let mut sent = Vec::new();
        let mut send = |dialogue: &mut Dialogue| {
            sent.extend_from_slice(dialogue.output());
            dialogue.on_sent(dialogue.output().len());
        };
        send(&mut dialogue);
        let mut from = 0;
        for &cut in cuts.iter().chain([&answer.len()]) {
            if progress != Progress::More {
                break;
            }
            progress = dialogue.on_receive(&answer[from..cut]);
            send(&mut dialogue);
            from = cut;
        }
        if progress == Progress::More {
            progress = dialogue.on_end();
        }
        (progress, sent)
    }

    /// Checks that an answer passes in each pair of pieces and byte by byte, that nothing of its beginnings passes where all of
    /// it is `needed`, and that no change of a byte panics.
    pub(crate) fn passes_however_it_comes(script: &Script, answer: &[u8], needed: usize) {
        let (whole, sent) = run(script, answer, &[]);
        assert_eq!(whole, Progress::Passed, "{}", answer.escape_ascii());
        let each: Vec<_> = (0..answer.len()).collect();
        for cuts in each.iter().map(std::slice::from_ref).chain([&each[..]]) {
            let (progress, said) = run(script, answer, cuts);
            assert_eq!(progress, Progress::Passed, "cut at {cuts:?}");
            assert_eq!(said, sent, "cut at {cuts:?}");
        }
        for prefix in 0..needed {
            let (progress, _) = run(script, &answer[..prefix], &[]);
            assert!(matches!(progress, Progress::Failed(_)), "{prefix} bytes");
        }
        let mut flipped = answer.to_vec();
        for place in 0..answer.len() {
            for bit in 0..8 {
                flipped[place] ^= 1 << bit;
                run(script, &flipped, &[place]);
                flipped[place] ^= 1 << bit;
            }
        }
    }

    /// Why an answer fails.
    pub(crate) fn failure(script: &Script, answer: &[u8]) -> String {
        match run(script, answer, &[]).0 {
            Progress::Failed(why) => why,
            other => panic!("{} {other:?}", answer.escape_ascii()),
        }
    }

    #[test]
    fn an_answer_without_an_end_fails_at_its_limit() {
        let (mut dialogue, _) = Dialogue::begin(&Script::Redis, b"");
        let mut received = 0;
        let progress = loop {
            let progress = dialogue.on_receive(&[b'a'; 1000]);
            if progress != Progress::More {
                break progress;
            }
            received += 1000;
            assert!(received <= ANSWER_BYTES_MAX);
        };
        assert!(matches!(progress, Progress::Failed(_)), "{progress:?}");
    }

    #[test]
    fn an_agent_is_heard_however_its_line_comes() {
        let script = Script::Agent((*b"web\n").into());
        passes_however_it_comes(&script, b"up 50%\r\nmore", 1);
        assert_eq!(run(&script, b"drain", &[2]).1, b"web\n");
        assert!(failure(&script, b"").contains("without an answer"));
        assert!(failure(&script, b"HTTP/1.1 400 Bad Request\r\n").contains("HTTP/1.1"));
        let (mut dialogue, _) = Dialogue::begin(&script, b"");
        assert_eq!(dialogue.report(), None);
        assert_eq!(dialogue.on_receive(b"7% maint\n"), Progress::Passed);
        let percent = dialogue.report().and_then(|report| report.weight_percent);
        assert_eq!(percent, Some(7));
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(answer: Vec<u8>, user in "[a-z]{1,5}") {
            let scripts = [
                Script::Redis,
                Script::Agent((*b"").into()),
                Script::Postgres { user: user.as_str().into() },
                Script::Mysql { user: user.as_str().into() },
                Script::Http(crate::http::tests::script(None).into()),
                Script::Http(crate::http::tests::script(Some(crate::Pattern::bytes(*b"x"))).into()),
            ];
            for script in scripts {
                run(&script, &answer, &[answer.len() / 2]);
            }
        }
    }
}
