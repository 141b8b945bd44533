//! Traefik's files: routers and services of TCP in the dynamic one, entry points in the static one, each in YAML or TOML.

mod entry;
mod expression;
mod health;
mod router;
mod rule;
mod service;
mod target;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use self::router::Router;
use self::service::Services;
use super::duration;
use super::input::Surroundings;
use super::names::Names;
use super::note::Notes;
use super::plan::Plan;
use super::tree::{Node, Unreadable, View, toml, yaml};

/// Keys of the static file that mean nothing for forwarding.
const SILENT: [&str; 9] = [
    "global",
    "api",
    "log",
    "ping",
    "certificatesResolvers",
    "experimental",
    "hostResolver",
    "core",
    "serversTransport",
];

/// Keys that mean nothing here wherever they stand: of HTTP, of TLS that is ended, and of how files are read.
const NAMES: [&str; 11] = [
    "idleTimeout",
    "writeTimeout",
    "keepAliveMaxTime",
    "keepAliveMaxRequests",
    "certResolver",
    "domains",
    "options",
    "filename",
    "directory",
    "watch",
    "debugLogGeneratedTemplate",
];

/// The plan of Traefik's files. A static file leads to the dynamic ones that it names.
pub(super) fn read(
    texts: &[(&str, &str)],
    surroundings: &dyn Surroundings,
) -> Result<Plan, String> {
    let mut documents = Vec::new();
    for (name, text) in texts {
        documents.push((Rc::from(*name), document(name, text, surroundings)?));
    }
    let has_routers =
        |(_, node): &(Rc<str>, Node)| View::new(&"".into(), node).view("tcp").is_some();
    if !documents.iter().any(has_routers) {
        for (name, text) in named(&documents, surroundings)? {
            let node = document(&name, &text, surroundings)?;
            documents.push((Rc::from(name), node));
        }
    }
    let views: Vec<_> = documents
        .iter()
        .map(|(file, node)| View::new(file, node))
        .collect();
    let mut plan = Plan::default();
    let mut services = Services::default();
    let mut middlewares = Vec::new();
    let mut entries = Vec::new();
    for view in &views {
        top_level(view, &mut plan);
        entries.extend(
            view.view("entryPoints")
                .map_or_else(Vec::new, |view| view.entries()),
        );
        if let Some(defaults) = view.view("tcpServersTransport") {
            services.defaults = Some(defaults);
        }
        if let Some(tcp) = view.view("tcp") {
            services.add(&tcp);
            middlewares.extend(
                tcp.view("middlewares")
                    .map_or_else(Vec::new, |view| view.entries()),
            );
        }
    }
    let mut routers = Vec::new();
    for (name, view) in views
        .iter()
        .filter_map(|view| view.at(&["tcp", "routers"]))
        .flat_map(|view| view.entries())
    {
        routers.extend(Router::read(
            name,
            &view,
            &middlewares,
            &mut services,
            &mut plan.notes,
        ));
    }
    if views
        .iter()
        .all(|view| view.at(&["tcp", "routers"]).is_none())
    {
        let name = texts.first().map_or("", |(name, _)| name);
        return Err(format!(
            "{name} has no routers of TCP (`tcp.routers`); corelane forwards TCP, not HTTP"
        ));
    }
    listeners(&routers, &entries, &services, &mut plan);
    // Whatever nobody has looked at does something in Traefik that it doesn't do here.
    for value in views.iter().flat_map(|view| view.unread(&NAMES)) {
        plan.notes
            .lose(&value.from(), "corelane has nothing like it");
    }
    for upstream in services.upstreams {
        if plan
            .listeners
            .iter()
            .any(|listener| listener.leads_to(&upstream.name))
        {
            plan.upstreams.push(upstream);
        }
    }
    Ok(plan)
}

