//! Servers that are the proxy's own listeners: each connection would come back as another one, until no descriptor is
//! left.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::problems::findings::Findings;
use crate::sections::listener::Listener;
use crate::sections::upstream::{Route, Upstream};
use crate::values::address::{BindAddress, ServerAddress, plain_path};

/// The machine that a configuration is for, as far as it says which servers are on it.
#[derive(Clone, Copy)]
pub struct Machine<'m> {
    /// Its name; empty where it is not known.
    pub host_name: &'m str,
    /// Whether an address is one of its own.
    pub is_local: &'m dyn Fn(IpAddr) -> bool,
}

impl fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({:?})", self.host_name)
    }
}

impl Machine<'static> {
    /// Any machine: nothing but loopback is local for sure.
    pub const ANY: Self = Self {
        host_name: "",
        is_local: &|_| false,
    };
}

/// On which ways connections would come back to a listener, for servers that are found later.
#[derive(Debug)]
pub struct Loops {
    listeners: Vec<Listener>,
    /// By the name of an upstream, the listeners whose connections go there.
    users: HashMap<String, Vec<usize>>,
    /// Where each listener's connections may go next.
    next: Vec<BTreeSet<usize>>,
}

impl Loops {
    /// Those of the listeners and upstreams of a configuration.
    pub fn of(listeners: &[Listener], upstreams: &[Upstream], machine: Machine<'_>) -> Self {
        let servers = upstreams.iter().enumerate();
        let servers = servers.flat_map(|(index, upstream)| {
            let servers = upstream.servers.iter();
            servers.map(move |server| (index, &server.address))
        });
        let hops = hops(listeners, servers, machine);
        let mut users: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, listener) in listeners.iter().enumerate() {
            for upstream in listener.upstreams() {
                let name = &upstreams[upstream.get()].name;
                users.entry(name.clone()).or_default().push(index);
            }
        }
        Self {
            next: next(listeners.len(), &hops),
            listeners: listeners.to_vec(),
            users,
        }
    }

    /// The name of the listener by which connections that go to this address would come back, if they probably would.
    pub fn through(
        &self,
        upstream: &str,
        address: SocketAddr,
        machine: Machine<'_>,
    ) -> Option<&str> {
        let users = self.users.get(upstream)?;
        let server = ServerAddress::Socket(address);
        let met = Binds::new(&self.listeners).that_accept(&server, machine);
        let mut met = met.into_iter().map(|(to, _)| to);
        let to = met.find(|&to| users.iter().any(|&from| leads_to(to, from, &self.next)))?;
        Some(&self.listeners[to].name)
    }
}

/// How sure it is that a connect to a server is accepted by a listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    Likely,
    Certain,
}

/// The way from a listener to another one, or to itself, by a server of its upstream.
#[derive(Clone, Copy)]
struct Hop {
    from: usize,
    to: usize,
    route: usize,
    certainty: Certainty,
}

/// Reports the servers by which a connection comes back to a listener where it has been: as errors where every server
/// that it may meet leads on like that, and as warnings where one does, or probably does.
pub(crate) fn report(
    listeners: &[Listener],
    routes: &[Route],
    machine: Machine<'_>,
    errors: &Findings,
    warnings: &Findings,
) {
    let servers = routes.iter().map(|route| (route.upstream, &route.address));
    let hops = hops(listeners, servers, machine);
    let lost = lost(listeners, routes, &hops);
    let mut reported = BTreeSet::new();
    for certainty in [Certainty::Certain, Certainty::Likely] {
        let is_certain = certainty == Certainty::Certain;
        let hops: Vec<_> = hops
            .iter()
            .filter(|hop| !is_certain || hop.certainty == certainty && lost[hop.from])
            .copied()
            .collect();
        let next = next(listeners.len(), &hops);
        for hop in &hops {
            if comes_back(hop, &next) && reported.insert(hop.route) {
                let findings = if is_certain { errors } else { warnings };
                let route = &routes[hop.route];
                let message = message(hop, is_certain, listeners, route);
                findings.add(route.place.at, Some(route.place.path.clone()), message);
            }
        }
    }
}

