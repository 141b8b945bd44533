//! Against name servers with a script.

use std::fs;

use proptest::prelude::*;

use super::super::scripted::{A, AAAA, CNAME, NXDOMAIN, Reply, SERVFAIL, SRV, ScriptedDns};
use super::*;

fn begin() -> (ScriptedDns, Lookup) {
    let dns = ScriptedDns::start();
    let lookup = Lookup::of_servers(vec![dns.address()]);
    (dns, lookup)
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    let parsed = texts.iter().map(|text| text.parse().expect("an address"));
    parsed.collect()
}

fn answer(texts: &[&str], seconds: u64) -> Result<Answer<IpAddr>, Reason> {
    Ok(Answer {
        found: ips(texts),
        valid_for: Duration::from_secs(seconds),
    })
}

async fn asked(lookup: &Lookup, host: &str, before: &[&str]) -> Result<Answer<IpAddr>, Reason> {
    let answer = lookup.addresses(host, &ips(before)).await;
    answer.map_err(|failure| failure.reason)
}

#[tokio::test(flavor = "current_thread")]
async fn both_kinds_of_addresses_are_found_for_the_shorter_ttl_within_bounds() {
    let (dns, lookup) = begin();
    dns.say(
        "a.test",
        A,
        Reply::addresses(&["192.0.2.1", "192.0.2.2"], 20),
    );
    assert_eq!(
        asked(&lookup, "a.test", &[]).await,
        answer(&["192.0.2.1", "192.0.2.2"], 20)
    );
    dns.say("a.test", AAAA, Reply::addresses(&["2001:db8::1"], 7));
    let both = answer(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], 7);
    assert_eq!(asked(&lookup, "a.test", &[]).await, both);
    dns.say("b.test", A, Reply::addresses(&["192.0.2.1"], 0));
    assert_eq!(
        asked(&lookup, "b.test", &[]).await,
        answer(&["192.0.2.1"], 1)
    );
    dns.say("b.test", A, Reply::addresses(&["192.0.2.1"], 1 << 30));
    assert_eq!(
        asked(&lookup, "b.test", &[]).await.map(|it| it.valid_for),
        Ok(VALID_MAX)
    );
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_too_long_for_udp_comes_over_tcp() {
    let (dns, lookup) = begin();
    let many: Vec<_> = (0..2000_u16)
        .map(|n| [10, 1, (n >> 8) as u8, n as u8].to_vec())
        .collect();
    dns.say("many.test", A, Reply::Truncated(30, many));
    let found = asked(&lookup, "many.test", &[])
        .await
        .expect("an answer")
        .found;
    assert_eq!(found.len(), 2000);
}

