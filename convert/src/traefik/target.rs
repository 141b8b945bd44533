//! Where the connections of an entry point go.

use super::super::note::Notes;
use super::super::plan::{Keys, Listener, Route, Said};
use super::super::value::Value;
use super::router::{Case, Router};
use super::service::To;

/// Traefik asks the routers with TLS for clients of TLS, and the others for the others.
pub(super) fn lead(routers: &[&Router], listener: &mut Listener, notes: &mut Notes) {
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
                let by_itself =
                    from.part("Traefik takes clients of PostgreSQL that ask for TLS first");
                listener.keys.set("starttls", "postgres", &by_itself);
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
                    "clients of TLS that ask for no server name, or ask by PostgreSQL's SSLRequest, are taken for others",
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
