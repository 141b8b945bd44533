//! The routes of a listener, in a form that is fast to ask.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::names::{NamePattern, Names};
use super::split::Split;
use super::taken::Route;
use super::view::{RouteTarget, RouteView, asks};
use super::{Destination, Facts, Verdict};
use crate::connection::origin::ClientAddress;
use crate::id::Id;
use crate::metrics::Rejection;
use crate::upstream::pool::Pool;

/// Routes that a listener can have.
pub const ROUTES_MAX: usize = 10_000;

/// The first so many routes are looked at for one that takes a client whatever it says.
pub(super) const UNHEARD_ROUTES_MAX: usize = 64;

/// A route as it is configured. It suits a connection that has one of what each list asks for; an empty list asks for
/// nothing.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// What is counted of it.
    pub route: Arc<Route>,
    /// Server names.
    pub names: Vec<NamePattern>,
    /// Protocols, of which the client offers one.
    pub alpn: Vec<Box<[u8]>>,
    /// Where the client is.
    pub source: Vec<IpNet>,
    /// Where who has connected is, whichever client it announces.
    pub peer: Vec<IpNet>,
    /// The listener's ports that it has connected to.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Where the connection goes, by weight; nowhere: it is refused.
    pub pools: Vec<(Arc<Pool>, u32)>,
}

/// What becomes of connections that no route takes.
#[derive(Clone, Debug)]
pub enum Rest {
    /// They go to the listener's own pool, and are counted so.
    Default(Arc<Route>),
    /// They are refused.
    Refuse,
}

/// All routes of a listener. It never changes.
#[derive(Debug)]
pub struct Routes {
    rules: Vec<Rule>,
    names: Names,
    /// Routes that ask for no name.
    nameless: Vec<u32>,
    rest: Rest,
    /// Pools besides the listener's own, which is the first destination.
    pools: Vec<Arc<Pool>>,
    asks_for_ports: bool,
    /// One of these may take a client whatever it says: none behind them does.
    unheard: usize,
}

#[derive(Debug)]
struct Rule {
    route: Arc<Route>,
    /// It matters what the client says, to this or to the server.
    hears: bool,
    /// What it asks for, in words.
    asks: Box<str>,
    alpn: Vec<Box<[u8]>>,
    source: Vec<IpNet>,
    peer: Vec<IpNet>,
    ports: Vec<RangeInclusive<u16>>,
    /// None refuses.
    to: Option<Split>,
}

impl Routes {
    /// In their order: the first one that suits takes a connection.
    ///
    /// # Panics
    /// For more than [`ROUTES_MAX`] routes.
    pub fn new(settings: Vec<RouteSettings>, rest: Rest) -> Self {
        assert!(settings.len() <= ROUTES_MAX, "too many routes");
        let mut routes = Self {
            rules: Vec::with_capacity(settings.len()),
            names: Names::default(),
            nameless: Vec::new(),
            rest,
            pools: Vec::new(),
            asks_for_ports: false,
            unheard: 0,
        };
        let mut places = HashMap::new();
        for (place, settings) in (0..).zip(settings) {
            if settings.names.is_empty() {
                routes.nameless.push(place);
            }
            for name in &settings.names {
                routes.names.add(name, place);
            }
            routes.asks_for_ports |= !settings.ports.is_empty();
            let parts: Vec<_> = settings
                .pools
                .iter()
                .map(|(pool, weight)| (routes.destination(pool, &mut places), *weight))
                .collect();
            let hears = settings.hears();
            if !hears && (place as usize) < UNHEARD_ROUTES_MAX {
                routes.unheard = place as usize + 1;
            }
            routes.rules.push(Rule {
                asks: asks(
                    &settings.names,
                    &settings.alpn,
                    (&settings.source, &settings.peer),
                    &settings.ports,
                ),
                route: settings.route,
                hears,
                alpn: settings.alpn,
                source: settings.source,
                peer: settings.peer,
                ports: settings.ports,
                to: Split::new(parts),
            });
        }
        routes
    }

    /// Whether it matters which port a client has connected to.
    pub fn asks_for_ports(&self) -> bool {
        self.asks_for_ports
    }

    /// Whether a route takes a client by what is known of it before it says anything, whatever it says.
    pub(crate) fn takes_unheard(&self, facts: &Facts) -> bool {
        let mut rules = self.rules[..self.unheard].iter();
        let first = rules.find(|rule| rule.suits_place(facts));
        first.is_some_and(|rule| !rule.hears)
    }

