//! Proxies of HAProxy's as listeners and upstreams.

use std::collections::HashMap;

use super::super::names::Names;
use super::super::plan::{Listener, Plan, Said, Upstream};
use super::bind;
use super::proxy::Proxy;
use super::section::Line;
use super::server;

/// Adds what the proxies are here.
pub(super) fn carry(proxies: Vec<Proxy>, plan: &mut Plan) {
    let (carried, others): (Vec<_>, Vec<_>) = proxies
        .into_iter()
        .partition(|proxy| proxy.mode.as_ref().is_none_or(|mode| mode.value == "tcp"));
    for proxy in &others {
        let why = "corelane forwards TCP and reads no HTTP; keep this section where it is, or make it `mode tcp`";
        plan.notes.lose(&proxy.from, why);
    }
    let mut names = Names::default();
    let backends = carried.iter().filter(|proxy| proxy.is_backend());
    let backends: HashMap<_, _> = backends
        .map(|proxy| (proxy.name.clone(), names.give(&proxy.name)))
        .collect();
    let mut names = Names::default();
    for proxy in &carried {
        if proxy.is_backend() && !proxy.servers.is_empty() {
            let mut upstream = Upstream::new(backends[&proxy.name].clone(), &proxy.from);
            let servers = proxy.servers.iter();
            upstream.servers = servers
                .map(|line| server::read(line, &mut plan.notes))
                .collect();
            if let Some(time) = proxy.times.get("connect") {
                upstream.keys.set("connect_timeout", time.value, &time.from);
            }
            let checked = |line: &&Line| line.words[3..].iter().any(|word| word == "check");
            if let Some(line) = proxy.servers.iter().find(checked) {
                upstream.table("health", &line.from);
            }
            plan.upstreams.push(upstream);
        }
        if proxy.is_frontend() && !proxy.binds.is_empty() {
            let mut listener = Listener::new(names.give(&proxy.name), &proxy.from);
            for line in &proxy.binds {
                match bind::address(&line.words[1]) {
                    Ok(address) => listener.binds.push(Said::new(address, &line.from)),
                    Err(why) => plan.notes.lose(&line.from, why),
                }
            }
            listener.upstream = match &proxy.default_backend {
                Some(name) => backends
                    .get(&name.value)
                    .map(|its| Said::new(its.clone(), &name.from)),
                None => backends
                    .get(&proxy.name)
                    .map(|its| Said::new(its.clone(), &proxy.from)),
            };
            plan.listeners.push(listener);
        }
    }
}
