//! The routes that are shown.

use std::collections::HashMap;

use proxy_core::{Id, ListenerView, RouteTarget, RouteView, View};

use super::round::{tenths, thousandths};
use crate::sampling::rates::{Rates, unrouted};
use proxy_state::{ROUTES_SHOWN_MAX, Route, Target};

/// Characters of what a route asks for.
const ASKS_CHARS_MAX: usize = 160;

/// The routes that are shown, and how many are not.
pub(super) fn of(view: &View, rates: &Rates) -> (Vec<Route>, usize) {
    let mut shown: Vec<_> = view
        .listeners
        .iter()
        .flat_map(|view| of_listener(view, rates))
        .enumerate()
        .collect();
    let left_out = shown.len().saturating_sub(ROUTES_SHOWN_MAX);
    if left_out > 0 {
        shown.sort_by(|(place, one), (other_place, other)| {
            let busier = other.accepts.total_cmp(&one.accepts);
            let busier = busier.then(other.connections.cmp(&one.connections));
            busier.then(place.cmp(other_place))
        });
        shown.truncate(ROUTES_SHOWN_MAX);
        shown.sort_by_key(|&(place, _)| place);
    }
    (
        shown.into_iter().map(|(_, route)| route).collect(),
        left_out,
    )
}

fn of_listener(view: &ListenerView, rates: &Rates) -> Vec<Route> {
    let Some(settings) = &view.settings else {
        return Vec::new();
    };
    let Some(routes) = &settings.routes else {
        return Vec::new();
    };
    let mut shown: Vec<Route> = Vec::new();
    let mut places: HashMap<Id, usize> = HashMap::new();
    for route in routes.view() {
        let place = *places.entry(route.route.id).or_insert(shown.len());
        let targets = targets(&route, &settings.pool.upstream().name);
        match shown.get_mut(place) {
            Some(one) => add(one, &route, targets),
            None => shown.push(Route {
                listener: view.listener.name.clone(),
                route: route.route.name.clone(),
                asks: cut(route.asks),
                to: targets,
                connections: route.route.connections(),
                accepts: tenths(
                    rates.per_second(|totals| totals.routes.get(&route.route.id).copied()),
                ),
            }),
        }
    }
    if routes.refuses_rest() {
        let listener = &view.listener;
        shown.push(Route {
            listener: listener.name.clone(),
            connections: unrouted(listener),
            accepts: tenths(rates.per_second(|totals| totals.unrouted.get(&listener.id).copied())),
            ..Route::default()
        });
    }
    shown
}

fn targets(route: &RouteView<'_>, own: &str) -> Vec<Target> {
    let only = |upstream: &str| Target {
        upstream: upstream.to_owned(),
        share: None,
    };
    match &route.to {
        RouteTarget::Default => vec![only(own)],
        RouteTarget::Nowhere => Vec::new(),
        RouteTarget::Upstreams(parts) => match &parts[..] {
            [(upstream, _)] => vec![only(upstream)],
            parts => {
                let all: u64 = parts.iter().map(|(_, weight)| weight).sum();
                let share = |weight: u64| thousandths(weight as f64 / all as f64);
                let parts = parts.iter().map(|&(upstream, weight)| Target {
                    share: Some(share(weight)),
                    ..only(upstream)
                });
                parts.collect()
            }
        },
    }
}

