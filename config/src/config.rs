//! The configuration as a whole.

use crate::addresses::claims::Claims;
use crate::addresses::loops::{self, Machine};
use crate::addresses::{
    announced, unreachable_routes, unused_balance, unused_keys, unused_options, unused_servers,
};
use crate::problems::findings::Findings;
use crate::raw::node::{Node, Place};
use crate::raw::section::Section;
use crate::sections::access_log::{self, AccessLog};
use crate::sections::admin::{self, Admin};
use crate::sections::balance::{self, Balance, HashOn};
use crate::sections::listener::{self, Listener};
use crate::sections::names::{Names, UpstreamIndex};
use crate::sections::runtime::{self, Runtime};
use crate::sections::upstream::{self, Upstream};

/// The most listeners of a configuration; each is a task queue a core and a value of a label of
/// metrics.
pub const LISTENERS_MAX: usize = 256;
/// The most upstreams of a configuration.
pub const UPSTREAMS_MAX: usize = 1024;

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[runtime]`: the scheduler and its cores.
    pub runtime: Runtime,
    /// `[admin]`: metrics and health.
    pub admin: Admin,
    /// `[access_log]`: a line for each connection; absent if it isn't written.
    pub access_log: Option<AccessLog>,
    /// `[listeners.NAME]`: from 1 to [`LISTENERS_MAX`], in the order of the file.
    pub listeners: Vec<Listener>,
    /// `[upstreams.NAME]`: from 1 to [`UPSTREAMS_MAX`], in the order of the file.
    pub upstreams: Vec<Upstream>,
}

impl Config {
    /// The upstream that a listener of this configuration names.
    ///
    /// # Panics
    ///
    /// If the index is of another configuration, or `upstreams` was made shorter.
    pub fn upstream(&self, index: UpstreamIndex) -> &Upstream {
        &self.upstreams[index.get()]
    }

    /// Whether a ClientHello is heard of a listener's clients: it says so, or a server is chosen by what the hello says.
    ///
    /// # Panics
    ///
    /// If the listener is of another configuration.
    pub fn hears_hello(&self, listener: &Listener) -> bool {
        let goes_by_names = |index: &UpstreamIndex| {
            let next = |index: &UpstreamIndex| self.upstream(*index).balancing.fallback;
            let mut all = std::iter::successors(Some(*index), next);
            all.any(|index| {
                let balancing = &self.upstream(index).balancing;
                balancing.balance == Balance::SourceHash && balancing.hash_on == HashOn::Sni
            })
        };
        listener.hears_hello() || listener.upstreams().iter().any(goes_by_names)
    }
}

/// Reads the whole document. The result is a configuration only if no problem was found.
pub(crate) fn read(
    root: &mut Section<'_>,
    machine: Machine<'_>,
    errors: &Findings,
    warnings: &Findings,
) -> Config {
    // What it included is merged into the document.
    let _ = root.node("include");
    let mut claims = Claims::default();
    let runtime_place = root.node("runtime").map(|node| node.place());
    let runtime = root.section("runtime", runtime::read);
    if let Some(place) = runtime_place {
        unused_keys::of_runtime(&runtime, &place, warnings);
    }
    let admin = root.section("admin", |section| admin::read(section, &mut claims));
    let access_log = access_log::read(root);

    let listener_nodes = root.named("listeners");
    let upstream_nodes = root.named("upstreams");
    let names = Names::new(upstream_nodes.iter().map(|(name, _)| *name).collect());
    let read = |(name, node): (&str, Node<'_>)| {
        let place = node.place();
        let (listener, written) =
            node.section(|section| listener::read(name, section, &names, &mut claims))?;
        unused_options::of_listener(&listener, &place, warnings);
        announced::warn(&listener, &place, warnings);
        unreachable_routes::warn(&listener, &written.routes, warnings);
        unused_keys::of_rates(&listener, &place, warnings);
        Some((listener, (place, written.for_others)))
    };
    let listeners = listener_nodes.into_iter().filter_map(read);
    let (listeners, listener_places): (Vec<Listener>, Vec<_>) = listeners.unzip();

    let mut upstreams = Vec::with_capacity(upstream_nodes.len());
    let (mut routes, mut fallbacks) = (Vec::new(), Vec::new());
    let mut places = Vec::with_capacity(upstream_nodes.len());
    for (index, (name, node)) in upstream_nodes.into_iter().enumerate() {
        let place = node.place();
        let upstream = node.section(|section| {
            upstream::read(name, section, index, &names, &mut routes, &mut fallbacks)
        });
        unused_options::of_upstream(&upstream, &place, errors, warnings);
        unused_balance::of_upstream(&upstream, &place, warnings);
        unused_servers::warn(&upstream, &place, warnings);
        upstreams.push(upstream);
        places.push(place);
    }
    balance::report_fallbacks(&fallbacks, &names, errors);
    // Each may have been the fallback of another one.
    for (index, Place { at, path }) in places.into_iter().enumerate() {
        if names.is_unused(index) {
            let name = names.name(index);
            let message = format!(
                "no listener uses [{path}]; remove it, or write upstream = {name:?} in a listener"
            );
            warnings.add(at, Some(path), message);
        }
    }
    loops::report(&listeners, &routes, machine, errors, warnings);
    let config = Config {
        runtime,
        admin,
        access_log,
        listeners,
        upstreams,
    };
    // What is heard depends on the upstreams. Without them there is a problem already.
    if errors.is_empty() {
        for (listener, (place, written)) in config.listeners.iter().zip(listener_places) {
            let hears_hello = config.hears_hello(listener);
            unused_keys::for_others(listener, hears_hello, &written, &place, warnings);
        }
    }
    config
}
