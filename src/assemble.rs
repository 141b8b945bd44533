//! From the configuration's types to the core's.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use proxy_config::{self as config, Config};
use proxy_core::listen::BindAddress;
use proxy_core::prologue::proxy_protocol::Version;
use proxy_core::prologue::starttls::Protocol;
use proxy_core::prologue::{
    AcceptProxy, Expected, HelloSettings, NotTls, PrologueSettings, Untrusted,
};
use proxy_core::{
    Balance, BandwidthSettings, CompareBy, ConnectOptions, EjectionSettings, Ends, HashOn,
    Inventory, Keepalive, KeepaliveTimes, Lifetime, Limits, ListenOptions, Listener,
    ListenerSettings, Member, NamePattern, OverLimit, Pool, PoolSettings, QUEUE_MAX, QueueSettings,
    Rate, Rest, RouteSettings, Routes, SendProxy, SendTlvs, Server, ServerAddress, Source, Table,
    TcpOptions, Times, Upstream, WhenAllDown,
};

use crate::discovery::Name;
use crate::lists::Accesses;

/// A number that makes this process's ids of connections unlike those of others: when it began, in nanoseconds.
static INSTANCE: LazyLock<u64> = LazyLock::new(instance);

/// What connections are counted as that no route takes.
const DEFAULT_ROUTE: &str = "default";

/// What a configuration means besides its own values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    /// Where `builtin:echo` listens.
    pub(crate) echo: Option<SocketAddr>,
    /// Where listeners report ends.
    pub(crate) ends: Option<Arc<Ends>>,
    /// Who may connect to listeners that have lists.
    pub(crate) accesses: Arc<Accesses>,
}

/// The core's side of a configuration: names that `inventory` knows are the objects that it has.
pub(crate) fn table(config: &Config, inventory: &Inventory, around: &Around) -> Table {
    let pools = pools(config, inventory, around.echo);
    let listeners = config.listeners.iter().map(|configured| {
        let listener = inventory.listener(&configured.name);
        // Without a default no connection goes to the first one by itself.
        let first = configured.upstreams()[0];
        let pool = pools[first.get()].clone();
        let routes = routes(configured, &pools, &listener);
        let limits = limits(config, configured, &listener);
        let access = around.accesses.get(&configured.name).cloned();
        let access = access.unwrap_or_default();
        Arc::new(ListenerSettings {
            listener,
            pool,
            prologue: prologue(configured, config.hears_hello(configured)),
            routes,
            shares: configured.shares.get(),
            latency: configured.latency,
            idle_timeout: configured.times.idle,
            times: times(&configured.times),
            splice: configured.splice,
            max_connections: configured.max_connections.map(Into::into),
            access: access.clients,
            peer_access: access.peers,
            limits,
            bandwidth: BandwidthSettings {
                listener: configured.admission.bandwidth.map(config::Size::bytes),
                connection: configured
                    .admission
                    .bandwidth_per_connection
                    .map(config::Size::bytes),
            },
            ends: around.ends.clone(),
        })
    });
    Table::new(listeners.collect(), pools)
}

/// What is heard of a listener's clients before they have a server; none: nothing.
fn prologue(configured: &config::Listener, hears_hello: bool) -> Option<Arc<PrologueSettings>> {
    let accept_proxy = configured.accept_proxy.as_ref().map(accept_proxy);
    let hello = hears_hello.then(|| HelloSettings {
        starttls: configured.starttls.map(|protocol| match protocol {
            config::Starttls::Postgres => Protocol::Postgres,
            config::Starttls::Smtp => Protocol::Smtp,
            config::Starttls::Imap => Protocol::Imap,
        }),
        not_tls: match configured.not_tls {
            config::NotTls::Accept => NotTls::Route,
            config::NotTls::Refuse => NotTls::Refuse,
        },
    });
    if accept_proxy.is_none() && hello.is_none() {
        return None;
    }
    Some(Arc::new(PrologueSettings {
        timeout: configured.prologue_timeout,
        accept_proxy,
        hello,
    }))
}