/// One more route of the same name. Their connections are counted together, so nobody knows the parts of the upstreams.
fn add(shown: &mut Route, route: &RouteView<'_>, targets: Vec<Target>) {
    shown.asks = cut(&format!("{} | {}", shown.asks, route.asks));
    for target in targets {
        if shown
            .to
            .iter()
            .all(|known| known.upstream != target.upstream)
        {
            shown.to.push(target);
        }
    }
    for target in &mut shown.to {
        target.share = None;
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ASKS_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proxy_core::metrics::Rejection;
    use proxy_core::{ListenerSettings, NamePattern, Rest, RouteSettings, Routes};

    use super::*;
    use crate::fixture;
    use crate::observed::Observed;
    use crate::sampling::rates::Totals;

    /// The fixture's proxy, whose listener web has routes of these names and upstreams by weight.
    fn proxy(names: &[(&str, &[(&str, u32)])], has_default: bool) -> Observed {
        let observed = fixture::proxy();
        let inventory = &observed.inventory;
        let pool = |name: &str| fixture::pool(inventory, name, &["10.0.0.1:1".to_owned()], false);
        let listener = inventory.listener("web");
        let named = names.iter().map(|(name, _)| *name);
        let known = listener.routes.of(named.chain(["default"]));
        let settings = names
            .iter()
            .zip(&known)
            .map(|((name, parts), route)| RouteSettings {
                route: route.clone(),
                names: vec![NamePattern::new(&format!("{name}.example"))],
                alpn: Vec::new(),
                source: Vec::new(),
                peer: Vec::new(),
                ports: Vec::new(),
                pools: parts
                    .iter()
                    .map(|(name, weight)| (pool(name), *weight))
                    .collect(),
            });
        let rest = match (has_default, known.last()) {
            (true, Some(route)) => Rest::Default(route.clone()),
            _ => Rest::Refuse,
        };
        let settings = ListenerSettings {
            routes: Some(Arc::new(Routes::new(settings.collect(), rest))),
            ..ListenerSettings::new(listener, pool("own"))
        };
        fixture::configure(&observed, vec![Arc::new(settings)], Vec::new());
        observed
    }

    fn shown(observed: &Observed) -> Vec<Route> {
        of(&observed.view(), &Rates::default()).0
    }

    fn words(route: &Route) -> (String, String, Vec<String>) {
        let target = |target: &Target| match target.share {
            Some(share) => format!("{} {share}", target.upstream),
            None => target.upstream.clone(),
        };
        let to = route.to.iter().map(target).collect();
        (route.route.clone(), route.asks.clone(), to)
    }

    #[test]
    fn each_route_is_shown_with_what_it_asks_for_and_where_it_leads() {
        let observed = proxy(
            &[
                ("app", &[("a", 90), ("b", 10)]),
                ("no", &[]),
                ("app", &[("a", 1)]),
                ("one", &[("b", 5)]),
            ],
            true,
        );
        let own = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        let wanted = [
            ("app", "app.example | app.example", own(&["a", "b"])),
            ("no", "no.example", own(&[])),
            ("one", "one.example", own(&["b"])),
            ("default", "", own(&["own"])),
        ]
        .map(|(name, asks, to)| (name.to_owned(), asks.to_owned(), to));
        let found: Vec<_> = shown(&observed).iter().map(words).collect();
        assert_eq!(found, wanted);
        let alone = proxy(&[("app", &[("a", 90), ("b", 10)])], true);
        assert_eq!(words(&shown(&alone)[0]).2, own(&["a 0.9", "b 0.1"]));
    }

    #[test]
    fn who_takes_no_route_is_counted_where_they_are_refused() {
        let observed = proxy(&[("app", &[("a", 1)])], false);
        let rates = |at| Totals::read(&observed, Duration::from_secs(at));
        let mut both = Rates::default();
        both.push(rates(1));
        let listener = fixture::listener(&observed, 0);
        let cells = listener.cells.of(observed.running().generation.slot(1));
        cells.rejected[Rejection::NoRoute as usize].add(4);
        both.push(rates(3));
        let (routes, left_out) = of(&observed.view(), &both);
        let rest = &routes[1];
        assert_eq!((routes.len(), left_out), (2, 0));
        assert_eq!((&rest.route[..], &rest.listener[..]), ("", "web"));
        assert_eq!((rest.to.len(), rest.connections, rest.accepts), (0, 4, 2.0));
    }

    #[test]
    fn of_many_the_first_are_shown_and_the_others_counted() {
        let names: Vec<_> = (0..300).map(|route| format!("r{route}")).collect();
        let routes: Vec<(&str, &[(&str, u32)])> = names
            .iter()
            .map(|name| (&name[..], &[("a", 1)][..]))
            .collect();
        let observed = proxy(&routes, true);
        let (shown, left_out) = of(&observed.view(), &Rates::default());
        assert_eq!(
            (shown.len(), left_out),
            (ROUTES_SHOWN_MAX, 301 - ROUTES_SHOWN_MAX)
        );
        assert_eq!(shown[255].route, "r255");
    }

    #[test]
    fn words_are_cut() {
        assert_eq!(cut("a"), "a");
        assert_eq!(
            cut(&"ä".repeat(ASKS_CHARS_MAX + 1)).chars().count(),
            ASKS_CHARS_MAX + 1
        );
    }
}
