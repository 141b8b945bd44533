//! What routes make of connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::connection::origin::{ClientAddress, Origin};
use crate::prologue::tls::Alpn;
use crate::upstream::Upstream;
use crate::upstream::policy::Balance;
use crate::upstream::pool::{Pool, PoolSettings};
use std::sync::Arc;

fn pool(name: &str) -> Arc<Pool> {
    let settings = PoolSettings {
        balance: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(1),
        checked: false,
        ..PoolSettings::default()
    };
    Arc::new(Pool::new(
        Arc::new(Upstream::new(name.to_owned())),
        Vec::new(),
        settings,
    ))
}

#[expect(clippy::disallowed_methods, reason = "any moment will do")]
fn facts(client: &str, sni: Option<&str>, alpn: &[&str], port: u16) -> Facts {
    let client: SocketAddr = client.parse().expect("an address");
    let mut facts = Facts::of(Origin {
        peer: ClientAddress::Tcp(client),
        accepted_at: Instant::now(),
    });
    facts.sni = sni.map(Into::into);
    facts.alpn = Alpn::of(alpn.iter().map(|protocol| protocol.as_bytes()));
    facts.port = Some(port);
    facts
}

/// A route to a pool of its own name.
struct Wanted<'a> {
    names: &'a [&'a str],
    alpn: &'a [&'a str],
    source: &'a [&'a str],
    peer: &'a [&'a str],
    ports: Vec<std::ops::RangeInclusive<u16>>,
    refuses: bool,
}

const ANY: Wanted<'_> = Wanted {
    names: &[],
    alpn: &[],
    source: &[],
    peer: &[],
    ports: Vec::new(),
    refuses: false,
};

fn networks(written: &[&str]) -> Vec<ipnet::IpNet> {
    let networks = written.iter();
    networks
        .map(|network| network.parse().expect("a network"))
        .collect()
}