fn accept_proxy(accept: &config::AcceptProxy) -> AcceptProxy {
    AcceptProxy {
        expected: match accept.expected {
            config::Expected::Required => Expected::Required,
            config::Expected::Optional => Expected::Optional,
        },
        trusted: accept.trusted.as_ref().map(|list| list[..].into()),
        untrusted: match accept.untrusted {
            config::Untrusted::Refuse => Untrusted::Refuse,
            config::Untrusted::Plain => Untrusted::Plain,
        },
    }
}

/// Where a listener's connections go by what is known of them; none: all to its upstream.
fn routes(
    configured: &config::Listener,
    pools: &[Arc<Pool>],
    listener: &Listener,
) -> Option<Arc<Routes>> {
    if configured.routes.is_empty() {
        return None;
    }
    let names = configured.routes.iter().map(|route| &route.name[..]);
    let default = configured.upstream.map(|_| DEFAULT_ROUTE);
    let known = listener.routes.of(names.chain(default));
    let settings = configured.routes.iter().zip(&known);
    let settings = settings.map(|(configured, route)| RouteSettings {
        route: route.clone(),
        names: configured
            .sni
            .iter()
            .map(|name| NamePattern::new(name))
            .collect(),
        alpn: configured
            .alpn
            .iter()
            .map(|name| name.as_bytes().into())
            .collect(),
        source: configured.source.clone(),
        peer: configured.peer.clone(),
        ports: configured.ports.clone(),
        pools: configured
            .upstreams
            .iter()
            .map(|(index, weight)| (pools[index.get()].clone(), *weight))
            .collect(),
    });
    let rest = match default.and(known.last()) {
        Some(route) => Rest::Default(route.clone()),
        None => Rest::Refuse,
    };
    Some(Arc::new(Routes::new(settings.collect(), rest)))
}

/// The headers of the PROXY protocol that an upstream's servers get.
pub(crate) fn send_proxy(configured: &config::SendProxy) -> SendProxy {
    let has = |tlv| configured.tlvs.contains(&tlv);
    SendProxy {
        version: match configured.version {
            config::ProxyVersion::V1 => Version::V1,
            config::ProxyVersion::V2 => Version::V2,
        },
        tlvs: SendTlvs {
            authority: has(config::ProxyTlv::Authority),
            alpn: has(config::ProxyTlv::Alpn),
            unique_id: has(config::ProxyTlv::UniqueId),
            crc32c: has(config::ProxyTlv::Crc32c),
        },
        instance: *INSTANCE,
    }
}

#[expect(clippy::disallowed_methods, reason = "once a process")]
fn instance() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

fn times(configured: &config::Times) -> Times {
    Times {
        client_idle: configured.client_idle,
        server_idle: configured.server_idle,
        half_closed: configured.half_closed,
        lifetime: configured.max_lifetime.map(|max| Lifetime {
            max,
            jitter: configured.lifetime_jitter.get(),
        }),
    }
}

/// Limits of a listener, with the buckets that it has if their rates are the same.
fn limits(config: &Config, configured: &config::Listener, listener: &Listener) -> Limits {
    let admission = &configured.admission;
    let rate = |rate: Option<NonZeroU32>, burst: Option<NonZeroU32>| {
        let (rate, burst) = (rate?, burst.or(rate)?);
        Some(Rate::of_connections(rate.get().into(), burst.get().into()))
    };
    let of_all = rate(admission.max_rate, admission.burst);
    let burst_per_source = admission.burst_per_source.or(admission.burst);
    let of_source = rate(admission.max_rate_per_source, burst_per_source);
    Limits {
        process_connections: config.runtime.max_connections.map(Into::into),
        source_connections: admission
            .max_connections_per_source
            .map(|max| max.get().into()),
        peer_headers: admission.max_headers_per_peer.map(|max| max.get().into()),
        source_bits: admission.source_prefix.get() as u8,
        rate: of_all.map(|rate| listener.counted.meter(rate)),
        source_rate: of_source.map(|rate| listener.counted.source_rates(rate)),
        over: match admission.over_limit {
            config::OverLimit::Close => OverLimit::Close,
            config::OverLimit::Reset => OverLimit::Reset,
            config::OverLimit::Wait => OverLimit::Wait,
        },
    }
}

