//! A route of a listener, as it is written.

use super::text::{list, quoted, table};
use crate::sections::names::UpstreamIndex;
use crate::sections::route::Route;

pub(super) fn write<'n>(
    text: &mut String,
    listener: &str,
    route: &Route,
    upstream: impl Fn(UpstreamIndex) -> &'n str,
) {
    let mut values = vec![("name", quoted(&route.name))];
    if !route.sni.is_empty() {
        values.push(("sni", list(&route.sni)));
    }
    if !route.alpn.is_empty() {
        values.push(("alpn", list(&route.alpn)));
    }
    if !route.source.is_empty() {
        values.push(("source", list(&route.source)));
    }
    if !route.peer.is_empty() {
        values.push(("peer", list(&route.peer)));
    }
    if !route.ports.is_empty() {
        let ports = route.ports.iter();
        let ports: Vec<_> = ports
            .map(|ports| format!("{}-{}", ports.start(), ports.end()))
            .collect();
        values.push(("port", list(&ports)));
    }
    values.push(match &route.upstreams[..] {
        [] => ("reject", true.to_string()),
        [(one, 1)] => ("upstream", quoted(upstream(*one))),
        several => {
            let parts = several.iter();
            let parts: Vec<_> = parts
                .map(|(index, weight)| format!("{} = {weight}", quoted(upstream(*index))))
                .collect();
            ("upstreams", format!("{{ {} }}", parts.join(", ")))
        }
    });
    let heading = format!("[[listeners.{}.routes]]", quoted(listener));
    table(text, &heading, &values);
}