fn routes(wanted: &[Wanted<'_>], has_default: bool) -> Routes {
    let names: Vec<_> = (0..wanted.len()).map(|place| place.to_string()).collect();
    let known = RouteNames::default();
    let all = known.of(names.iter().map(String::as_str).chain(["default"]));
    let settings = wanted
        .iter()
        .zip(&all)
        .map(|(wanted, route)| RouteSettings {
            route: route.clone(),
            names: wanted.names.iter().copied().map(NamePattern::new).collect(),
            alpn: wanted
                .alpn
                .iter()
                .map(|protocol| protocol.as_bytes().into())
                .collect(),
            source: networks(wanted.source),
            peer: networks(wanted.peer),
            ports: wanted.ports.clone(),
            pools: if wanted.refuses {
                Vec::new()
            } else {
                vec![(pool(&route.name), 1)]
            },
        });
    let rest = if has_default {
        Rest::Default(all[wanted.len()].clone())
    } else {
        Rest::Refuse
    };
    Routes::new(settings.collect(), rest)
}

fn taken(routes: &Routes, facts: &Facts) -> (Option<String>, Verdict) {
    let (route, verdict) = routes.of(facts);
    (route.map(|route| route.name.clone()), verdict)
}

fn name_of(routes: &Routes, sni: Option<&str>) -> Option<String> {
    taken(routes, &facts("10.0.0.1:1", sni, &[], 1)).0
}

#[test]
fn the_first_route_that_suits_takes_it() {
    let routes = routes(
        &[
            Wanted {
                names: &["a.example"],
                alpn: &["h2"],
                ..ANY
            },
            Wanted {
                names: &["*.example"],
                source: &["10.0.0.0/8"],
                ..ANY
            },
            Wanted {
                names: &["a.example", "b.example"],
                ..ANY
            },
            Wanted {
                ports: vec![8000..=8010],
                ..ANY
            },
            Wanted {
                names: &["*"],
                refuses: true,
                ..ANY
            },
        ],
        true,
    );
    for (client, sni, alpn, port, route) in [
        (
            "10.0.0.1:1",
            Some("a.example"),
            &["h2", "http/1.1"][..],
            1,
            "0",
        ),
        ("10.0.0.1:1", Some("a.example"), &["http/1.1"], 1, "1"),
        ("10.0.0.1:1", Some("x.y.example"), &[], 1, "1"),
        ("192.0.2.1:1", Some("a.example"), &[], 1, "2"),
        ("192.0.2.1:1", Some("b.example"), &["h2"], 8000, "2"),
        ("192.0.2.1:1", Some("c.example"), &[], 8010, "3"),
        ("192.0.2.1:1", None, &[], 8005, "3"),
        ("192.0.2.1:1", None, &[], 8011, "default"),
        ("192.0.2.1:1", Some("c.example"), &[], 1, "4"),
        // The name above is not one under itself.
        ("10.0.0.1:1", Some("example"), &[], 1, "4"),
    ] {
        let (taken, verdict) = taken(&routes, &facts(client, sni, alpn, port));
        assert_eq!(
            taken.as_deref(),
            Some(route),
            "{client} {sni:?} {alpn:?} {port}"
        );
        let refused = verdict == Verdict::Reject(crate::metrics::Rejection::Route);
        assert_eq!(refused, route == "4");
        if let Verdict::To(destination) = verdict
            && route != "default"
        {
            let pool = routes.pool(destination).expect("a pool");
            assert_eq!(pool.upstream().name, route);
        }
    }
}

/// Whoever it announces, a route may go by who has connected.
#[test]
fn a_route_goes_by_the_peer_whichever_client_it_announces() {
    let routes = routes(
        &[
            Wanted {
                peer: &["192.0.2.0/24"],
                source: &["10.0.0.0/8"],
                ..ANY
            },
            Wanted {
                peer: &["192.0.2.0/24"],
                refuses: true,
                ..ANY
            },
        ],
        true,
    );
    let announced = |peer: &str, client: &str| {
        let client = facts(client, None, &[], 1).client;
        let facts = Facts {
            client,
            ..facts(peer, None, &[], 1)
        };
        taken(&routes, &facts).0
    };
    let of = |route: &str| Some(route.to_owned());
    assert_eq!(announced("192.0.2.1:1", "10.1.1.1:1"), of("0"));
    assert_eq!(announced("192.0.2.1:1", "172.16.0.1:1"), of("1"));
    assert_eq!(announced("10.1.1.1:1", "192.0.2.1:1"), of("default"));
}

#[test]
fn without_a_default_what_no_route_takes_is_refused() {
    let routes = routes(
        &[Wanted {
            names: &["a"],
            ..ANY
        }],
        false,
    );
    let verdict = Verdict::Reject(crate::metrics::Rejection::NoRoute);
    assert_eq!(
        taken(&routes, &facts("10.0.0.1:1", None, &[], 1)),
        (None, verdict)
    );
}

#[test]
fn ten_thousand_names_are_found_without_a_scan() {
    let names: Vec<_> = (0..ROUTES_MAX)
        .map(|place| [format!("n{place}.example")])
        .collect();
    let names: Vec<_> = names.iter().map(|name| [name[0].as_str()]).collect();
    let wanted: Vec<_> = names.iter().map(|names| Wanted { names, ..ANY }).collect();
    let routes = routes(&wanted, true);
    let last = format!("n{}.example", ROUTES_MAX - 1);
    // A scan of them takes minutes.
    for _ in 0..20_000 {
        assert_eq!(name_of(&routes, Some(&last)).as_deref(), Some("9999"));
        assert_eq!(
            name_of(&routes, Some("nobody.example")).as_deref(),
            Some("default")
        );
    }
}

/// As a person reads the configuration.
fn suits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(rest) => name.ends_with(rest) && (rest.is_empty() || name.len() > rest.len()),
        None => pattern == name,
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_finds(
        patterns in vec(vec("(\\*|\\*\\.|)[ab](\\.[ab]){0,2}", 0..3), 0..8),
        name in "[ab](\\.[ab]){0,3}",
        has_name: bool,
    ) {
        let fixed = |pattern: &String| if pattern.starts_with('*') && !pattern.starts_with("*.") { "*".to_owned() } else { pattern.clone() };
        let patterns: Vec<Vec<String>> = patterns.iter().map(|all| all.iter().map(fixed).collect()).collect();
        let names: Vec<Vec<&str>> = patterns.iter().map(|all| all.iter().map(String::as_str).collect()).collect();
        let wanted: Vec<_> = names.iter().map(|names| Wanted { names, ..ANY }).collect();
        let name = has_name.then_some(&name[..]);
        let first = names.iter().position(|names| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|pattern| suits(pattern, name)))
        });
        let expected = first.map_or("default".to_owned(), |place| place.to_string());
        prop_assert_eq!(name_of(&routes(&wanted, true), name), Some(expected));
    }
}

#[test]
fn people_are_shown_where_each_route_leads() {
    let known = RouteNames::default().of(["canary", "no", "default"]);
    let settings = |route: &Arc<Route>, pools| RouteSettings {
        route: route.clone(),
        names: Vec::new(),
        alpn: Vec::new(),
        source: Vec::new(),
        peer: Vec::new(),
        ports: Vec::new(),
        pools,
    };
    let parts = vec![(pool("a"), 90), (pool("b"), 0), (pool("c"), 10)];
    let rules = vec![settings(&known[0], parts), settings(&known[1], Vec::new())];
    let routes = Routes::new(rules, Rest::Default(known[2].clone()));
    let shown: Vec<_> = routes
        .view()
        .map(|view| (&view.route.name[..], view.to))
        .collect();
    let by_weight = RouteTarget::Upstreams(vec![("a", 90), ("c", 10)]);
    let wanted = [
        ("canary", by_weight),
        ("no", RouteTarget::Nowhere),
        ("default", RouteTarget::Default),
    ];
    assert_eq!(shown, wanted);
}