/// Options of a listener's sockets.
pub(crate) fn listen_options(configured: &config::Listener) -> ListenOptions {
    let options = &configured.options;
    ListenOptions {
        tcp: tcp_options(&options.socket),
        fast_open: options.fast_open.map(Into::into),
        defer_accept: options.defer_accept.map(config::Seconds::get),
        transparent: options.transparent,
    }
}

/// Options of sockets to an upstream's servers.
pub(crate) fn connect_options(configured: &config::Upstream) -> ConnectOptions {
    let options = &configured.options;
    ConnectOptions {
        tcp: tcp_options(&options.socket),
        source: options.source_address.map(|source| match source {
            config::SourceAddress::Address(address) => Source::Address(address),
            config::SourceAddress::Client => Source::Client,
        }),
    }
}

fn tcp_options(options: &config::SocketOptions) -> TcpOptions {
    // Their limits are below 2^32.
    let bytes = |size: config::Size| u32::try_from(size.bytes()).unwrap_or(u32::MAX);
    TcpOptions {
        keepalive: match options.keepalive {
            config::Keepalive::Off => Keepalive::Off,
            config::Keepalive::On {
                idle,
                interval,
                count,
            } => Keepalive::On(KeepaliveTimes {
                idle: idle.map(config::Seconds::get),
                interval: interval.map(config::Seconds::get),
                count: count.map(Into::into),
            }),
        },
        user_timeout: options.user_timeout,
        notsent_lowat: options.notsent_lowat.map(bytes),
        receive_buffer: options.receive_buffer.map(bytes),
        send_buffer: options.send_buffer.map(bytes),
        congestion: options.congestion.clone(),
        mark: options.mark.map(Into::into),
        dscp: options.dscp.map(config::Dscp::get),
        interface: options.interface.clone(),
    }
}

/// Servers whose addresses the resolver is to find, of a table that was made of `config`.
pub(crate) fn names(config: &Config, table: &Table) -> Vec<Name> {
    let pools = config.upstreams.iter().zip(&table.pools);
    let servers =
        pools.flat_map(|(configured, pool)| configured.servers.iter().zip(pool.servers()));
    servers
        .filter_map(|(configured, server)| match &configured.address {
            config::ServerAddress::Name { host, port } => Some(Name {
                host: host.clone(),
                port: *port,
                server: server.clone(),
            }),
            _ => None,
        })
        .collect()
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
    match address {
        config::ListenAddress::Tcp(address) => BindAddress::Tcp(address),
        config::ListenAddress::Every(port) => BindAddress::Every(port),
    }
}

/// Where a listener binds; none for a socket that is known by its name only.
pub(crate) fn bind_address(address: &config::BindAddress) -> Option<BindAddress> {
    Some(match address {
        config::BindAddress::Tcp(address) => BindAddress::Tcp(*address),
        config::BindAddress::Every(port) => BindAddress::Every(*port),
        config::BindAddress::Unix(path) => BindAddress::Unix(path.clone()),
        config::BindAddress::Named(_) => return None,
    })
}

/// The pools of all upstreams, in their order.
fn pools(config: &Config, inventory: &Inventory, echo: Option<SocketAddr>) -> Vec<Arc<Pool>> {
    let mut pools: Vec<Option<Arc<Pool>>> = vec![None; config.upstreams.len()];
    for first in 0..pools.len() {
        // Those that stand in for others are made before them: they never lead in a circle.
        let next = |&upstream: &usize| Some(config.upstreams[upstream].balancing.fallback?.get());
        let row: Vec<_> = std::iter::successors(Some(first), next).collect();
        for &upstream in row.iter().rev() {
            if pools[upstream].is_some() {
                continue;
            }
            let mut made = pool(&config.upstreams[upstream], inventory, echo);
            if let Some(fallback) = next(&upstream).and_then(|place| pools[place].clone()) {
                made = made.with_fallback(fallback);
            }
            pools[upstream] = Some(Arc::new(made));
        }
    }
    pools.into_iter().flatten().collect()
}

