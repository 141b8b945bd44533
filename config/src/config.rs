//! The configuration as a whole.

use crate::addresses::claims::Claims;
use crate::addresses::loops::{self, Machine};
use crate::addresses::unused_options;
use crate::problems::findings::Findings;
use crate::raw::node::Node;
use crate::raw::section::Section;
use crate::sections::access_log::{self, AccessLog};
use crate::sections::admin::{self, Admin};
use crate::sections::listener::{self, Listener};
use crate::sections::runtime::{self, Runtime};
use crate::sections::upstream::{self, Names, Upstream, UpstreamIndex};

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
    let runtime = root.section("runtime", runtime::read);
    let admin = root.section("admin", |section| admin::read(section, &mut claims));
    let access_log = access_log::read(root);

    let listener_nodes = root.named("listeners");
    let upstream_nodes = root.named("upstreams");
    let names = Names::new(upstream_nodes.iter().map(|(name, _)| *name).collect());
    let read = |(name, node): (&str, Node<'_>)| {
        let place = node.place();
        let listener =
            node.section(|section| listener::read(name, section, &names, &mut claims))?;
        unused_options::of_listener(&listener, &place, warnings);
        Some(listener)
    };
    let listeners: Vec<Listener> = listener_nodes.into_iter().filter_map(read).collect();

    let mut upstreams = Vec::with_capacity(upstream_nodes.len());
    let mut routes = Vec::new();
    for (index, (name, node)) in upstream_nodes.into_iter().enumerate() {
        if names.is_unused(index) {
            let path = node.path();
            let message = format!(
                "no listener uses [{path}]; remove it, or write upstream = {name:?} in a listener"
            );
            node.report_to(warnings, message);
        }
        let place = node.place();
        let upstream = node.section(|section| upstream::read(name, section, index, &mut routes));
        unused_options::of_upstream(&upstream, &place, errors, warnings);
        upstreams.push(upstream);
    }
    loops::report(&listeners, &routes, machine, errors, warnings);
    Config {
        runtime,
        admin,
        access_log,
        listeners,
        upstreams,
    }
}
