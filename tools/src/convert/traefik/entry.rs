//! Entry points: listeners.

use std::time::Duration;

use super::super::names::Names;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Listener, Route, Said};
use super::super::tree::View;
use super::super::value::{Item, Value};
use super::router::{Case, Router};
use super::service::{Services, To};
use super::{duration, lose_others};

/// The ports of entry points that everybody calls the same.
const WELL_KNOWN: [(&str, &str); 2] = [("web", "*:80"), ("websecure", "*:443")];

/// The listener of an entry point; none if no router leads to it, or if nothing of it can be carried over, which is said.
pub(super) fn read(
    name: &str,
    entry: Option<&View<'_>>,
    routers: &[Router],
    services: &Services<'_>,
    names: &mut Names,
    notes: &mut Notes,
) -> Option<Listener> {
    let mut own: Vec<&Router> = routers.iter().filter(|router| router.is_at(name)).collect();
    let first = own.first()?;
    let from = entry.map_or_else(|| first.from.clone(), View::from);
    let mut listener = Listener::new(String::new(), &from);
    match bind(name, entry, &from) {
        Ok(bind) => listener.binds.push(bind),
        Err(why) => {
            notes.lose(&from, why);
            return None;
        }
    }
    if let Some(entry) = entry {
        proxy_protocol(entry, &mut listener.keys, notes);
        let read = [
            "address",
            "proxyProtocol",
            "reusePort",
            "asDefault",
            "forwardedHeaders",
            "http",
            "http2",
            "http3",
            "transport",
            "observability",
            "allowACMEByPass",
        ];
        lose_others(
            entry,
            &read,
            "corelane has nothing like it for a listener",
            notes,
        );
    }
    let idle = from.part("Traefik ends no silent connections of TCP");
    listener.keys.set("idle_timeout", "off", &idle);
    half_closed(&own, services, &mut listener.keys, notes);
    in_flight(&own, &mut listener.keys, notes);
    own.sort_by(|one, other| {
        other
            .priority
            .cmp(&one.priority)
            .then(one.name.cmp(&other.name))
    });
    lead(&own, &mut listener, notes);
    if listener.upstream.is_none()
        && listener
            .routes
            .iter()
            .all(|route| route.keys.get("reject").is_some())
    {
        notes.lose(
            &from,
            "the listener is left out: no router of it can be carried over",
        );
        return None;
    }
    listener.name = names.give(name);
    Some(listener)
}

fn bind(name: &str, entry: Option<&View<'_>>, from: &Origin) -> Result<Said<String>, String> {
    let Some(entry) = entry else {
        let known = WELL_KNOWN.iter().find(|(known, _)| *known == name);
        let (_, address) = known.ok_or_else(|| format!("where the entry point {name:?} is stands in the static file; name it as a file, too"))?;
        return Ok(Said::new(
            (*address).to_owned(),
            &from.part(&format!("the usual address of {name}")),
        ));
    };
    let Some(view) = entry.view("address") else {
        return Err("it has no address".to_owned());
    };
    let address = view.text().unwrap_or_default();
    let address = match address.rsplit_once('/') {
        Some((_, "udp")) => {
            return Err("corelane forwards TCP only; keep Traefik for UDP".to_owned());
        }
        Some((address, _)) => address,
        None => address,
    };
    let address = match address.strip_prefix(':') {
        Some(port) => format!("*:{port}"),
        None => address.to_owned(),
    };
    Ok(Said::new(address, &view.from()))
}

fn proxy_protocol(entry: &View<'_>, keys: &mut Keys, notes: &mut Notes) {
    let Some(proxy) = entry.view("proxyProtocol") else {
        return;
    };
    let from = proxy.from();
    let trusted = proxy.items_of("trustedIPs");
    if trusted.is_empty() && !proxy.is_true("insecure") {
        return notes.remark(&from, "nobody is trusted, so no header is read");
    }
    keys.set("accept_proxy_protocol", "optional", &from);
    if !proxy.is_true("insecure") {
        let items = trusted
            .iter()
            .filter_map(|ip| Some(Item::new(ip.text()?, &ip.from())));
        keys.set("trusted", items.collect::<Value>(), &from);
    }
}

