//! What servers said, for people.

/// The most bytes of an answer that are repeated in a message.
const SHOWN_BYTES_MAX: usize = 64;

/// An answer in quotes, on one line, and cut if it is long.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let dots = if cut.len() < bytes.len() { "…" } else { "" };
    format!("\"{}\"{dots}", cut.escape_ascii())
}

/// The first line of an answer without its end; none if the end has not come. At the end of the stream the rest is a line.
pub(crate) fn line(bytes: &[u8], has_ended: bool) -> Option<&[u8]> {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => Some(bytes[..end].trim_ascii_end()),
        None if has_ended => Some(bytes.trim_ascii_end()),
        None => None,
    }
}
