//! Every key of the configuration, with its type, default, limits and documentation.
//!
//! The readers ask for a key by its name and get its default and limits from here; the reference (`docs/configuration.md`)
//! and the JSON schema are made of it, and so is the advice about a key that is unknown where it is written.

pub(crate) mod home;
pub(crate) mod key;
pub(crate) mod keys;
mod limits;
mod reference;
mod schema;
mod shown;
pub(crate) mod syntax;
#[cfg(test)]
mod tests;

pub use reference::reference;
pub use schema::schema;