/// How long the other direction goes on after the end of one, which is the service's in Traefik.
fn half_closed(routers: &[&Router], services: &Services<'_>, keys: &mut Keys, notes: &mut Notes) {
    let mut delays: Vec<i64> = routers
        .iter()
        .flat_map(|router| services.delays(&router.to))
        .collect();
    delays.sort_unstable();
    delays.dedup();
    let from = &routers[0].from;
    if delays.len() > 1 {
        notes.lose(from, "`terminationDelay` is the listener's (`half_closed_timeout`), and the longest one of its services is taken");
    }
    let longest = if delays.contains(&-1) {
        Some(-1)
    } else {
        delays.last().copied()
    };
    let from = from.part(&format!("terminationDelay {}", longest.unwrap_or_default()));
    match longest.and_then(|millis| u64::try_from(millis).ok()) {
        Some(millis) => keys.set(
            "half_closed_timeout",
            Duration::from_millis(millis.max(1)),
            &from,
        ),
        None => keys.set("half_closed_timeout", "off", &from),
    }
}

/// Connections of each source, where all routers say the same.
fn in_flight(routers: &[&Router], keys: &mut Keys, notes: &mut Notes) {
    let first = routers[0].in_flight.as_ref().map(|(most, _)| *most);
    let is_same = routers
        .iter()
        .all(|router| router.in_flight.as_ref().map(|(most, _)| *most) == first);
    for router in routers {
        match &router.in_flight {
            Some((most, from)) if is_same => keys.set("max_connections_per_source", *most, from),
            Some((_, from)) => notes.lose(from, "the limit is the listener's, and not all of its routers have it; write a listener for them"),
            None => {}
        }
    }
}

/// Traefik asks the routers with TLS for clients of TLS, and the others for the others.
fn lead(routers: &[&Router], listener: &mut Listener, notes: &mut Notes) {
    let cases = |is_tls: bool| {
        let own = routers.iter().filter(move |router| router.is_tls == is_tls);
        own.flat_map(|router| router.cases()).collect::<Vec<_>>()
    };
    let (mut tls, mut plain) = (cases(true), cases(false));
    let is_rest = |case: &Case| case.is_rest();
    for cases in [&mut tls, &mut plain] {
        if let Some(rest) = cases.iter().position(is_rest) {
            cases.truncate(rest + 1);
        }
    }
    let rest_of = |cases: &mut Vec<Case>| cases.pop_if(|case| case.is_rest());
    let (tls_rest, plain_rest) = (rest_of(&mut tls), rest_of(&mut plain));
    let has_tls = !tls.is_empty() || tls_rest.is_some();
    let has_plain = !plain.is_empty() || plain_rest.is_some();
    let mut routes = tls;
    let rest = match (has_plain, tls_rest) {
        (false, rest) => {
            if let Some(from) = routers.first().map(|router| &router.from) {
                listener
                    .keys
                    .set("not_tls", "refuse", &from.part("no router without tls"));
            }
            rest
        }
        (true, tls_rest) => {
            if has_tls {
                let from = tls_rest
                    .as_ref()
                    .map_or(&routers[0].from, |case| &case.from)
                    .clone();
                notes.lose(
                    &from,
                    "clients of TLS that ask for no server name are taken for others",
                );
                let to = tls_rest.map_or(To::Reject, |case| case.to);
                let conditions = vec![("sni", vec!["*".to_owned()])];
                routes.push(Case {
                    conditions,
                    to,
                    from,
                });
            }
            routes.append(&mut plain);
            plain_rest
        }
    };
    match rest {
        Some(Case {
            to: To::Upstream(name),
            from,
            ..
        }) => listener.upstream = Some(Said::new(name, &from)),
        Some(Case { to: To::Reject, .. }) | None => {}
        Some(case) => routes.push(case),
    }
    let is_like = |one: &Case, other: &Case| one.is_like(other);
    listener.routes = routes.chunk_by(is_like).map(route).collect();
}

fn route(group: &[Case]) -> Route {
    let first = &group[0];
    let from = first.from.clone();
    let mut keys = Keys::default();
    for (index, (key, _)) in first.conditions.iter().enumerate() {
        let values = group
            .iter()
            .flat_map(|case| case.conditions[index].1.iter());
        keys.set(key, values.map(String::as_str).collect::<Value>(), &from);
    }
    match &first.to {
        To::Upstream(name) => keys.set("upstream", name.as_str(), &from),
        To::Split(weights) => keys.set("upstreams", Value::Weights(weights.clone()), &from),
        To::Reject => keys.set("reject", true, &from),
    }
    Route { from, keys }
}

/// How long connections may go on after a stop, of the entry point that has the longest time.
pub(super) fn drain(entries: &[(&str, View<'_>)], keys: &mut Keys) {
    let times = entries.iter().filter_map(|(_, entry)| {
        let view = entry.at(&["transport", "lifeCycle", "graceTimeOut"])?;
        Some((duration(&view)?, view.from()))
    });
    if let Some((time, from)) = times.max_by_key(|(time, _)| *time) {
        keys.set("drain_timeout", time, &from);
    }
}