    /// Where a connection goes, and the route that it takes.
    pub(crate) fn of(&self, facts: &Facts) -> (Option<&Arc<Route>>, Verdict) {
        let Some(rule) = self.first(facts) else {
            return match &self.rest {
                Rest::Default(route) => (Some(route), Verdict::To(Destination::DEFAULT)),
                Rest::Refuse => (None, Verdict::Reject(Rejection::NoRoute)),
            };
        };
        let verdict = match &rule.to {
            Some(split) => Verdict::To(split.pick(&rule.route.turns)),
            None => Verdict::Reject(Rejection::Route),
        };
        (Some(&rule.route), verdict)
    }

    /// A pool besides the listener's own.
    pub(crate) fn pool(&self, destination: Destination) -> Option<&Arc<Pool>> {
        self.pools.get(usize::from(destination.0.checked_sub(1)?))
    }

    /// The names of what connections can go through, in their order, with the default one.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let rest = match &self.rest {
            Rest::Default(route) => Some(route),
            Rest::Refuse => None,
        };
        self.rules.iter().map(|rule| &rule.route).chain(rest)
    }

    /// The routes as people are shown them, in their order; the default one is last.
    pub fn view(&self) -> impl Iterator<Item = RouteView<'_>> {
        let name = |destination| {
            self.pool(destination)
                .map_or("", |pool| pool.upstream().name.as_str())
        };
        let rules = self.rules.iter().map(move |rule| RouteView {
            route: &rule.route,
            asks: &rule.asks,
            to: match &rule.to {
                Some(split) => {
                    let parts = split.parts();
                    RouteTarget::Upstreams(parts.map(|(to, weight)| (name(to), weight)).collect())
                }
                None => RouteTarget::Nowhere,
            },
        });
        let rest = match &self.rest {
            Rest::Default(route) => Some(RouteView {
                route,
                asks: "",
                to: RouteTarget::Default,
            }),
            Rest::Refuse => None,
        };
        rules.chain(rest)
    }

    /// Whether connections that no route takes are refused.
    pub fn refuses_rest(&self) -> bool {
        matches!(self.rest, Rest::Refuse)
    }

    /// Pools that routes lead to.
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// The first rule that suits. Only those that ask for no name are looked at one by one.
    fn first(&self, facts: &Facts) -> Option<&Rule> {
        let mut first: Option<u32> = None;
        let mut look = |list: &[u32]| {
            for &place in list {
                if first.is_some_and(|first| first <= place) {
                    break;
                }
                if self.rules[place as usize].suits(facts) {
                    first = Some(place);
                    break;
                }
            }
        };
        if let Some(name) = &facts.sni {
            self.names.each_of(name, &mut look);
        }
        look(&self.nameless);
        first.map(|place| &self.rules[place as usize])
    }

    fn destination(&mut self, pool: &Arc<Pool>, places: &mut HashMap<Id, u16>) -> Destination {
        let pools = &mut self.pools;
        let place = places.entry(pool.upstream().id).or_insert_with(|| {
            pools.push(pool.clone());
            u16::try_from(pools.len()).expect("there are fewer upstreams than that")
        });
        Destination(*place)
    }
}

impl RouteSettings {
    /// Whether it matters what a client says in its hello: to this route, or to a server that it leads to.
    fn hears(&self) -> bool {
        let tells = |pool: &Pool| {
            let tlvs = pool.settings().send_proxy.map(|send| send.tlvs);
            tlvs.is_some_and(|tlvs| tlvs.authority || tlvs.alpn) || pool.goes_by_names()
        };
        !self.names.is_empty()
            || !self.alpn.is_empty()
            || self.pools.iter().any(|(pool, _)| tells(pool))
    }
}

impl Rule {
    /// Whether a connection has what it asks for, besides the name.
    fn suits(&self, facts: &Facts) -> bool {
        let mut wanted = self.alpn.iter();
        let alpn = self.alpn.is_empty() || wanted.any(|one| facts.alpn.contains(one));
        alpn && self.suits_place(facts)
    }

    /// Whether it is where it asks for, and has come to where it asks for.
    fn suits_place(&self, facts: &Facts) -> bool {
        let source = is_in(&self.source, facts.client) && is_in(&self.peer, facts.peer);
        let has_port = |port| self.ports.iter().any(|range| range.contains(&port));
        let port = self.ports.is_empty() || facts.port.is_some_and(has_port);
        source && port
    }
}

/// Whether an address is in one of these networks; without any it is.
fn is_in(networks: &[IpNet], address: ClientAddress) -> bool {
    networks.is_empty()
        || match address {
            ClientAddress::Tcp(address) => {
                let ip = address.ip();
                networks.iter().any(|network| network.contains(&ip))
            }
            ClientAddress::Unix => false,
        }
}
