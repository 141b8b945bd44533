//! A request of HTTP and its answer.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::pattern::Pattern;
use crate::progress::{Heard, Progress};
use crate::reply::shown;

/// The most fields in the head of an answer.
const FIELDS_MAX: usize = 64;

/// A request, and what its answer must be.
#[derive(Clone, Debug)]
pub struct HttpScript {
    /// The method, a token.
    pub method: String,
    /// The target: a path with or without a query.
    pub path: String,
    /// The value of `Host`.
    pub host: String,
    /// More lines of the head, without their ends.
    pub headers: Vec<String>,
    /// Statuses that pass.
    pub status: Vec<RangeInclusive<u16>>,
    /// What must be in the body; none: whatever it is.
    pub body: Option<Pattern>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Http {
    script: Arc<HttpScript>,
}

/// The name of a line of a head.
fn name(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// How long a body is.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

/// As much of a body as has come.
struct Body {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Http {
    pub(crate) fn begin(script: Arc<HttpScript>, output: &mut Vec<u8>) -> Self {
        let HttpScript {
            method, path, host, ..
        } = &*script;
        let host = format!("Host: {host}");
        let own = [
            &*host,
            "User-Agent: corelane",
            "Accept: */*",
            "Connection: close",
        ];
        let is_written = |line: &&str| {
            script
                .headers
                .iter()
                .any(|its| name(its).eq_ignore_ascii_case(name(line)))
        };
        let own = own.into_iter().filter(|line| !is_written(line));
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        for line in own.chain(script.headers.iter().map(String::as_str)) {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        output.extend_from_slice(head.as_bytes());
        Self { script }
    }

    pub(crate) fn step(&mut self, heard: Heard<'_>) -> Progress {
        let mut rest = heard.bytes;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut answer = httparse::Response::new(&mut fields);
            let (status, head_len) = match answer.parse(rest) {
                Ok(httparse::Status::Partial) => return Progress::More,
                Ok(httparse::Status::Complete(len)) => (answer.code.unwrap_or_default(), len),
                Err(error) => {
                    let begin = shown(rest);
                    return Progress::Failed(format!("the answer {begin} is not HTTP's: {error}"));
                }
            };
            let body = &rest[head_len..];
            // An interim answer is followed by another one. 101 changes the protocol.
            if (100..200).contains(&status) && status != 101 {
                rest = body;
                continue;
            }
            if !self
                .script
                .status
                .iter()
                .any(|range| range.contains(&status))
            {
                let reason = answer.reason.filter(|reason| !reason.is_empty());
                let reason = reason.map(|reason| format!(" {}", reason.escape_debug()));
                return Progress::Failed(format!("status {status}{}", reason.unwrap_or_default()));
            }
            let Some(wanted) = &self.script.body else {
                return Progress::Passed;
            };
            let has_none = self.script.method == "HEAD" || matches!(status, 204 | 304);
            let framing = match has_none {
                true => Ok(Framing::Length(0)),
                false => framing(answer.headers),
            };
            let read = framing.and_then(|framing| read(body, framing, heard.has_ended));
            return match read {
                Err(why) => Progress::Failed(why),
                Ok(body) if wanted.find_end(&body.bytes, 0).is_some() => Progress::Passed,
                Ok(body) if body.is_whole => {
                    let begin = shown(&body.bytes);
                    Progress::Failed(format!("the body {begin} has not what is expected"))
                }
                Ok(_) => Progress::More,
            };
        }
    }
}

fn framing(fields: &[httparse::Header<'_>]) -> Result<Framing, String> {
    let value = |name: &str| {
        let found = fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| field.value.trim_ascii())
    };
    if let Some(coding) = value("transfer-encoding") {
        return if coding.eq_ignore_ascii_case(b"chunked") {
            Ok(Framing::Chunked)
        } else {
            Err(format!(
                "the transfer coding {} is not known",
                shown(coding)
            ))
        };
    }
    let Some(len) = value("content-length") else {
        return Ok(Framing::ToTheEnd);
    };
    let digits = std::str::from_utf8(len).ok();
    let len = digits.and_then(|digits| digits.parse().ok());
    len.map(Framing::Length)
        .ok_or_else(|| "the length of the body is no number".to_owned())
}

fn read(bytes: &[u8], framing: Framing, has_ended: bool) -> Result<Body, String> {
    match framing {
        Framing::Length(len) => Ok(Body {
            bytes: bytes[..bytes.len().min(len)].into(),
            is_whole: bytes.len() >= len || has_ended,
        }),
        Framing::ToTheEnd => Ok(Body {
            bytes: bytes.into(),
            is_whole: has_ended,
        }),
        Framing::Chunked => chunks(bytes, has_ended),
    }
}

fn chunks(mut rest: &[u8], has_ended: bool) -> Result<Body, String> {
    let mut body = Body {
        bytes: Vec::new(),
        is_whole: has_ended,
    };
    loop {
        let (head_len, len) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(body),
            Err(_) => return Err("the length of a chunk of the body is no number".to_owned()),
        };
        if len == 0 {
            body.is_whole = true;
            return Ok(body);
        }
        let chunk = &rest[head_len..];
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let Some(whole) = chunk.get(..len) else {
            body.bytes.extend_from_slice(chunk);
            return Ok(body);
        };
        body.bytes.extend_from_slice(whole);
        let after = &chunk[len..];
        let end = after.len().min(2);
        if after[..end] != b"\r\n"[..end] {
            return Err("a chunk of the body has no end".to_owned());
        }
        rest = &after[end..];
        if end < 2 {
            return Ok(body);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dialogue::Script;
    use crate::dialogue::tests::{failure, passes_however_it_comes, run};

    pub(crate) fn script(body: Option<Pattern>) -> HttpScript {
        HttpScript {
            method: "GET".to_owned(),
            path: "/primary".to_owned(),
            host: "db".to_owned(),
            headers: vec!["X-Check: 1".to_owned()],
            status: vec![200..=200, 300..=399],
            body,
        }
    }

    fn http(body: Option<&str>) -> Script {
        Script::Http(script(body.map(|text| Pattern::bytes(text.as_bytes()))).into())
    }

    #[test]
    fn the_request_says_what_is_configured() {
        let (_, sent) = run(&http(None), b"", &[]);
        let sent = String::from_utf8(sent).expect("text");
        assert!(
            sent.starts_with("GET /primary HTTP/1.1\r\nHost: db\r\n"),
            "{sent}"
        );
        assert!(
            sent.ends_with("\r\nConnection: close\r\nX-Check: 1\r\n\r\n"),
            "{sent}"
        );
    }

    #[test]
    fn lines_of_the_head_that_are_configured_stand_once() {
        let mut written = script(None);
        written.headers = ["user-agent: hap", "Host: a", "X: 1"]
            .map(str::to_owned)
            .into();
        let (_, sent) = run(&Script::Http(written.into()), b"", &[]);
        let sent = String::from_utf8(sent).expect("text");
        let expected = "GET /primary HTTP/1.1\r\nAccept: */*\r\nConnection: close\r\nuser-agent: hap\r\nHost: a\r\nX: 1\r\n\r\n";
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_status_of_the_set_passes_as_soon_as_the_head_is_whole() {
        for answer in [
            "HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6\r\n\r\n",
            "HTTP/1.1 302 Found\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200\r\n\r\n",
        ] {
            passes_however_it_comes(&http(None), answer.as_bytes(), answer.len());
        }
    }

    #[test]
    fn any_other_status_fails_and_is_named() {
        let standby = b"HTTP/1.0 503 Service Unavailable\r\nServer: BaseHTTP/0.6\r\n\r\n{}";
        assert_eq!(
            failure(&http(None), standby),
            "status 503 Service Unavailable"
        );
        assert_eq!(
            failure(&http(None), b"HTTP/1.1 101 Switching\r\n\r\n"),
            "status 101 Switching"
        );
        let other = failure(&http(None), b"-ERR unknown command\r\n\r\n");
        assert!(other.contains("is not HTTP's"), "{other}");
        let fields: String = (0..=FIELDS_MAX)
            .map(|field| format!("a{field}: b\r\n"))
            .collect();
        failure(
            &http(None),
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(),
        );
    }

    #[test]
    fn a_body_is_searched_however_it_is_framed() {
        for (answer, needed) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well",
                11,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n4\r\nis w\r\n3\r\nell\r\n0\r\n\r\n",
                10,
            ),
            ("HTTP/1.0 200 OK\r\n\r\nis well", 7),
        ] {
            let head = answer.find("\r\n\r\n").expect("a head") + 4;
            passes_however_it_comes(&http(Some("is well")), answer.as_bytes(), head + needed);
        }
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nis well",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nis \r\n0\r\n\r\n4\r\nwell\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nis !!4\r\nwell\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nis well",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nis well",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\nis well",
        ] {
            failure(&http(Some("is well")), answer.as_bytes());
        }
    }

    #[test]
    fn a_body_that_comes_late_is_waited_for_and_one_that_is_over_is_not() {
        let (mut dialogue, _) = crate::Dialogue::begin(&http(Some("well")), b"");
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nis";
        assert_eq!(dialogue.on_receive(head), Progress::More);
        assert!(matches!(dialogue.on_receive(b" weak"), Progress::Failed(_)));
    }
}
