//! The raw configuration: the document as it is written, where every key and value knows its path and place.

pub(crate) mod choice;
pub(crate) mod node;
pub(crate) mod read;
pub(crate) mod section;