/// Whether each listener's connections can meet nothing but listeners like that.
fn lost(listeners: &[Listener], routes: &[Route], hops: &[Hop]) -> Vec<bool> {
    let mut servers: HashMap<usize, usize> = HashMap::new();
    for route in routes {
        *servers.entry(route.upstream).or_default() += 1;
    }
    let mut lost = vec![true; listeners.len()];
    loop {
        let mut leading_on: HashMap<usize, BTreeSet<usize>> = HashMap::new();
        for hop in hops {
            if hop.certainty == Certainty::Certain && lost[hop.to] {
                leading_on.entry(hop.from).or_default().insert(hop.route);
            }
        }
        let still: Vec<bool> = (0..listeners.len())
            .map(|index| {
                let upstreams = listeners[index].upstreams().into_iter();
                let all = upstreams.filter_map(|upstream| servers.get(&upstream.get()));
                let all: usize = all.sum();
                let leading_on = leading_on.get(&index).map_or(0, BTreeSet::len);
                all > 0 && leading_on == all
            })
            .collect();
        // Each round but the last has fewer, so there are no more rounds than listeners.
        if still == lost {
            return lost;
        }
        lost = still;
    }
}

fn message(hop: &Hop, is_certain: bool, listeners: &[Listener], route: &Route) -> String {
    let (path, address) = (&route.place.path, &route.address);
    let (from, to) = (&listeners[hop.from].name, &listeners[hop.to].name);
    let where_to = if hop.from == hop.to {
        format!("[listeners.{to}], whose connections go there")
    } else {
        format!("[listeners.{to}], from which connections of [listeners.{from}] come back to it")
    };
    let is = match hop.certainty {
        Certainty::Certain => "is",
        Certainty::Likely => "is probably",
    };
    let would = if is_certain { "would" } else { "may" };
    format!(
        "`{path}` is \"{address}\", which {is} {where_to}: one connection {would} make others until no descriptor is \
         left; write the address of another server"
    )
}

/// The ways by servers, each with its upstream.
fn hops<'s>(
    listeners: &[Listener],
    servers: impl Iterator<Item = (usize, &'s ServerAddress)>,
    machine: Machine<'_>,
) -> Vec<Hop> {
    let binds = Binds::new(listeners);
    let mut users: HashMap<usize, Vec<usize>> = HashMap::new();
    for (index, listener) in listeners.iter().enumerate() {
        for upstream in listener.upstreams() {
            users.entry(upstream.get()).or_default().push(index);
        }
    }
    let mut hops = Vec::new();
    for (index, (upstream, address)) in servers.enumerate() {
        let Some(users) = users.get(&upstream) else {
            continue;
        };
        for (to, certainty) in binds.that_accept(address, machine) {
            hops.extend(users.iter().map(|&from| Hop {
                from,
                to,
                route: index,
                certainty,
            }));
        }
    }
    hops
}

/// Where each listener's connections may go next.
fn next(listeners: usize, hops: &[Hop]) -> Vec<BTreeSet<usize>> {
    let mut next = vec![BTreeSet::new(); listeners];
    for hop in hops {
        next[hop.from].insert(hop.to);
    }
    next
}

fn comes_back(hop: &Hop, next: &[BTreeSet<usize>]) -> bool {
    leads_to(hop.to, hop.from, next)
}

/// Whether a listener's connections may come to another one, or it is that one.
fn leads_to(from: usize, to: usize, next: &[BTreeSet<usize>]) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut left = vec![from];
    while let Some(listener) = left.pop() {
        if listener == to {
            return true;
        }
        left.extend(
            next[listener]
                .iter()
                .copied()
                .filter(|&next| seen.insert(next)),
        );
    }
    false
}

/// Who listens where.
struct Binds<'c> {
    /// By port.
    tcp: HashMap<u16, Vec<(usize, &'c BindAddress)>>,
    unix: HashMap<PathBuf, usize>,
}

