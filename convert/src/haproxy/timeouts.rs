//! How long a listener's connections may be idle.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::note::Notes;
use super::super::plan::{Keys, Said};
use super::backend::{Backends, Upstreams};
use super::proxy::Proxy;

/// The times of a frontend and of its backends. HAProxy refreshes both times by bytes of either side, so the shorter one counts.
pub(super) fn set(
    proxy: &Proxy,
    backends: &Backends<'_>,
    upstreams: &Upstreams,
    keys: &mut Keys,
    notes: &mut Notes,
) {
    let by_upstream: BTreeMap<&str, &Proxy> = backends
        .values()
        .map(|backend| (backend.name.as_str(), backend.proxy))
        .collect();
    let its = upstreams
        .names()
        .filter_map(|name| by_upstream.get(name).copied());
    let mut its: Vec<&Proxy> = its.collect();
    its.dedup_by(|one, other| std::ptr::eq(*one, *other));
    if proxy.options.contains_key("independent-streams") {
        let tunnel = its.first().and_then(|backend| tunnel(backend));
        let server = its.first().and_then(|backend| backend.times.get("server"));
        if let Some(time) = tunnel.or_else(|| proxy.times.get("client")) {
            idle(keys, "client_idle_timeout", time);
        }
        if let Some(time) = tunnel.or(server) {
            idle(keys, "server_idle_timeout", time);
        }
        keys.set("idle_timeout", "off", &proxy.from);
    } else {
        let of = |backend: &Proxy| {
            let shorter = [proxy.times.get("client"), backend.times.get("server")];
            let shorter = shorter
                .into_iter()
                .flatten()
                .filter(|time| !time.value.is_zero());
            tunnel(backend)
                .or_else(|| shorter.min_by_key(|time| time.value))
                .cloned()
        };
        let all: Vec<_> = its.iter().map(|backend| of(backend)).collect();
        match all.first().cloned().flatten() {
            Some(time) => idle(keys, "idle_timeout", &time),
            None => keys.set(
                "idle_timeout",
                "off",
                &proxy
                    .from
                    .part("no `timeout client` and no `timeout server`"),
            ),
        }
        for (backend, time) in its.iter().zip(&all) {
            let value = |time: &Option<Said<Duration>>| time.as_ref().map(|time| time.value);
            if value(time) != value(&all[0]) {
                let from = time.as_ref().map_or(&backend.from, |time| &time.from);
                notes.lose(from, "a listener has one `idle_timeout` for all its upstreams; make a listener of its own for this one");
            }
        }
    }
    for proxy in std::iter::once(proxy).chain(its.iter().copied()) {
        if let Some(time) = proxy.times.get("tunnel") {
            if time.value.is_zero() {
                let why =
                    "HAProxy takes it as not written: `timeout client` and `timeout server` count";
                notes.remark(&time.from, why);
            } else if !proxy.is_backend()
                && !its.iter().any(|backend| tunnel(backend) == Some(time))
            {
                notes.remark(&time.from, "HAProxy itself goes by that of a backend");
            }
        }
        for name in ["client-fin", "server-fin"] {
            if let Some(time) = proxy.times.get(name) {
                notes.lose(
                    &time.from,
                    "a half-closed connection has `idle_timeout` as any other; `half_closed_timeout` would end it though bytes flow",
                );
            }
        }
        if let Some(time) = proxy.times.get("client-hs") {
            notes.remark(&time.from, "it is about TLS that HAProxy ends");
        }
        for name in ["http-request", "http-keep-alive", "tarpit"] {
            if let Some(time) = proxy.times.get(name) {
                notes.remark(
                    &time.from,
                    "it is about HTTP, and HAProxy itself has no use for it in mode tcp",
                );
            }
        }
    }
}

/// `timeout tunnel` of a backend, which counts in place of both other times; 0 is none.
fn tunnel(backend: &Proxy) -> Option<&Said<Duration>> {
    let time = backend.times.get("tunnel");
    time.filter(|time| !time.value.is_zero())
}

fn idle(keys: &mut Keys, key: &'static str, time: &Said<Duration>) {
    match time.value.is_zero() {
        true => keys.set(key, "off", &time.from),
        false => keys.set(key, time.value, &time.from),
    }
}
