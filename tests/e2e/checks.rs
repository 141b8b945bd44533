//! What health checks say and expect, in front of real servers. Only the checks matter here, so one scheduler is enough.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::config::{forward, route};
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::Scheduler;
use crate::harness::wait;
use crate::service::mariadb::Mariadb;
use crate::service::nginx::Nginx;
use crate::service::postgres::Postgres;
use crate::service::redis::Redis;
use crate::service::tls::TlsServer;

const SCHEDULER: Scheduler = Scheduler::WorkStealing;

/// Quick checks that are patient on a busy machine.
const QUICK: &str = "interval = \"100ms\"\ntimeout = \"10s\"\n";

/// The state of a server by its metric: none before there is one.
pub(crate) fn is_up(proxy: &Proxy, upstream: &str, server: SocketAddr) -> bool {
    let labels = [("upstream", upstream), ("server", &server.to_string())];
    proxy.metric("corelane_upstream_up", &labels) == 1.0
}

fn checks(proxy: &Proxy, upstream: &str, result: &str) -> f64 {
    let labels = [("upstream", upstream), ("result", result)];
    let metrics = proxy.metrics();
    let name = "corelane_upstream_health_checks_total";
    metrics.series(name, &labels).map(|(_, count)| count).sum()
}

/// An upstream of this name, with checks that say this.
fn upstream(name: &str, server: SocketAddr, check: &str) -> String {
    let health = format!("[upstreams.{name}.health]\n{QUICK}{check}\n");
    route(name, "127.0.0.1:0", &[&server.to_string()], "", &health)
}

/// Starts a proxy for upstreams of these names, servers and checks, and waits until each has the expected result.
fn expect(upstreams: &[(&str, SocketAddr, &str, &str)]) -> Proxy {
    let routes = upstreams
        .iter()
        .map(|(name, server, check, _)| upstream(name, *server, check));
    let proxy = Proxy::start(SCHEDULER, &routes.collect::<String>());
    for (name, server, _, result) in upstreams {
        wait::until(&format!("{name}: {result}"), || {
            checks(&proxy, name, result) >= 3.0
        });
        let passes = *result == "passed";
        wait::until(name, || is_up(&proxy, name, *server) == passes);
        let others = ["passed", "answer"]
            .into_iter()
            .filter(|other| other != result);
        for other in others {
            assert_eq!(
                checks(&proxy, name, other),
                0.0,
                "{name}: {other}\n{}",
                proxy.log()
            );
        }
    }
    proxy
}

#[test]
fn http_is_judged_by_status_and_body() {
    let nginx = Nginx::start();
    nginx.write_file("there", 1000);
    let (there, body) = (
        "type = \"http\"\nhttp = { path = \"/there\"",
        "body_regex = \"(?s-u)^.{1000}$\"",
    );
    let proxy = expect(&[
        ("there", nginx.address, &format!("{there} }}"), "passed"),
        (
            "absent",
            nginx.address,
            "type = \"http\"\nhttp.path = \"/absent\"",
            "answer",
        ),
        (
            "wanted",
            nginx.address,
            "type = \"http\"\nhttp = { path = \"/absent\", status = [404] }",
            "passed",
        ),
        (
            "body",
            nginx.address,
            &format!("{there}, {body} }}"),
            "passed",
        ),
        (
            "other",
            nginx.address,
            &format!("{there}, body = \"hello\" }}"),
            "answer",
        ),
    ]);
    proxy.logs("status 404 Not Found");
}

#[test]
fn databases_are_asked_in_their_protocols() {
    let (redis, postgres, mariadb) = (Redis::start(), Postgres::start(), Mariadb::start());
    let steps = "type = \"expect\"\nexpect = [{ send = \"INFO replication\\r\\nQUIT\\r\\n\" }, { expect = \"role:master\" }]";
    let proxy = expect(&[
        ("redis", redis.address, "type = \"redis\"", "passed"),
        ("master", redis.address, steps, "passed"),
        (
            "postgres",
            postgres.address,
            "type = \"postgres\"",
            "passed",
        ),
        (
            "postgresUser",
            postgres.address,
            "type = \"postgres\"\nuser = \"postgres\"",
            "passed",
        ),
        ("mariadb", mariadb.address, "type = \"mysql\"", "passed"),
        ("notRedis", mariadb.address, "type = \"redis\"\n", "answer"),
        ("notHttp", redis.address, "type = \"http\"", "answer"),
    ]);
    // A host whose handshakes are broken off is blocked.
    wait::until("many checks", || checks(&proxy, "mariadb", "passed") >= 8.0);
    assert!(!mariadb.log().contains("is blocked"), "{}", mariadb.log());
}

