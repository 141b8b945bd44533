//! A bootstrap of Envoy's, in YAML or JSON: listeners with tcp_proxy, and the clusters that they lead to.

mod asked;
mod chain;
mod cluster;
mod endpoints;
mod filters;
mod health;
mod level;
mod listener;
mod order;
mod rbac;
mod values;

use std::collections::HashMap;
use std::rc::Rc;

use self::values::{address, extension, number};
use super::input::Surroundings;
use super::names::Names;
use super::note::Notes;
use super::origin::Origin;
use super::plan::{Plan, Upstream};
use super::tree::{Unreadable, View, yaml};

/// Keys of the top level that mean nothing for forwarding.
const SILENT: [&str; 12] = [
    "node",
    "layered_runtime",
    "stats_config",
    "stats_flush_interval",
    "cluster_manager",
    "hidden_envoy_deprecated_runtime",
    "flags_path",
    "default_socket_interface",
    "application_log_config",
    "use_dns_cache",
    "header_prefix",
    "enable_dispatcher_stats",
];

/// Keys that mean nothing wherever they stand: types, names, and what is only counted or labelled by them.
const NAMES: [&str; 13] = [
    "@type",
    "name",
    "stat_prefix",
    "cluster_name",
    "runtime_key",
    "metadata",
    "filter_metadata",
    "locality",
    "id",
    "category",
    "update_merge_window",
    "shadow_rules_stat_prefix",
    "track_per_rule_stats",
];

/// What is known of a cluster.
enum Known {
    /// The name of its upstream.
    Upstream(String),
    /// Why there is none.
    Lost(String),
}

/// The clusters by their names.
#[derive(Default)]
struct Clusters(HashMap<String, Known>);

impl Clusters {
    /// The upstream of a cluster, or why there is none.
    fn upstream(&self, name: &str) -> Result<&str, String> {
        match self.0.get(name) {
            Some(Known::Upstream(name)) => Ok(name),
            Some(Known::Lost(why)) => Err(format!("its cluster {name:?} is left out: {why}")),
            None => Err(format!("there is no cluster {name:?} in the file")),
        }
    }
}

/// The plan of Envoy's files.
pub(super) fn read(texts: &[(&str, &str)], _: &dyn Surroundings) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let mut names = Names::default();
    for (name, text) in texts {
        let file: Rc<str> = Rc::from(*name);
        let document = yaml(text).map_err(|Unreadable { line, what }| {
            format!("{name}:{line} is neither YAML nor JSON: {what}")
        })?;
        let view = View::new(&file, &document);
        let Some(resources) = view.view("static_resources") else {
            return Err(format!(
                "{name} has no `static_resources`; what a control plane sends is not in the file"
            ));
        };
        top_level(&view, &mut plan);
        resources_of(&resources, &mut names, &mut plan);
        // Whatever nobody has looked at does something in Envoy that it doesn't do here.
        for value in view.unread(&NAMES) {
            plan.notes
                .lose(&value.from(), "corelane has nothing like it");
        }
    }
    Ok(plan)
}

fn top_level(view: &View<'_>, plan: &mut Plan) {
    if let Some(admin) = view.view("admin") {
        match admin
            .view("address")
            .map(|view| (address(&view), view.from()))
        {
            Some((Ok(address), from)) => plan.admin.set("listen", address, &from),
            Some((Err(why), from)) => plan.notes.lose(&from, why),
            None => {}
        }
        for (_, value) in admin.others(&["address"]) {
            let why = "it says nothing about forwarding that corelane would need";
            plan.notes.remark(&value.from(), why);
        }
    }
    for (key, value) in view.others(&["admin", "static_resources"]) {
        let from = value.from();
        match key {
            "dynamic_resources" | "hds_config" | "config_source" => {
                plan.notes.lose(
                    &from,
                    "no control plane is asked; servers come from `[upstreams.NAME.discovery]`",
                );
            }
            "overload_manager" => overload(&value, plan),
            "stats_sinks" | "tracing" => plan.notes.lose(
                &from,
                "metrics are scraped from the admin server at /metrics",
            ),
            key if SILENT.contains(&key) => {}
            _ => plan.notes.remark(
                &from,
                "it says nothing about forwarding that corelane would need",
            ),
        }
    }
}

