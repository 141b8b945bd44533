//! Paths of keys.

use crate::problems::refusal::quoted;

/// The longest name of a listener or upstream, in bytes. Names become labels of metrics.
pub const NAME_BYTES_MAX: usize = 64;

/// The path of a key in a table.
pub(crate) fn join(parent: &str, key: &str) -> String {
    match parent {
        "" => segment(key),
        parent => format!("{parent}.{}", segment(key)),
    }
}

/// A key as it would be written in TOML: in quotes unless it is bare.
pub(crate) fn segment(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&key.len()) && key.bytes().all(bare) {
        key.to_owned()
    } else {
        quoted(key)
    }
}
