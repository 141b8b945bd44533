//! Routes, and names of routes, that no connection ever takes, as an earlier route does.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::problems::findings::Findings;
use crate::raw::node::Place;
use crate::sections::listener::Listener;
use crate::sections::route::Route;
use crate::values::address::BindAddress;

/// Earlier routes that a name is looked for in, at most: the first ones that ask for it, and the first ones that ask for none.
/// So thousands of routes are looked through quickly, and of strange ones a warning may be missing.
const LOOKED_AT_MAX: usize = 16;

/// Warns of routes that no connection takes. `places` are those of the listener's routes.
pub(crate) fn warn(listener: &Listener, places: &[Place], warnings: &Findings) {
    let mut earlier = Earlier::default();
    for (index, (route, place)) in listener.routes.iter().zip(places).enumerate() {
        warn_of_one(listener, &earlier, route, place, warnings);
        warn_of_ports(listener, route, place, warnings);
        earlier.add(index, route);
    }
}

fn warn_of_one(
    listener: &Listener,
    earlier: &Earlier<'_>,
    route: &Route,
    Place { at, path }: &Place,
    warnings: &Findings,
) {
    let first = |all: &[usize]| {
        let mut all = all.iter().copied();
        all.find(|&index| takes_all_but_the_name(&listener.routes[index], route))
    };
    let name_of = |index: usize| format!("{:?}", listener.routes[index].name);
    if let Some(index) = first(&earlier.nameless) {
        let name = name_of(index);
        let message = format!(
            "no connection takes `{path}`: the route {name} before it takes all that would; put the narrower one first, or remove \
             it"
        );
        return warnings.add(*at, Some(path.clone()), message);
    }
    for sni in &route.sni {
        let taken_by = earlier.of(sni).find_map(|all| first(all));
        if let Some(index) = taken_by {
            let (path, name) = (format!("{path}.sni"), name_of(index));
            let message = format!(
                "no connection comes by {sni:?} of `{path}`: the route {name} before it takes all that ask for it; put the narrower \
                 one first, or remove the name"
            );
            return warnings.add(*at, Some(path), message);
        }
    }
}

/// Warns of ports that the listener isn't bound to.
fn warn_of_ports(
    listener: &Listener,
    route: &Route,
    Place { at, path }: &Place,
    warnings: &Findings,
) {
    let mut bound = Vec::new();
    for bind in &listener.binds {
        match bind {
            BindAddress::Tcp(address) => bound.push(address.port()),
            BindAddress::Every(port) => bound.push(*port),
            BindAddress::Unix(_) => {}
            // Whoever made the socket knows it.
            BindAddress::Named(_) => return,
        }
    }
    // The kernel chooses one.
    if bound.contains(&0) || listener.binds.is_empty() {
        return;
    }
    let is_bound = |ports: &&RangeInclusive<u16>| bound.iter().any(|port| ports.contains(port));
    if let Some(ports) = route.ports.iter().find(|ports| !is_bound(ports)) {
        let written = match (ports.start(), ports.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let path = format!("{path}.port");
        let message = format!(
            "no connection comes to {written} of `{path}`: the listener is not bound to it; add it to `bind`, or remove it"
        );
        warnings.add(*at, Some(path), message);
    }
}

/// Routes by the names that they ask for.
#[derive(Default)]
struct Earlier<'r> {
    nameless: Vec<usize>,
    by_name: HashMap<&'r str, Vec<usize>>,
}

impl<'r> Earlier<'r> {
    fn add(&mut self, index: usize, route: &'r Route) {
        if route.sni.is_empty() {
            keep(&mut self.nameless, index);
        }
        for name in &route.sni {
            keep(self.by_name.entry(name).or_default(), index);
        }
    }

    /// The routes that ask for a name or pattern, or for a pattern that it is below.
    fn of(&self, name: &str) -> impl Iterator<Item = &Vec<usize>> {
        let labels = name.strip_prefix("*.").unwrap_or(name);
        let above = labels.match_indices('.');
        let above = above.map(move |(at, _)| format!("*.{}", &labels[at + 1..]));
        let all = [name.to_owned(), "*".to_owned()];
        let all = all.into_iter().chain(above);
        all.filter_map(|pattern| self.by_name.get(&pattern[..]))
    }
}

fn keep(list: &mut Vec<usize>, index: usize) {
    if list.len() < LOOKED_AT_MAX && list.last() != Some(&index) {
        list.push(index);
    }
}

/// Whether `first` takes all connections that `second` asks for, if the names suit both.
fn takes_all_but_the_name(first: &Route, second: &Route) -> bool {
    covers(&first.alpn, &second.alpn, |one, other| one == other)
        && covers(&first.source, &second.source, IpNet::contains)
        && covers(&first.peer, &second.peer, IpNet::contains)
        && covers(&first.ports, &second.ports, |one, other| {
            one.contains(other.start()) && one.contains(other.end())
        })
}

/// Whether each of the second list is within one of the first. An empty list is everything.
fn covers<'a, T>(
    first: &'a [T],
    second: &'a [T],
    is_within: impl Fn(&'a T, &'a T) -> bool,
) -> bool {
    first.is_empty()
        || !second.is_empty()
            && second
                .iter()
                .all(|other| first.iter().any(|one| is_within(one, other)))
}
