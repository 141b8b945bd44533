//! Asking name servers, and `/etc/hosts`.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup as Records;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::sync::Semaphore;

use super::failure::{Failure, Reason};

/// What is asked for at a time of the same name servers. More wait, so that thousands of names need no thousands of sockets.
const LOOKUPS_MAX: usize = 64;

/// How long one question may take, with all its retries, name servers and search domains. The C library's resolver takes 10 s
/// for one dead name server, too.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one of the name servers that are configured may take for one try.
const ASKED_TIMEOUT: Duration = Duration::from_secs(2);

/// Aliases of aliases that are followed to a service.
const ALIASES_MAX: usize = 8;

/// The shortest time that an answer is good for: a TTL of 0 would ask without end.
pub(super) const VALID_MIN: Duration = Duration::from_secs(1);

/// The longest time: a server that has moved is found within it, whatever the TTL was.
const VALID_MAX: Duration = Duration::from_secs(300);

/// How long what `/etc/hosts` says is good for, which has no TTL.
const HOSTS_VALID: Duration = Duration::from_secs(30);

/// Bytes of `/etc/resolv.conf` and of `/etc/hosts`; one that is longer is as good as absent.
const SYSTEM_FILE_BYTES_MAX: u64 = 4 << 20;

/// Who is asked.
pub(crate) struct Lookup {
    servers: NameServers,
    lookups: Semaphore,
    built: Mutex<Option<Built>>,
}

enum NameServers {
    /// Those that the system's files say, as they are now.
    System {
        resolv_conf: PathBuf,
        hosts: PathBuf,
    },
    These(Vec<SocketAddr>),
}

/// What was made of the system's files, which is good as long as they are the same.
struct Built {
    files: [Option<Vec<u8>>; 2],
    asked: Asked,
}

/// `/etc/hosts` comes first, as in the C library: before any search domain, and for both kinds of addresses.
#[derive(Clone)]
struct Asked {
    hosts: Arc<Hosts>,
    resolver: TokioResolver,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    pub(crate) found: Vec<T>,
    pub(crate) valid_for: Duration,
}

/// A record of type SRV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) target: String,
    pub(crate) port: u16,
    pub(crate) priority: u16,
    pub(crate) weight: u16,
}

impl Lookup {
    /// Asks the servers that the system asks.
    pub(crate) fn of_system() -> Self {
        Self::of_files("/etc/resolv.conf".into(), "/etc/hosts".into())
    }

    fn of_files(resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        Self::of(NameServers::System { resolv_conf, hosts })
    }

    /// Asks these name servers, by whole names.
    pub(crate) fn of_servers(servers: Vec<SocketAddr>) -> Self {
        Self::of(NameServers::These(servers))
    }

    fn of(servers: NameServers) -> Self {
        Self {
            servers,
            lookups: Semaphore::new(LOOKUPS_MAX),
            built: Mutex::default(),
        }
    }

    /// The addresses of a host, IPv4 and IPv6. Where one kind is not answered while the other one is, those of that kind
    /// `before` stay.
    ///
    /// # Errors
    /// When there are none, or nobody says.
    pub(crate) async fn addresses(
        &self,
        host: &str,
        before: &[IpAddr],
    ) -> Result<Answer<IpAddr>, Failure> {
        let (four, six) = tokio::join!(
            self.ask(host, RecordType::A),
            self.ask(host, RecordType::AAAA)
        );
        let of = |(records, valid_for): (Records, Duration)| {
            let addresses = records.answers().iter();
            let found = addresses.filter_map(|record| record.data.ip_addr());
            (found.collect::<Vec<_>>(), valid_for)
        };
        merge(four.map(of), six.map(of), before)
    }

    /// The records of type SRV of a name, or of the one that it is an alias of.
    ///
    /// # Errors
    /// As [`Lookup::addresses`].
    pub(crate) async fn services(&self, name: &str) -> Result<Answer<Service>, Failure> {
        let (mut name, mut aliased_for) = (name.to_owned(), VALID_MAX);
        let mut aliases = 0;
        let (records, valid_for) = loop {
            let failure = match self.ask(&name, RecordType::SRV).await {
                Ok(answer) => break answer,
                Err(failure) => failure,
            };
            // The resolver takes a service's target for the name that an alias stands for, and finds nothing there.
            let alias = match failure.reason {
                Reason::Empty | Reason::NotFound if aliases < ALIASES_MAX => {
                    self.alias(&name).await
                }
                _ => None,
            };
            let Some((target, valid_for)) = alias else {
                return Err(failure);
            };
            (name, aliased_for) = (target, aliased_for.min(valid_for));
            aliases += 1;
        };
        let found = records.answers().iter().filter_map(|record| {
            let RData::SRV(service) = &record.data else {
                return None;
            };
            Some(Service {
                target: service.target.to_ascii(),
                port: service.port,
                priority: service.priority,
                weight: service.weight,
            })
        });
        Ok(Answer {
            found: found.collect(),
            valid_for: valid_for.min(aliased_for),
        })
    }

