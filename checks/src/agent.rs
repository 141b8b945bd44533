//! What an agent beside a server says of it: HAProxy's agent-check text protocol.
//!
//! An agent answers each connection with one line of words, such as `up 75%` or `drain # maintenance`, and closes it.

/// The most bytes of an agent's line. What is beyond them is not read.
pub const LINE_BYTES_MAX: usize = 1024;

/// The highest share of the configured weight, in percent.
pub const WEIGHT_PERCENT_MAX: u16 = 256;

/// What an agent says of its server. What it doesn't say stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `75%`: the share of the configured weight, up to [`WEIGHT_PERCENT_MAX`].
    pub weight_percent: Option<u16>,
    /// `up`, or `down`, `failed`, `stopped`.
    pub is_up: Option<bool>,
    /// `drain` and `maint`, or `ready`.
    pub takes_new: Option<bool>,
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
    let mut report = Report::default();
    for word in words.split(|&byte| matches!(byte, b' ' | b'\t' | b',')) {
        let word = word.to_ascii_lowercase();
        match &word[..] {
            b"up" => report.is_up = Some(true),
            b"down" | b"failed" | b"stopped" => report.is_up = Some(false),
            b"ready" => report.takes_new = Some(true),
            b"drain" | b"maint" => report.takes_new = Some(false),
            [digits @ .., b'%'] => {
                report.weight_percent = percent(digits).or(report.weight_percent)
            }
            // `maxconn:N`, and what later versions say.
            _ => {}
        }
    }
    Some(report)
}

fn percent(digits: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let percent: u32 = digits.parse().ok()?;
    Some(percent.min(WEIGHT_PERCENT_MAX.into()) as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: Report = Report {
        weight_percent: None,
        is_up: None,
        takes_new: None,
    };

    #[test]
    fn each_word_says_one_thing_and_the_last_one_counts() {
        for (line, expected) in [
            (
                "up\n",
                Report {
                    is_up: Some(true),
                    ..NOTHING
                },
            ),
            (
                "down # no disk\n",
                Report {
                    is_up: Some(false),
                    ..NOTHING
                },
            ),
            (
                "Stopped\r\n",
                Report {
                    is_up: Some(false),
                    ..NOTHING
                },
            ),
            (
                "failed,50%\n",
                Report {
                    is_up: Some(false),
                    weight_percent: Some(50),
                    ..NOTHING
                },
            ),
            (
                "ready\tup 100%\n",
                Report {
                    is_up: Some(true),
                    weight_percent: Some(100),
                    takes_new: Some(true),
                },
            ),
            (
                "drain\n",
                Report {
                    takes_new: Some(false),
                    ..NOTHING
                },
            ),
            (
                "maint\n",
                Report {
                    takes_new: Some(false),
                    ..NOTHING
                },
            ),
            (
                "up down\n",
                Report {
                    is_up: Some(false),
                    ..NOTHING
                },
            ),
            (
                "0%\n",
                Report {
                    weight_percent: Some(0),
                    ..NOTHING
                },
            ),
            (
                "9999999999% 300%\n",
                Report {
                    weight_percent: Some(256),
                    ..NOTHING
                },
            ),
            ("maxconn:30 -1% % 5.5% upward # drain\n", NOTHING),
            ("\nup\n", NOTHING),
            ("", NOTHING),
        ] {
            assert_eq!(report(line.as_bytes(), true), Some(expected), "{line}");
        }
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