/// A server that is checked elsewhere: nobody listens at the other port, then somebody does.
#[test]
fn another_port_decides_and_no_header_goes_there() {
    let (server, checked) = (peer::echo(), peer::refusing());
    let nginx = Nginx::start();
    nginx.write_file("there", 10);
    let (address, port) = (server.address(), nginx.address.port());
    let both = |check: &str| {
        format!(
            "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n[upstreams.main]\nsend_proxy_protocol = \"v1\"\n\
             servers = [{{ address = \"{address}\", check_port = {check} }}]\n[upstreams.main.health]\n{QUICK}port = 1\n\
             type = \"http\"\nhttp.path = \"/there\"\nfall = 1\n"
        )
    };
    let proxy = Proxy::start(SCHEDULER, &both(&checked.port().to_string()));
    wait::until("it is down", || {
        !is_up(&proxy, "main", address) && checks(&proxy, "main", "refused") >= 2.0
    });
    proxy.reload(SCHEDULER, &both(&port.to_string()));
    wait::until("it is up", || is_up(&proxy, "main", address));
    assert_eq!(checks(&proxy, "main", "answer"), 0.0, "{}", proxy.log());
    assert_eq!(server.accepted(), 0, "it was checked elsewhere");
}

/// One answer decides what a server is, and the verdict outlives a reload that leaves the checks alone.
#[test]
fn the_first_check_decides_and_a_reload_keeps_the_verdict() {
    let redis = Redis::start();
    let silent = peer::echo();
    // It answers what it is asked: PING.
    let check = "[upstreams.main.health]\ntype = \"redis\"\ninterval = \"1h\"\n";
    let servers = [redis.address.to_string(), silent.address().to_string()];
    let servers = servers.each_ref().map(|server| server.as_str());
    let routes = route("main", "127.0.0.1:0", &servers, "", check);
    let proxy = Proxy::start(SCHEDULER, &routes);
    let verdicts = || [redis.address, silent.address()].map(|server| is_up(&proxy, "main", server));
    // With the next check in an hour, it is the first one that decides.
    wait::until("both were checked", || verdicts() == [true, false]);
    let more = routes.clone() + &forward(&["builtin:echo"]).replace("main", "other");
    proxy.reload(SCHEDULER, &more);
    wait::until("it is reloaded", || {
        String::from_utf8_lossy(&proxy.get("/config").body).contains("other")
    });
    assert_eq!(verdicts(), [true, false]);
    let total = checks(&proxy, "main", "passed") + checks(&proxy, "main", "answer");
    assert_eq!(total, 2.0, "nobody was asked again");
}

/// Certificates of nobody's, one of them expired.
#[test]
fn a_handshake_of_tls_is_verified_by_choice_and_tells_when_the_certificate_expires() {
    let (fresh, expired) = (
        TlsServer::start_for("fresh", "2"),
        TlsServer::start_for("expired", "-1"),
    );
    let nginx = Nginx::start();
    let trusting = |server: &TlsServer| {
        let ca = server.certificate();
        format!(
            "type = \"tls\"\ntls = {{ verify = true, ca = \"{}\", server_name = \"test\" }}",
            ca.display()
        )
    };
    let plain = "type = \"tls\"";
    let proxy = expect(&[
        ("fresh", fresh.address, plain, "passed"),
        ("expired", expired.address, plain, "passed"),
        ("old", expired.address, &trusting(&expired), "answer"),
        ("stranger", fresh.address, &trusting(&expired), "answer"),
        (
            "other",
            fresh.address,
            &trusting(&fresh).replace("\"test\"", "\"other\""),
            "answer",
        ),
        ("notTls", nginx.address, plain, "answer"),
    ]);
    let metrics = proxy.metrics();
    let name = "corelane_upstream_certificate_expiry_timestamp_seconds";
    let expiry = |upstream| metrics.get(name, &[("upstream", upstream)]);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a date")
        .as_secs_f64();
    assert!(expiry("fresh") > now + 86_400.0 && expiry("fresh") < now + 3.0 * 86_400.0);
    assert!(expiry("old") < now && expiry("old") == expiry("expired"));
    assert_eq!(metrics.series(name, &[("upstream", "notTls")]).count(), 0);
}