#[tokio::test(flavor = "current_thread")]
async fn each_failure_has_its_reason() {
    let (dns, lookup) = begin();
    dns.say("failing.test", A, Reply::Code(SERVFAIL));
    dns.say("failing.test", AAAA, Reply::Code(SERVFAIL));
    dns.say("other.test", SRV, Reply::services(&[], 1));
    dns.say("gone.test", A, Reply::Code(NXDOMAIN));
    assert_eq!(
        asked(&lookup, "failing.test", &[]).await,
        Err(Reason::Refused)
    );
    assert_eq!(
        asked(&lookup, "none.test", &[]).await,
        Err(Reason::NotFound)
    );
    assert_eq!(
        asked(&lookup, "gone.test", &["192.0.2.1"]).await,
        Err(Reason::NotFound)
    );
    assert_eq!(asked(&lookup, "other.test", &[]).await, Err(Reason::Empty));
    assert_eq!(asked(&lookup, "a..test", &[]).await, Err(Reason::Format));
    dns.say("garbled.test", A, Reply::Garbage);
    dns.say("garbled.test", AAAA, Reply::Garbage);
    let garbled = asked(&lookup, "garbled.test", &[]).await;
    assert!(garbled.is_err(), "{garbled:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn where_one_kind_fails_what_was_known_of_it_stays() {
    let (dns, lookup) = begin();
    dns.say("a.test", A, Reply::addresses(&["192.0.2.1"], 9));
    dns.say("a.test", AAAA, Reply::Code(SERVFAIL));
    let known = ["192.0.2.7", "2001:db8::7"];
    let kept = answer(&["192.0.2.1", "2001:db8::7"], 9);
    assert_eq!(asked(&lookup, "a.test", &known).await, kept);
    dns.say("a.test", AAAA, Reply::Code(NXDOMAIN));
    assert_eq!(
        asked(&lookup, "a.test", &known).await,
        answer(&["192.0.2.1"], 9)
    );
}

#[tokio::test(flavor = "current_thread")]
async fn services_have_their_ports_and_weights() {
    let (dns, lookup) = begin();
    let services = [(1, 10, 6379, "one.test"), (2, 0, 6380, "two.test")];
    dns.say("_redis._tcp.test", SRV, Reply::services(&services, 5));
    let answer = lookup
        .services("_redis._tcp.test")
        .await
        .expect("an answer");
    let service = |&(priority, weight, port, target): &(u16, u16, u16, &str)| Service {
        target: format!("{target}."),
        port,
        priority,
        weight,
    };
    assert_eq!(
        answer.found,
        services.iter().map(service).collect::<Vec<_>>()
    );
    assert_eq!(answer.valid_for, Duration::from_secs(5));
}

#[tokio::test(flavor = "current_thread")]
async fn a_service_is_found_by_an_alias() {
    let (dns, lookup) = begin();
    let services = [(1, 10, 6379, "one.test")];
    dns.say("_a._tcp.test", CNAME, Reply::Alias(3, "_b._tcp.test"));
    dns.say("_b._tcp.test", SRV, Reply::services(&services, 5));
    let answer = lookup.services("_a._tcp.test").await.expect("an answer");
    assert_eq!(answer.found[0].target, "one.test.");
    assert_eq!(answer.valid_for, Duration::from_secs(3));
    // One that leads to itself comes to an end.
    dns.say("_c._tcp.test", CNAME, Reply::Alias(3, "_c._tcp.test"));
    dns.say("_c._tcp.test", SRV, Reply::services(&[], 1));
    assert!(lookup.services("_c._tcp.test").await.is_err());
}

#[tokio::test(flavor = "current_thread")]
async fn another_name_server_is_asked_when_one_is_dead() {
    let dns = ScriptedDns::start();
    dns.say("a.test", A, Reply::addresses(&["192.0.2.1"], 9));
    // Nobody is there.
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let dead = dead.local_addr().expect("an address");
    let lookup = Lookup::of_servers(vec![dead, dns.address()]);
    assert_eq!(
        asked(&lookup, "a.test", &[]).await,
        answer(&["192.0.2.1"], 9)
    );
}

#[tokio::test(flavor = "current_thread")]
async fn the_system_s_files_are_heeded_as_they_are_now() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = ["resolv.conf", "hosts"].map(|name| directory.path().join(name));
    let [resolv_conf, hosts] = paths.clone();
    fs::write(&hosts, "192.0.2.1 db # ours\n2001:db8::1 db\n").expect("write");
    fs::write(
        &resolv_conf,
        "nameserver 127.0.0.1\nsearch one.test two.test\n",
    )
    .expect("write");
    let lookup = Lookup::of_files(resolv_conf, hosts);
    let both = answer(&["192.0.2.1", "2001:db8::1"], 30);
    assert_eq!(asked(&lookup, "db", &[]).await, both);
    fs::write(&paths[1], "192.0.2.2 db\n").expect("write");
    assert_eq!(asked(&lookup, "db", &[]).await, answer(&["192.0.2.2"], 30));
    let [conf, hosts] = paths.map(|path| content(&path));
    let built = lookup.build(&[conf, hosts]).expect("a resolver");
    assert_eq!(built.resolver.options().cache_size, 0);
}

proptest! {
    /// Whatever comes of both kinds, nothing is made up, and what was known only stays where nobody could be asked.
    #[test]
    fn a_merge_makes_nothing_up(
        four in prop::option::of(prop::collection::vec(any::<[u8; 4]>(), 1..4)),
        six in prop::option::of(prop::collection::vec(any::<[u8; 16]>(), 1..4)),
        is_absent in any::<bool>(),
        before in prop::collection::vec(any::<[u8; 4]>(), 0..4),
    ) {
        let reason = if is_absent { Reason::NotFound } else { Reason::Timeout };
        let failed = || Failure::new(reason, "it fails");
        let before: Vec<IpAddr> = before.into_iter().map(IpAddr::from).collect();
        let kind = |found: Option<Vec<IpAddr>>| found.map(|found| (found, VALID_MIN)).ok_or_else(failed);
        let four: Option<Vec<IpAddr>> = four.map(|all| all.into_iter().map(IpAddr::from).collect());
        let six: Option<Vec<IpAddr>> = six.map(|all| all.into_iter().map(IpAddr::from).collect());
        let merged = merge(kind(four.clone()), kind(six.clone()), &before);
        prop_assert_eq!(merged.is_err(), four.is_none() && six.is_none());
        if let Ok(answer) = merged {
            let stays = if four.is_none() && !is_absent { before } else { Vec::new() };
            let expected = four.unwrap_or(stays).into_iter().chain(six.unwrap_or_default());
            prop_assert_eq!(answer.found, expected.collect::<Vec<_>>());
        }
    }
}
