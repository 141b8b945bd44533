//! What an agent beside a server says of it: HAProxy's agent-check text protocol.
//!
//! An agent answers each connection with one line of words, such as `up 75%` or `drain # maintenance`, and closes it.

/// The most bytes of an agent's line. What is beyond them is not read.
pub const LINE_BYTES_MAX: usize = 1024;

/// The most characters of a line that people are shown.
pub const SHOWN_CHARS_MAX: usize = 120;

/// The highest share of the configured weight, in percent: it makes the highest weight of the lowest one.
pub const WEIGHT_PERCENT_MAX: u16 = 25_600;

/// What an agent says of its server. What it doesn't say stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `75%`: the share of the configured weight, up to [`WEIGHT_PERCENT_MAX`].
    pub weight_percent: Option<u16>,
    /// `maxconn:30`: connections at a time; 0: as many as come.
    pub max_connections: Option<u64>,
    /// `up`, or `down`, `fail`, `failed`, `stopped`.
    pub is_up: Option<bool>,
    /// `ready`, `drain`, `maint`.
    pub admission: Option<Admission>,
    /// The line, for people: printable, and at most [`SHOWN_CHARS_MAX`] characters of it.
    pub line: String,
}

/// Whether a server is to get new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// `ready`: it is.
    Ready,
    /// `drain`: it isn't, and those that it has may finish.
    Drain,
    /// `maint`: it is taken out of service.
    Maintenance,
}

impl Report {
    /// Whether it says nothing that is understood.
    pub fn is_empty(&self) -> bool {
        let Self {
            weight_percent,
            max_connections,
            is_up,
            admission,
            line: _,
        } = self;
        weight_percent.is_none()
            && max_connections.is_none()
            && is_up.is_none()
            && admission.is_none()
    }
}

/// Reads an agent's line; none if its end has not come yet.
pub fn report(bytes: &[u8], has_ended: bool) -> Option<Report> {
    let cut = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let is_over = has_ended || cut.len() < bytes.len();
    let end = cut
        .iter()
        .position(|byte| matches!(byte, b'\n' | b'\r' | 0));
    let line = match end {
        Some(end) => &cut[..end],
        None if is_over => cut,
        None => return None,
    };
    // A remark for people begins with a hash.
    let words = line.split(|&byte| byte == b'#').next().unwrap_or_default();
    let mut report = Report {
        line: shown(line),
        ..Report::default()
    };
    for word in words.split(|&byte| matches!(byte, b' ' | b'\t' | b',')) {
        let word = word.to_ascii_lowercase();
        match &word[..] {
            b"up" => report.is_up = Some(true),
            b"down" | b"fail" | b"failed" | b"stopped" => report.is_up = Some(false),
            b"ready" => report.admission = Some(Admission::Ready),
            b"drain" => report.admission = Some(Admission::Drain),
            b"maint" => report.admission = Some(Admission::Maintenance),
            [digits @ .., b'%'] => {
                let percent = number(digits).map(|percent| percent.min(WEIGHT_PERCENT_MAX.into()));
                let percent = percent.and_then(|percent| u16::try_from(percent).ok());
                report.weight_percent = percent.or(report.weight_percent);
            }
            word => {
                // What later versions say is left alone.
                let max = word.strip_prefix(b"maxconn:").and_then(number);
                report.max_connections = max.or(report.max_connections);
            }
        }
    }
    Some(report)
}

/// A number in decimal digits, and nothing else; the highest that there is where it is higher.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |number: u64, digit: &u8| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(digits.iter().fold(0, add))
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let printable = text.trim().chars().map(|char| match char {
        char if char.is_control() => ' ',
        char => char,
    });
    printable.take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(is_up: bool) -> Report {
        Report {
            is_up: Some(is_up),
            ..Report::default()
        }
    }

    fn weight(percent: u16) -> Report {
        Report {
            weight_percent: Some(percent),
            ..Report::default()
        }
    }

    fn max(connections: u64) -> Report {
        Report {
            max_connections: Some(connections),
            ..Report::default()
        }
    }

    fn admission(admission: Admission) -> Report {
        Report {
            admission: Some(admission),
            ..Report::default()
        }
    }

    #[test]
    fn each_word_says_one_thing_and_the_last_one_counts() {
        for (line, expected) in [
            ("up\n", state(true)),
            ("down # no disk\n", state(false)),
            ("fail\n", state(false)),
            ("Stopped\r\n", state(false)),
            (
                "failed,50%\n",
                Report {
                    weight_percent: Some(50),
                    ..state(false)
                },
            ),
            (
                "ready\tup 100% maxconn:30\n",
                Report {
                    is_up: Some(true),
                    weight_percent: Some(100),
                    max_connections: Some(30),
                    admission: Some(Admission::Ready),
                    line: String::new(),
                },
            ),
            ("drain\n", admission(Admission::Drain)),
            ("maint\n", admission(Admission::Maintenance)),
            ("drain ready\n", admission(Admission::Ready)),
            ("up down\n", state(false)),
            ("0%\n", weight(0)),
            ("300%\n", weight(300)),
            ("99999999999999999999999% \n", weight(WEIGHT_PERCENT_MAX)),
            ("maxconn:0", max(0)),
            ("MAXCONN:7,maxconn:", max(7)),
            ("maxconn:99999999999999999999999", max(u64::MAX)),
            ("maxconn: 3 -1% % 5.5% upward # drain\n", Report::default()),
            ("\nup\n", Report::default()),
            ("", Report::default()),
        ] {
            let mut said = report(line.as_bytes(), true).expect("the line is over");
            assert_eq!(said.is_empty(), expected.is_empty(), "{line}");
            said.line.clear();
            assert_eq!(said, expected, "{line}");
        }
    }

    #[test]
    fn people_are_shown_what_can_be_shown_of_the_line() {
        let said = |line: &[u8]| report(line, true).map(|report| report.line);
        assert_eq!(
            said(b" down # no\x1b[31m disk\xff\nup\n").as_deref(),
            Some("down # no [31m disk\u{fffd}")
        );
        let long = said(&[b'a'; 2000]).expect("a line");
        assert_eq!(long.len(), SHOWN_CHARS_MAX);
    }

    #[test]
    fn a_line_is_read_when_its_end_has_come() {
        let line = b"up 5%\n";
        for cut in 0..line.len() {
            assert_eq!(report(&line[..cut], false), None, "{cut}");
        }
        assert!(report(line, false).is_some());
        assert!(report(&[b' '; LINE_BYTES_MAX + 1], false).is_some());
    }

    proptest! {
        #[test]
        fn no_line_panics(bytes: Vec<u8>, has_ended: bool) {
            report(&bytes, has_ended);
        }
    }
}
