//! From the configuration's types to the core's.

use std::net::SocketAddr;
use std::sync::Arc;

use proxy_config::{self as config, Config};
use proxy_core::listen::BindAddress;
use proxy_core::{Balance, Ends, Listener, Server, ServerAddress, Upstream};

use crate::resolver::Name;

/// The core's side of a configuration.
pub(crate) struct Assembled {
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// Servers whose addresses the resolver is to find.
    pub(crate) names: Vec<Name>,
}

/// Makes the core's listeners and upstreams. `echo` is where `builtin:echo` listens, `ends` whom listeners tell of ends.
pub(crate) fn assemble(
    config: &Config,
    workers: usize,
    echo: Option<SocketAddr>,
    ends: Option<Arc<Ends>>,
) -> Assembled {
    let upstreams: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| Arc::new(make_upstream(upstream, workers, echo)))
        .collect();
    let listeners = config
        .listeners
        .iter()
        .map(|listener| {
            let upstream = upstreams[listener.upstream.get()].clone();
            Arc::new(make_listener(listener, upstream, workers, ends.clone()))
        })
        .collect();
    let names = config
        .upstreams
        .iter()
        .zip(&upstreams)
        .flat_map(|(configured, upstream)| {
            configured
                .servers
                .iter()
                .enumerate()
                .filter_map(|(index, server)| match &server.address {
                    config::ServerAddress::Name { host, port } => Some(Name {
                        host: host.clone(),
                        port: *port,
                        upstream: upstream.clone(),
                        server: index,
                    }),
                    _ => None,
                })
        })
        .collect();
    Assembled {
        listeners,
        upstreams,
        names,
    }
}

/// Whether any server is the embedded echo.
pub(crate) fn wants_echo(config: &Config) -> bool {
    let servers = config
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.servers);
    servers
        .into_iter()
        .any(|server| server.address == config::ServerAddress::BuiltinEcho)
}

/// Where the admin server listens.
pub(crate) fn listen_address(address: config::ListenAddress) -> BindAddress {
    bind_address(&address.into())
}

/// Where a listener binds.
pub(crate) fn bind_address(address: &config::BindAddress) -> BindAddress {
    match address {
        config::BindAddress::Tcp(address) => BindAddress::Tcp(*address),
        config::BindAddress::Every(port) => BindAddress::Every(*port),
        config::BindAddress::Unix(path) => BindAddress::Unix(path.clone()),
    }
}

fn make_listener(
    configured: &config::Listener,
    upstream: Arc<Upstream>,
    workers: usize,
    ends: Option<Arc<Ends>>,
) -> Listener {
    let mut listener = Listener::new(configured.name.clone(), upstream, workers);
    listener.share.set_shares(configured.shares.get());
    listener.latency = configured.latency;
    listener.idle_timeout = configured.idle_timeout;
    listener.splice = configured.splice;
    listener.ends = ends;
    match configured.max_connections {
        Some(max) => listener.with_max_connections(max.get()),
        None => listener,
    }
}

fn make_upstream(
    configured: &config::Upstream,
    workers: usize,
    echo: Option<SocketAddr>,
) -> Upstream {
    let servers: Vec<Server> = configured
        .servers
        .iter()
        .map(|server| make_server(server, echo))
        .collect();
    let balance = match configured.balance {
        config::Balance::RoundRobin => {
            let weights: Vec<_> = servers.iter().map(Server::weight).collect();
            Balance::round_robin(&weights)
        }
        config::Balance::LeastConnections => Balance::least_connections(),
    };
    let upstream = Upstream::new(
        configured.name.clone(),
        servers,
        balance,
        configured.connect_timeout,
        workers,
    );
    match configured.health {
        Some(_) => upstream.with_checks(),
        None => upstream,
    }
}

fn make_server(configured: &config::Server, echo: Option<SocketAddr>) -> Server {
    let label = configured.address.to_string();
    let weight = configured.weight.get();
    let fixed = |address| Server::fixed(label.clone(), address, weight);
    match &configured.address {
        config::ServerAddress::Socket(address) => fixed(ServerAddress::Tcp(*address)),
        config::ServerAddress::Unix(path) => fixed(ServerAddress::Unix(path.clone())),
        config::ServerAddress::Name { .. } => Server::named(label, weight),
        config::ServerAddress::BuiltinEcho => match echo {
            Some(address) => fixed(ServerAddress::Tcp(address)),
            // A server without an address: connects to it fail as unresolved.
            None => Server::named(label, weight),
        },
    }
}
