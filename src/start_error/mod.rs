//! Errors that keep the proxy from starting: what failed, why, and what to do, which depends on the errno.

mod address;
mod path;
mod resource;

use std::io;

pub(crate) use self::address::{Asker, cannot_listen};
pub(crate) use self::path::{cannot_read, cannot_write};
pub(crate) use self::resource::{cannot_start, with_advice};

/// Puts a sentence before an error that depends on the error.
pub(crate) trait Explain<T> {
    /// As anyhow's `with_context`, for what `text` makes of the error.
    fn explain(self, text: impl FnOnce(&io::Error) -> String) -> anyhow::Result<T>;
}

impl<T> Explain<T> for io::Result<T> {
    fn explain(self, text: impl FnOnce(&io::Error) -> String) -> anyhow::Result<T> {
        self.map_err(|error| {
            let text = text(&error);
            anyhow::Error::new(error).context(text)
        })
    }
}