impl<'c> Binds<'c> {
    fn new(listeners: &'c [Listener]) -> Self {
        let mut binds = Self {
            tcp: HashMap::new(),
            unix: HashMap::new(),
        };
        for (index, listener) in listeners.iter().enumerate() {
            for bind in &listener.binds {
                let port = match bind {
                    BindAddress::Tcp(address) => address.port(),
                    BindAddress::Every(port) => *port,
                    BindAddress::Unix(path) => {
                        binds.unix.insert(plain_path(path), index);
                        continue;
                    }
                    // Where that is, the file doesn't say.
                    BindAddress::Named(_) => continue,
                };
                // Which one the kernel chooses instead of 0 is known only later.
                if port != 0 {
                    binds.tcp.entry(port).or_default().push((index, bind));
                }
            }
        }
        binds
    }

    /// The listeners that accept a connect to `server`, one entry each.
    fn that_accept(&self, server: &ServerAddress, machine: Machine<'_>) -> Vec<(usize, Certainty)> {
        match server {
            ServerAddress::Socket(address) => {
                self.on(address.port(), |bind| accepts(bind, address.ip(), machine))
            }
            ServerAddress::Name { host, port } if is_loopback_name(host) => {
                let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
                let of = |ip| self.on(*port, |bind| accepts(bind, ip, machine));
                let (v4, v6) = (of(v4), of(v6));
                // Of the two, the resolver may name the one where somebody else listens.
                let certainty = if v4.is_empty() || v6.is_empty() {
                    Certainty::Likely
                } else {
                    Certainty::Certain
                };
                let all: BTreeSet<_> = v4.iter().chain(&v6).map(|&(to, _)| to).collect();
                all.into_iter().map(|to| (to, certainty)).collect()
            }
            ServerAddress::Name { host, port } if is_name_of(host, machine) => {
                self.on(*port, |bind| {
                    let is_loopback =
                        matches!(bind, BindAddress::Tcp(bind) if bind.ip().is_loopback());
                    (!is_loopback).then_some(Certainty::Likely)
                })
            }
            ServerAddress::Unix(path) => {
                let listener = self.unix.get(&plain_path(path));
                listener
                    .map(|&to| (to, Certainty::Certain))
                    .into_iter()
                    .collect()
            }
            ServerAddress::Name { .. } | ServerAddress::BuiltinEcho => Vec::new(),
        }
    }

    fn on(
        &self,
        port: u16,
        accepts: impl Fn(&BindAddress) -> Option<Certainty>,
    ) -> Vec<(usize, Certainty)> {
        let binds = self.tcp.get(&port).into_iter().flatten();
        binds
            .filter_map(|&(listener, bind)| Some((listener, accepts(bind)?)))
            .collect()
    }
}

/// Whether who listens on `bind` accepts a connect to `ip`, at the same port.
fn accepts(bind: &BindAddress, ip: IpAddr, machine: Machine<'_>) -> Option<Certainty> {
    let ip = ip.to_canonical();
    match bind {
        BindAddress::Tcp(bind) if bind.ip().to_canonical() == ip => {
            return Some(Certainty::Certain);
        }
        BindAddress::Tcp(bind) if !bind.ip().is_unspecified() => return None,
        // "[::]" leaves IPv4 alone.
        BindAddress::Tcp(bind) if bind.is_ipv4() != ip.is_ipv4() => return None,
        BindAddress::Tcp(_) | BindAddress::Every(_) => {}
        BindAddress::Unix(_) | BindAddress::Named(_) => return None,
    }
    if ip.is_loopback() {
        Some(Certainty::Certain)
    } else {
        // The kernel's own balancer (IPVS) has addresses that are local, and sends them elsewhere.
        (machine.is_local)(ip).then_some(Certainty::Likely)
    }
}

fn is_loopback_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn is_name_of(host: &str, machine: Machine<'_>) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    !machine.host_name.is_empty() && host.eq_ignore_ascii_case(machine.host_name)
}