/// Limits of the whole process.
fn overload(view: &View<'_>, plan: &mut Plan) {
    for monitor in view.items_of("resource_monitors") {
        let (_, config) = extension(&monitor);
        let limit = config.view("max_active_downstream_connections");
        match limit
            .as_ref()
            .and_then(|limit| Some((number(limit)?, limit.from())))
        {
            Some((limit, from)) => plan.runtime.set("max_connections", limit, &from),
            None => {
                monitor.pass_over();
                let why = "nothing is shed by memory here; `max_connections` limits it";
                plan.notes.lose(&monitor.from(), why);
            }
        }
    }
}

fn resources_of(resources: &View<'_>, names: &mut Names, plan: &mut Plan) {
    let listeners = resources.items_of("listeners");
    let hashed: Vec<&str> = listeners.iter().flat_map(chain::hashed).collect();
    let mut clusters = Clusters::default();
    let mut upstreams: Vec<Upstream> = Vec::new();
    for view in resources.items_of("clusters") {
        let name = view.text_of("name").unwrap_or_default();
        let known = match cluster::read(&view, hashed.contains(&name), names, &mut plan.notes) {
            Ok(upstream) => {
                let known = Known::Upstream(upstream.name.clone());
                upstreams.push(upstream);
                known
            }
            Err(why) => {
                view.pass_over();
                Known::Lost(why)
            }
        };
        clusters.0.insert(name.to_owned(), known);
    }
    let mut listener_names = Names::default();
    for view in &listeners {
        match listener::read(view, &clusters, &mut listener_names, plan) {
            Ok(listener) => plan.listeners.push(listener),
            Err(why) => {
                view.pass_over();
                let why = format!("the listener is left out: {why}");
                plan.notes.lose(&view.from(), why);
            }
        }
    }
    for upstream in upstreams {
        if plan
            .listeners
            .iter()
            .any(|listener| listener.leads_to(&upstream.name))
        {
            plan.upstreams.push(upstream);
        } else {
            plan.notes.remark(
                &upstream.from,
                "no listener that is carried over leads to it, so it is left out",
            );
        }
    }
    for (_, value) in resources.others(&["listeners", "clusters"]) {
        plan.notes.lose(
            &value.from(),
            "secrets and other resources are for TLS and HTTP",
        );
    }
}

/// The first access log in a list of them.
fn access_log(logs: &[View<'_>], plan: &mut Plan) {
    for log in logs {
        let (kind, config) = extension(log);
        let from = log.from();
        if let Some(filter) = log.view("filter") {
            plan.notes
                .lose(&filter.from(), "all connections are logged");
            filter.pass_over();
        }
        let path = match kind.as_str() {
            "FileAccessLog" => config.text_of("path").unwrap_or_default(),
            "StdoutAccessLog" => "stdout",
            _ => {
                plan.notes
                    .lose(&from, "the log goes to a file or to stdout");
                log.pass_over();
                continue;
            }
        };
        let is_json = config.at(&["log_format", "json_format"]).is_some();
        let format = config.at(&["log_format", "text_format_source", "inline_string"]);
        let format = format.or_else(|| config.at(&["log_format", "text_format"]));
        let path = match path {
            "/dev/stdout" => "stdout",
            path => path,
        };
        match plan.access_log.get("path") {
            Some(first) if *first != path.into() => {
                plan.notes.lose(&from, "there is one access log for all; `{listener}` in its template tells them apart");
                log.pass_over();
                continue;
            }
            Some(_) => {
                log.pass_over();
                continue;
            }
            None => plan.access_log.set("path", path, &from),
        }
        match format {
            _ if is_json => {
                plan.access_log.set("format", "json", &from);
                log.pass_over();
            }
            Some(format) => plan.notes.lose(
                &format.from(),
                "write a `template` of corelane's own fields",
            ),
            None => {}
        }
    }
}

/// Says what of a table is not carried over.
fn lose_others(view: &View<'_>, read: &[&str], silent: &[&str], why: &str, notes: &mut Notes) {
    for (key, value) in view.others(read) {
        if !silent.contains(&key)
            && !silent
                .iter()
                .any(|silent| super::tree::is_same(silent, key))
        {
            let from: Origin = value.from();
            notes.lose(&from, why);
        }
    }
}
