//! Lines of text with CRLF at their end.

use super::{Bad, LINE_BYTES_MAX};

/// The first line without its CRLF, and how many bytes it has with it; none if its end isn't there yet.
pub(super) fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Bad> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if within.len() == LINE_BYTES_MAX {
            Err(Bad::Line)
        } else {
            Ok(None)
        };
    };
    match within[..end].strip_suffix(b"\r") {
        Some(line) => Ok(Some((line, end + 1))),
        None => Err(Bad::Line),
    }
}

/// The first word of a line, and what follows its space.
pub(super) fn word(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &[]),
    }
}
