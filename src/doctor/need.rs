//! What a configuration asks of the machine.

use proxy_config::{
    BindAddress, Config, Cores, ListenAddress, Scheduler, ServerAddress, SourceAddress,
};
use proxy_core::descriptors::OF_A_CONNECTION;

/// Entries of a ring where no file says otherwise, as the configuration has it.
const RING_DEPTH: u32 = 1024;

/// The backlog where no file says otherwise.
const BACKLOG: u64 = 4096;

/// What a configuration asks for; the default is that of the smallest file.
#[derive(Clone, Debug)]
pub(super) struct Need {
    pub(super) scheduler: Scheduler,
    /// None: one for each CPU.
    pub(super) workers: Option<usize>,
    pub(super) ring_depth: u32,
    /// The longest one.
    pub(super) backlog: u64,
    /// Descriptors of all connections that `max_connections` allows; none: as many as there are.
    pub(super) descriptors: Option<u64>,
    /// The most connections to one server, where a limit says so.
    pub(super) per_server: Option<u64>,
    /// The lowest port that is listened on, where it isn't 0.
    pub(super) lowest_port: Option<u16>,
    pub(super) ipv6: bool,
    pub(super) fast_open: bool,
    /// Packets that aren't this machine's come, or go.
    pub(super) transparent: bool,
    /// Connections to this machine itself. None: nobody knows.
    pub(super) loopback: Option<bool>,
}

impl Default for Need {
    fn default() -> Self {
        Self {
            scheduler: Scheduler::Auto,
            workers: None,
            ring_depth: RING_DEPTH,
            backlog: BACKLOG,
            descriptors: None,
            per_server: None,
            lowest_port: None,
            ipv6: false,
            fast_open: false,
            transparent: false,
            loopback: None,
        }
    }
}

impl Need {
    pub(super) fn of(config: &Config) -> Self {
        let runtime = &config.runtime;
        let binds = || config.listeners.iter().flat_map(|listener| &listener.binds);
        let tcp = binds().filter_map(|bind| match bind {
            BindAddress::Tcp(address) => Some((address.port(), address.is_ipv6())),
            BindAddress::Every(port) => Some((*port, true)),
            BindAddress::Unix(_) | BindAddress::Named(_) => None,
        });
        let admin = match config.admin.listen {
            ListenAddress::Tcp(address) => (address.port(), address.is_ipv6()),
            ListenAddress::Every(port) => (port, true),
        };
        let tcp: Vec<_> = tcp.chain([admin]).collect();
        let servers = || {
            config
                .upstreams
                .iter()
                .flat_map(|upstream| &upstream.servers)
        };
        let is_loopback = |address: &ServerAddress| match address {
            ServerAddress::Socket(address) => address.ip().to_canonical().is_loopback(),
            ServerAddress::Name { host, .. } => host == "localhost",
            ServerAddress::BuiltinEcho => true,
            ServerAddress::Unix(_) => false,
        };
        let ports = tcp.iter().map(|(port, _)| *port);
        Self {
            scheduler: runtime.scheduler,
            workers: match &runtime.cores {
                Cores::All => None,
                Cores::Count(count) => Some(count.get()),
                Cores::List(list) => Some(list.len()),
            },
            ring_depth: runtime.glommio.ring_depth.get(),
            backlog: (config.listeners.iter())
                .map(|listener| listener.backlog.get().into())
                .max()
                .unwrap_or(BACKLOG),
            descriptors: descriptors(config),
            per_server: per_server(config),
            lowest_port: ports.filter(|port| *port != 0).min(),
            ipv6: tcp.iter().any(|(_, is_ipv6)| *is_ipv6),
            fast_open: (config.listeners.iter())
                .any(|listener| listener.options.fast_open.is_some()),
            transparent: (config.listeners.iter()).any(|listener| listener.options.transparent)
                || (config.upstreams.iter())
                    .any(|upstream| upstream.options.source_address == Some(SourceAddress::Client)),
            loopback: Some(servers().any(|server| is_loopback(&server.address))),
        }
    }

    pub(super) fn workers_or_all(&self) -> Option<usize> {
        self.workers
    }
}

/// What all connections would have open that may be at a time. Where one listener has no limit, nobody knows.
fn descriptors(config: &Config) -> Option<u64> {
    let of_process = config.runtime.max_connections.map(|max| max.get());
    let of_listeners = config
        .listeners
        .iter()
        .map(|listener| listener.max_connections);
    let of_listeners = of_listeners.map(|max| max.map(|max| max.get()));
    let sum = of_listeners.reduce(|sum, max| Some(sum?.saturating_add(max?)));
    let connections = match (of_process, sum.flatten()) {
        (Some(process), Some(sum)) => process.min(sum),
        (one, other) => one.or(other)?,
    };
    Some(connections.saturating_mul(OF_A_CONNECTION))
}

/// The most connections that limits allow to one TCP server: from one address of this machine there are only so many ports to it.
fn per_server(config: &Config) -> Option<u64> {
    let of_upstreams = config.upstreams.iter().filter_map(|upstream| {
        let tcp = upstream.servers.iter().filter(|server| {
            matches!(
                server.address,
                ServerAddress::Socket(_) | ServerAddress::Name { .. }
            )
        });
        let most = |own: Option<u64>| {
            own.into_iter()
                .chain(upstream.balancing.max_connections.map(|max| max.get()))
                .min()
        };
        tcp.filter_map(|server| most(server.max_connections.map(|max| max.get())))
            .max()
    });
    of_upstreams.max()
}
