//! Servers by DNS: the addresses of a name, or records of type SRV.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proxy_config::{DnsName, SERVERS_MAX};

use super::failure::{Failure, Reason};
use super::found::{Found, WEIGHT_MAX, checked, weight};
use super::lookup::{Answer, Lookup, Service, VALID_MIN};
use super::report::Said;

/// How soon it is asked again after a failure, at the latest.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The addresses of the targets of SRV records, as they were answered last.
type Targets = HashMap<String, Vec<IpAddr>>;

/// Asks for as long as it runs.
pub(super) async fn ask(
    name: &DnsName,
    (interval, max_ttl): (Duration, Duration),
    lookup: &Lookup,
    said: &Said,
) {
    let mut targets = Targets::new();
    loop {
        let answer = match name {
            DnsName::Services(name) => services(name, lookup, &mut targets).await,
            DnsName::Addresses { host, port } => {
                addresses(
                    host,
                    *port,
                    lookup,
                    targets.entry(host.clone()).or_default(),
                )
                .await
            }
        };
        let answer =
            answer.and_then(|Answer { found, valid_for }| Ok((checked(found)?, valid_for)));
        let pause = match answer {
            Ok((found, valid_for)) => said.on_found(found).max(valid_for.min(max_ttl)),
            Err(failure) => {
                said.on_failure(&failure);
                interval.min(INTERVAL_AFTER_FAILURE)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn addresses(
    host: &str,
    port: u16,
    lookup: &Lookup,
    known: &mut Vec<IpAddr>,
) -> Result<Answer<Found>, Failure> {
    let Answer { found, valid_for } = lookup.addresses(host, known).await?;
    let servers = found.iter().map(|&ip| Found::at(SocketAddr::new(ip, port)));
    let answer = Answer {
        found: servers.collect(),
        valid_for,
    };
    *known = found;
    Ok(answer)
}

/// The servers of the records: those of the most preferred priority, and as backups the others. A target that can't be resolved
/// now keeps its addresses.
async fn services(
    name: &str,
    lookup: &Lookup,
    targets: &mut Targets,
) -> Result<Answer<Found>, Failure> {
    let Answer {
        found: services,
        mut valid_for,
    } = lookup.services(name).await?;
    let services = ranked(services)?;
    let known = std::mem::take(targets);
    let (mut found, mut failed) = (Vec::new(), None);
    // One after the other: name servers mostly are near, and a thousand questions at once would be a flood.
    for Ranked {
        service,
        weight,
        backup,
    } in services
    {
        let before = known.get(&service.target).cloned().unwrap_or_default();
        let addresses = match targets.get(&service.target) {
            Some(addresses) => addresses.clone(),
            None => match lookup.addresses(&service.target, &before).await {
                Ok(answer) => {
                    valid_for = valid_for.min(answer.valid_for);
                    answer.found
                }
                Err(failure) => {
                    failed = Some(failure);
                    valid_for = valid_for.min(INTERVAL_AFTER_FAILURE);
                    before
                }
            },
        };
        // One server a record: a target with addresses of both kinds is one machine.
        let of_kind = addresses.iter().find(|ip| ip.is_ipv4());
        let first = of_kind.or(addresses.first());
        let kind = |ip: &&IpAddr| first.is_some_and(|first| first.is_ipv4() == ip.is_ipv4());
        found.extend(addresses.iter().filter(kind).map(|&ip| Found {
            backup,
            weight: self::weight(weight),
            ..Found::at(SocketAddr::new(ip, service.port))
        }));
        targets.insert(service.target, addresses);
    }
    match failed {
        Some(failure) if found.is_empty() => Err(failure),
        _ => Ok(Answer {
            found,
            valid_for: valid_for.max(VALID_MIN),
        }),
    }
}

/// A record, and what it means beside the others.
struct Ranked {
    service: Service,
    weight: u64,
    /// There are records of a lower priority, which come first.
    backup: bool,
}

/// The records with their weights in proportion to the others of their priority.
fn ranked(mut services: Vec<Service>) -> Result<Vec<Ranked>, Failure> {
    // RFC 2782: a target of "." says that there is no such service.
    services.retain(|service| service.target != ".");
    if services.len() > SERVERS_MAX {
        let count = services.len();
        let detail =
            format!("there are {count} records, and an upstream has {SERVERS_MAX} servers at most");
        return Err(Failure::new(Reason::TooMany, detail));
    }
    let first = services.iter().map(|service| service.priority).min();
    let mut heaviest: HashMap<u16, u16> = HashMap::new();
    for Service {
        priority, weight, ..
    } in &services
    {
        let most = heaviest.entry(*priority).or_default();
        *most = (*most).max(*weight);
    }
    let ranked = services.into_iter().map(|service| {
        let heaviest = heaviest.get(&service.priority).copied().unwrap_or(0);
        let weight = u64::from(service.weight);
        Ranked {
            weight: if heaviest > WEIGHT_MAX {
                weight * u64::from(WEIGHT_MAX) / u64::from(heaviest)
            } else {
                weight
            },
            backup: Some(service.priority) != first,
            service,
        }
    });
    Ok(ranked.collect())
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{A, AAAA, Reply, SERVFAIL, SRV, ScriptedDns};
    use super::*;

    fn shown(answer: Result<Answer<Found>, Failure>) -> Result<String, Reason> {
        let answer = answer.map_err(|failure| failure.reason)?;
        let found = checked(answer.found).map_err(|failure| failure.reason)?;
        let shown = found.iter().map(|one| {
            format!(
                "{}*{}{}",
                one.address,
                one.weight,
                if one.backup { "b" } else { "" }
            )
        });
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn servers_are_the_targets_of_the_preferred_records_and_the_others_stand_by() {
        let dns = ScriptedDns::start();
        let lookup = Lookup::of_servers(vec![dns.address()]);
        const NAME: &str = "_redis._tcp.test";
        let mut targets = Targets::new();
        dns.say("one.test", A, Reply::addresses(&["10.0.0.1"], 30));
        dns.say("one.test", AAAA, Reply::addresses(&["2001:db8::1"], 30));
        dns.say("two.test", AAAA, Reply::addresses(&["2001:db8::2"], 30));
        dns.say("far.test", A, Reply::addresses(&["10.0.0.9"], 30));
        dns.say("farther.test", A, Reply::addresses(&["10.0.1.9"], 30));
        let services = [
            (1, 65535, 6379, "one.test"),
            (1, 0, 6380, "two.test"),
            (2, 5, 6379, "far.test"),
            // It is listed already, and no backup there.
            (2, 5, 6379, "one.test"),
            (3, 1024, 1, "farther.test"),
            (3, 512, 2, "farther.test"),
        ];
        dns.say(NAME, SRV, Reply::services(&services, 30));
        let both = "10.0.0.1:6379*256 10.0.0.9:6379*5b 10.0.1.9:1*256b 10.0.1.9:2*128b [2001:db8::2]:6380*1".to_owned();
        assert_eq!(
            shown(self::services(NAME, &lookup, &mut targets).await),
            Ok(both.clone())
        );
        for kind in [A, AAAA] {
            dns.say("one.test", kind, Reply::Code(SERVFAIL));
        }
        assert_eq!(
            shown(self::services(NAME, &lookup, &mut targets).await),
            Ok(both),
            "it stays"
        );
        dns.say(NAME, SRV, Reply::services(&[(0, 0, 6379, "none.test")], 30));
        let none = self::services(NAME, &lookup, &mut targets).await;
        assert_eq!(shown(none), Err(Reason::NotFound));
        dns.say(NAME, SRV, Reply::services(&[(0, 0, 0, "one.test")], 30));
        dns.say("one.test", A, Reply::addresses(&["10.0.0.1"], 30));
        let poisoned = self::services(NAME, &lookup, &mut targets).await;
        assert_eq!(shown(poisoned), Err(Reason::Address));
    }

    #[test]
    fn more_records_than_an_upstream_has_servers_are_refused() {
        let service = Service {
            target: "a.".to_owned(),
            port: 1,
            priority: 0,
            weight: 0,
        };
        let too_many = ranked(vec![service; SERVERS_MAX + 1]);
        let reason = too_many.map(|_| ()).map_err(|failure| failure.reason);
        assert_eq!(reason, Err(Reason::TooMany));
    }
}