    /// What a name is an alias of, if it is one.
    async fn alias(&self, name: &str) -> Option<(String, Duration)> {
        let (records, valid_for) = self.ask(name, RecordType::CNAME).await.ok()?;
        let target = records.answers().iter().find_map(|record| {
            let RData::CNAME(target) = &record.data else {
                return None;
            };
            Some(target.to_ascii())
        });
        Some((target?, valid_for))
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<(Records, Duration), Failure> {
        let parsed = Name::from_ascii(name)
            .map_err(|error| Failure::new(Reason::Format, format!("{name}: {error}")))?;
        // Never closed.
        let _permit = self.lookups.acquire().await;
        let Asked { hosts, resolver } = self.asked()?;
        let listed = |kind| hosts.lookup_static_host(&Query::query(parsed.clone(), kind));
        let of_kinds = [RecordType::A, RecordType::AAAA].map(listed);
        if matches!(kind, RecordType::A | RecordType::AAAA) && of_kinds.iter().any(Option::is_some)
        {
            let [four, six] = of_kinds;
            let of_kind = if kind == RecordType::A { four } else { six };
            let of_kind = of_kind.map(|records| (records, HOSTS_VALID));
            return of_kind.ok_or_else(|| {
                let detail =
                    format!("{name} {kind}: /etc/hosts has the other kind of address only");
                Failure::new(Reason::Empty, detail)
            });
        }
        match tokio::time::timeout(PATIENCE, resolver.lookup(parsed, kind)).await {
            Ok(Ok(records)) => {
                let valid_for = valid_for(&records);
                Ok((records, valid_for))
            }
            Ok(Err(error)) => Err(failure(name, kind, &error)),
            Err(_) => Err(Failure::new(
                Reason::Timeout,
                format!("{name}: no answer for {kind} within {PATIENCE:?}"),
            )),
        }
    }

    fn asked(&self) -> Result<Asked, Failure> {
        let files = match &self.servers {
            NameServers::System { resolv_conf, hosts } => [resolv_conf, hosts].map(content),
            NameServers::These(_) => [None, None],
        };
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = &*built
            && built.files == files
        {
            return Ok(built.asked.clone());
        }
        let asked = self.build(&files)?;
        *built = Some(Built {
            files,
            asked: asked.clone(),
        });
        Ok(asked)
    }

    fn build(&self, [resolv_conf, hosts]: &[Option<Vec<u8>>; 2]) -> Result<Asked, Failure> {
        let (config, mut options) = match &self.servers {
            NameServers::These(servers) => {
                let servers = servers.iter().copied().map(name_server);
                let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
                let mut options = ResolverOpts::default();
                options.timeout = ASKED_TIMEOUT;
                (config, options)
            }
            NameServers::System { .. } => {
                let parsed = resolv_conf.as_ref().map(system_conf::parse_resolv_conf);
                // As the C library: without a name server, this machine's.
                parsed.and_then(Result::ok).unwrap_or_else(|| {
                    let server = name_server((Ipv4Addr::LOCALHOST, 53).into());
                    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                    (config, ResolverOpts::default())
                })
            }
        };
        options.use_hosts_file = ResolveHosts::Never;
        // Who asks here asks when an answer is no longer good.
        options.cache_size = 0;
        options.try_tcp_on_error = true;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Reason::Unreachable, format!("the name servers: {error}"))
        };
        let resolver = builder.build().map_err(|error| failed(&error))?;
        let mut known = Hosts::default();
        if let Some(hosts) = hosts {
            let read = known.read_hosts_conf(&hosts[..]);
            read.map_err(|error| failed(&error))?;
        }
        Ok(Asked {
            hosts: Arc::new(known),
            resolver,
        })
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .into();
    server
}

/// The content of one of the system's files.
fn content(path: &PathBuf) -> Option<Vec<u8>> {
    let found = std::fs::metadata(path).ok()?;
    let is_read = found.is_file() && found.len() <= SYSTEM_FILE_BYTES_MAX;
    is_read.then(|| std::fs::read(path).ok()).flatten()
}

type OfKind = Result<(Vec<IpAddr>, Duration), Failure>;

/// What is known of both kinds of addresses.
fn merge(four: OfKind, six: OfKind, before: &[IpAddr]) -> Result<Answer<IpAddr>, Failure> {
    let is_absent = |failure: &Failure| matches!(failure.reason, Reason::NotFound | Reason::Empty);
    let mut answer = Answer {
        found: Vec::new(),
        valid_for: VALID_MAX,
    };
    let mut failures = Vec::new();
    for (kind, is_kind) in [
        (four, IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        (six, IpAddr::is_ipv6),
    ] {
        match kind {
            Ok((found, valid_for)) => {
                answer.found.extend(found);
                answer.valid_for = answer.valid_for.min(valid_for);
            }
            Err(failure) => {
                if !is_absent(&failure) {
                    answer.found.extend(before.iter().copied().filter(is_kind));
                }
                failures.push(failure);
            }
        }
    }
    let all_failed = failures.len() == 2;
    // What went wrong says more than what is not there.
    failures.sort_by_key(is_absent);
    match failures.into_iter().next() {
        Some(failure) if all_failed => Err(failure),
        _ => Ok(answer),
    }
}

fn valid_for(records: &Records) -> Duration {
    let ttl = records.answers().iter().map(|record| record.ttl).min();
    Duration::from_secs(ttl.unwrap_or(0).into()).clamp(VALID_MIN, VALID_MAX)
}

fn failure(name: &str, kind: RecordType, error: &NetError) -> Failure {
    let (reason, why) = match error {
        NetError::Timeout => (Reason::Timeout, "no answer".to_owned()),
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => (Reason::NotFound, "there is no such name".to_owned()),
            ResponseCode::NoError => (Reason::Empty, "there are no records".to_owned()),
            code => (Reason::Refused, format!("the name server answers: {code}")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => {
            (Reason::Refused, format!("the name server answers: {code}"))
        }
        NetError::Io(_) | NetError::NoConnections => (
            Reason::Unreachable,
            format!("no name server can be asked: {error}"),
        ),
        _ => (Reason::Format, error.to_string()),
    };
    Failure::new(reason, format!("{name} {kind}: {why}"))
}
