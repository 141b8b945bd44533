//! Entry points: listeners.

use std::time::Duration;

use super::super::names::Names;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Listener, Said};
use super::super::tree::View;
use super::super::value::{Item, Value};
use super::router::Router;
use super::service::Services;
use super::target::lead;
use super::{duration, lose_others};

/// How long a client may take to say what is heard, where nothing is written.
const READ: Duration = Duration::from_secs(60);

/// The ports of entry points that everybody calls the same.
const WELL_KNOWN: [(&str, &str); 2] = [("web", "*:80"), ("websecure", "*:443")];

/// The listener of an entry point; none if no router leads to it, or if nothing of it can be carried over, which is said.
pub(super) fn read(
    name: &str,
    entry: Option<&View<'_>>,
    is_default: bool,
    routers: &[Router],
    services: &Services<'_>,
    names: &mut Names,
    notes: &mut Notes,
) -> Option<Listener> {
    let mut own: Vec<&Router> = routers
        .iter()
        .filter(|router| router.is_at(name, is_default))
        .collect();
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
        // Where nothing is heard, it means nothing.
        entry.at(&["transport", "respondingTimeouts", "readTimeout"]);
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
    let hears = ["accept_proxy_protocol", "starttls"];
    if hears.iter().any(|key| listener.keys.get(key).is_some())
        || own.iter().any(|router| router.is_tls)
    {
        prologue(entry, &from, &mut listener.keys, notes);
    }
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
        notes.remark(&from, "the header of a peer that is not trusted goes to the server as it came; Traefik drops it");
    }
    if !proxy.is_true("insecure") {
        let items = trusted
            .iter()
            .filter_map(|ip| Some(Item::new(ip.text()?, &ip.from())));
        keys.set("trusted", items.collect::<Value>(), &from);
    }
}

/// How long a client may take to say what decides.
fn prologue(entry: Option<&View<'_>>, from: &Origin, keys: &mut Keys, notes: &mut Notes) {
    let written =
        entry.and_then(|entry| entry.at(&["transport", "respondingTimeouts", "readTimeout"]));
    let (time, from) = match &written {
        None => (
            Some(READ),
            from.part("readTimeout 60s is Traefik's default"),
        ),
        Some(view) => (duration(view), view.from()),
    };
    match time {
        Some(time) if !time.is_zero() => keys.set("prologue_timeout", time, &from),
        _ => notes.lose(
            &from,
            "a client has some time to say what decides (`prologue_timeout`, 5 s unless written)",
        ),
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