fn listeners(
    routers: &[Router],
    entries: &[(&str, View<'_>)],
    services: &Services<'_>,
    plan: &mut Plan,
) {
    let mut names = Names::default();
    let mut found: Vec<(String, Option<&View<'_>>)> = entries
        .iter()
        .map(|(name, view)| ((*name).to_owned(), Some(view)))
        .collect();
    for router in routers {
        for entry in router.entries() {
            if !found.iter().any(|(name, _)| name == entry) {
                found.push((entry.clone(), None));
            }
        }
        if router.entries().is_empty() && entries.is_empty() {
            plan.notes.lose(
                &router.from,
                "where it listens stands in the static file; name it as a file, too",
            );
        }
    }
    // Routers without entry points are at all of them, unless some are named as the usual ones.
    let are_named = entries.iter().any(|(_, view)| view.is_true("asDefault"));
    for (name, entry) in &found {
        let is_default = !are_named || entry.is_some_and(|entry| entry.is_true("asDefault"));
        let read = entry::read(
            name,
            *entry,
            is_default,
            routers,
            services,
            &mut names,
            &mut plan.notes,
        );
        if let (None, Some(entry)) = (&read, entry) {
            entry.pass_over();
        }
        plan.listeners.extend(read);
    }
    entry::drain(entries, &mut plan.runtime);
}

fn top_level(view: &View<'_>, plan: &mut Plan) {
    let notes = &mut plan.notes;
    for (key, value) in view.others(&["tcp", "entryPoints", "tcpServersTransport"]) {
        let from = value.from();
        match key {
            "http" | "udp" => notes.lose(&from, "corelane forwards TCP; keep Traefik for this"),
            "tls" => notes.lose(&from, "TLS is not ended here; let the servers end it"),
            "accessLog" => {
                let path = value.text_of("filePath").unwrap_or("stdout");
                plan.access_log.set("path", path, &from);
                if value.text_of("format") == Some("json") {
                    plan.access_log.set("format", "json", &from);
                }
            }
            "metrics" | "tracing" => notes.remark(
                &from,
                "metrics are scraped from the admin server at /metrics",
            ),
            "providers" => {
                for (name, provider) in value.others(&["file", "providersThrottleDuration"]) {
                    notes.lose(
                        &provider.from(),
                        format!(
                            "{name} is not asked; servers come from `[upstreams.NAME.discovery]`"
                        ),
                    );
                }
            }
            key if SILENT
                .iter()
                .any(|silent| super::tree::is_same(silent, key)) => {}
            _ => notes.remark(
                &from,
                "it says nothing about forwarding that corelane would need",
            ),
        }
    }
    if let Some(tcp) = view.view("tcp") {
        lose_others(
            &tcp,
            &["routers", "services", "middlewares", "serversTransports"],
            "corelane has nothing like it",
            notes,
        );
    }
}

/// A file as a tree, with its templates filled in.
fn document(name: &str, text: &str, surroundings: &dyn Surroundings) -> Result<Node, String> {
    let text = filled(name, text, surroundings)?;
    let is_toml = Path::new(name)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let unreadable =
        |kind: &str, Unreadable { line, what }| format!("{name}:{line} is not {kind}: {what}");
    if is_toml {
        return toml(&text).map_err(|error| unreadable("TOML", error));
    }
    let found = yaml(&text);
    match found {
        Ok(node) if !View::new(&"".into(), &node).entries().is_empty() => Ok(node),
        // Standard input has no name that tells.
        found => toml(&text).or_else(|_| found.map_err(|error| unreadable("YAML or TOML", error))),
    }
}

/// The text with `{{ env "NAME" }}` filled in, which is what templates in these files are mostly for.
fn filled(name: &str, text: &str, surroundings: &dyn Surroundings) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled += before;
        let line = 1 + filled.bytes().filter(|&byte| byte == b'\n').count();
        let Some((template, behind)) = after.split_once("}}") else {
            return Err(format!("{name}:{line} has a `{{{{` without `}}}}`"));
        };
        let words: Vec<&str> = template.trim_matches('-').split_whitespace().collect();
        let variable = match words[..] {
            ["env", quoted] => quoted.trim_matches(['"', '`']),
            _ => {
                return Err(format!(
                    "{name}:{line} has a template ({{{{{template}}}}}); only {{{{ env \"NAME\" }}}} is filled in, so fill in the others first"
                ));
            }
        };
        let value = surroundings.variable(variable);
        filled += &value.ok_or_else(|| {
            format!("{name}:{line} wants the variable {variable}, which is not set")
        })?;
        rest = behind;
    }
    filled += rest;
    Ok(filled)
}

/// The dynamic files that the static ones name, with their texts.
fn named(
    documents: &[(Rc<str>, Node)],
    surroundings: &dyn Surroundings,
) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    for (file, node) in documents {
        let by = Path::new(&**file);
        let Some(provider) = View::new(file, node).at(&["providers", "file"]) else {
            continue;
        };
        let mut paths: Vec<PathBuf> = provider
            .text_of("filename")
            .map(PathBuf::from)
            .into_iter()
            .collect();
        if let Some(directory) = provider.text_of("directory") {
            for end in ["toml", "yaml", "yml"] {
                paths.append(&mut surroundings.matches(&format!("{directory}/*.{end}"), by)?);
            }
        }
        for path in paths {
            let input = surroundings.read(&path, by)?;
            let text = input.text()?.to_owned();
            files.push((input.name, text));
        }
    }
    Ok(files)
}

/// A name without the provider that it comes from, as in `app@file`.
fn without_provider(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// A time such as `10s`, `1m30s` or `100ms`; a number alone is of seconds.
fn duration(view: &View<'_>) -> Option<Duration> {
    duration::sum(view.text()?, &[], |unit| {
        Some(match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        })
    })
}

/// Says what of a table is not carried over.
fn lose_others(view: &View<'_>, read: &[&str], why: &str, notes: &mut Notes) {
    for (_, value) in view.others(read) {
        notes.lose(&value.from(), why);
    }
}