fn pool(configured: &config::Upstream, inventory: &Inventory, echo: Option<SocketAddr>) -> Pool {
    let upstream = inventory.upstream(&configured.name);
    let members = configured.servers.iter().map(|configured| {
        let label = configured.address.to_string();
        let make = || make_server(&upstream, label.clone(), configured, echo);
        let server = inventory.server(&upstream, &label, make);
        Member {
            weight: server.weight_by_hand().unwrap_or(configured.weight),
            server,
            backup: configured.backup,
            max_connections: configured.max_connections.map(Into::into),
        }
    });
    let members = members.collect();
    let balancing = &configured.balancing;
    let settings = PoolSettings {
        balance: match balancing.balance {
            config::Balance::RoundRobin => Balance::RoundRobin,
            config::Balance::LeastConnections => Balance::LeastConnections,
            config::Balance::RandomTwo => Balance::RandomTwo,
            config::Balance::SourceHash => Balance::SourceHash,
            config::Balance::First => Balance::First,
        },
        compare_by: match balancing.compare_by {
            config::CompareBy::Connections => CompareBy::Connections,
            config::CompareBy::ConnectTime => CompareBy::ConnectTime,
        },
        hash_on: match balancing.hash_on {
            config::HashOn::Source => HashOn::Source,
            config::HashOn::Peer => HashOn::Peer,
            config::HashOn::Sni => HashOn::Sni,
        },
        max_connections: balancing.max_connections.map(Into::into),
        queue: balancing.queue.map(|queue| QueueSettings {
            max: queue.max.get().min(QUEUE_MAX),
            timeout: queue.timeout,
        }),
        slow_start: balancing.slow_start,
        when_all_down: match balancing.when_all_down {
            config::WhenAllDown::Try => WhenAllDown::Try,
            config::WhenAllDown::Refuse => WhenAllDown::Refuse,
        },
        connect_timeout: configured.connect_timeout,
        starttls_timeout: configured.starttls_timeout,
        retry_budget: configured.retry_budget.map(config::Percent::get),
        checked: configured.health.is_some(),
        send_proxy: configured.send_proxy.as_ref().map(send_proxy),
    };
    let tries_all = settings.when_all_down == WhenAllDown::Try;
    // Where nobody is tried who is down, ejections would leave less than there is.
    let ejecting = configured.ejection.as_ref().filter(|_| tries_all);
    Pool::new(upstream, members, settings)
        .with_connect_options(connect_options(configured))
        .with_ejection(ejecting.map(ejection))
}

fn ejection(configured: &config::Ejection) -> EjectionSettings {
    EjectionSettings {
        consecutive_failures: configured.consecutive_failures,
        early: configured.early,
        slow_factor: configured.slow_factor,
        interval: configured.interval,
        base: configured.base,
        max: configured.max,
        largest_share: configured.largest_share.get(),
        panic_threshold: configured.panic_threshold.get(),
    }
}

fn make_server(
    upstream: &Upstream,
    label: String,
    configured: &config::Server,
    echo: Option<SocketAddr>,
) -> Server {
    let fixed = |address| Server::fixed(upstream, label.clone(), address);
    match &configured.address {
        config::ServerAddress::Socket(address) => fixed(ServerAddress::Tcp(*address)),
        config::ServerAddress::Unix(path) => fixed(ServerAddress::Unix(path.clone())),
        config::ServerAddress::Name { .. } => Server::named(upstream, label),
        config::ServerAddress::BuiltinEcho => match echo {
            Some(address) => fixed(ServerAddress::Tcp(address)),
            // A server without an address: connects to it fail as unresolved.
            None => Server::named(upstream, label),
        },
    }
}
