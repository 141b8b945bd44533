//! What backends are called as upstreams.

use std::collections::HashMap;

use super::proxy::Proxy;

/// The names that backends have as upstreams.
pub(super) type Backends<'p> = HashMap<&'p str, Backend<'p>>;

/// A backend that is carried over.
#[derive(Debug)]
pub(super) struct Backend<'p> {
    /// What its upstream is called.
    pub(super) name: String,
    pub(super) proxy: &'p Proxy,
}
