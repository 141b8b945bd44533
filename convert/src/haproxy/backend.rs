//! What backends are called as upstreams.

use std::collections::HashMap;

use super::super::plan::{Plan, Route, Said};
use super::super::value::Value;
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

/// The names of the upstreams that a listener has, its default first.
pub(super) struct Upstreams(Vec<String>);

impl Upstreams {
    pub(super) fn of(default: &Option<Said<String>>, routes: &[Route]) -> Self {
        let of_routes = routes
            .iter()
            .filter_map(|route| match route.keys.get("upstream") {
                Some(Value::Text(name)) => Some(name.clone()),
                _ => None,
            });
        Self(
            default
                .iter()
                .map(|said| said.value.clone())
                .chain(of_routes)
                .collect(),
        )
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether one of them chooses its servers by the name in a ClientHello.
    pub(super) fn hash_names(&self, plan: &Plan) -> bool {
        let upstreams = plan.upstreams.iter();
        let mut its = upstreams.filter(|upstream| self.0.contains(&upstream.name));
        its.any(|upstream| upstream.keys.get("hash_on").is_some())
    }
}
