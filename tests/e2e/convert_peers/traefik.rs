//! Traefik.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::site::{Kinds, Site, found};
use crate::convert_nginx::{CLIENTS, are_close, client, counts};
use crate::harness::child::Child;
use crate::harness::hello::client_hello;
use crate::harness::peer::{self, Server, Service};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(traefik_does_the_same, traefik_takes_postgres_before_tls);

/// The ports of the example, and what clients at each of them say.
const KINDS: Kinds = &[
    ("10001", "plain", CLIENTS),
    ("10002", "a.example.com", CLIENTS),
    ("10002", "x.b.example.com", CLIENTS),
    ("10002", "x.y.b.example.com", CLIENTS),
    ("10002", "first.example.com", CLIENTS),
    ("10002", "other.example.com", CLIENTS),
    ("10003", "plain", CLIENTS),
    ("10004", "plain", CLIENTS),
    ("10005", "plain", CLIENTS),
    ("10006", "plain", CLIENTS),
    ("10007", "plain", CLIENTS),
    ("10008", "plain", CLIENTS),
    ("10009", "plain", CLIENTS),
];

/// Says where it listens, and that nobody outside is to be asked or told anything.
const STATIC: &str = "
global: { checkNewVersion: false, sendAnonymousUsage: false }
log: { level: ERROR, noColor: true }
providers: { file: { filename: DIRECTORY/dynamic.yaml } }
entryPoints:
  turns: { address: '127.0.0.1:10001' }
  names: { address: '127.0.0.1:10002' }
  split: { address: '127.0.0.1:10003' }
  known: { address: '127.0.0.1:10004' }
  shut: { address: '127.0.0.1:10005' }
  few: { address: '127.0.0.1:10006' }
  usual: { address: '127.0.0.1:10007', asDefault: true }
  checked: { address: '127.0.0.1:10008' }
  down: { address: '127.0.0.1:10009' }
";

const DYNAMIC: &str = "
tcp:
  routers:
    turns: { entryPoints: [turns], rule: 'HostSNI(`*`)', service: two }
    exact: { entryPoints: [names], rule: 'HostSNI(`A.example.com`) || HostSNI(`x.b.example.com`)', service: three, tls: { passthrough: true } }
    below: { entryPoints: [names], rule: 'HostSNIRegexp(`^.+\\.b\\.example\\.com$`)', service: two, tls: { passthrough: true } }
    long: { entryPoints: [names], rule: 'HostSNI(`first.example.com`) && ClientIP(`127.0.0.0/8`)', service: three, tls: { passthrough: true } }
    short: { entryPoints: [names], rule: 'HostSNI(`first.example.com`)', service: four, tls: { passthrough: true }, priority: 1000 }
    rest: { entryPoints: [names], rule: 'HostSNI(`*`)', service: four, tls: { passthrough: true } }
    split: { entryPoints: [split], rule: 'HostSNI(`*`)', service: split }
    known: { entryPoints: [known], rule: 'ClientIP(`127.0.0.1`)', service: three }
    unknown: { entryPoints: [known], rule: 'HostSNI(`*`)', service: four }
    shut: { entryPoints: [shut], rule: 'HostSNI(`*`)', service: three, middlewares: [elsewhere] }
    few: { entryPoints: [few], rule: 'HostSNI(`*`)', service: three, middlewares: [twenty] }
    usual: { rule: 'HostSNI(`*`)', service: four }
    checked: { entryPoints: [checked], rule: 'HostSNI(`*`)', service: checked }
    down: { entryPoints: [down], rule: 'HostSNI(`*`)', service: down }
  middlewares:
    elsewhere: { ipAllowList: { sourceRange: [ 192.0.2.0/24 ] } }
    twenty: { inFlightConn: { amount: 20 } }
  services:
    two: { loadBalancer: { servers: [ { address: '127.0.0.1:192.0.2.1' }, { address: '127.0.0.1:192.0.2.2' } ] } }
    three: { loadBalancer: { servers: [ { address: '127.0.0.1:192.0.2.3' } ] } }
    four: { loadBalancer: { servers: [ { address: '127.0.0.1:192.0.2.4' } ] } }
    split: { weighted: { services: [ { name: three, weight: 3 }, { name: four, weight: 1 } ] } }
    checked: { loadBalancer: { servers: [ { address: '127.0.0.1:192.0.2.9' }, { address: '127.0.0.1:192.0.2.4' } ], healthCheck: { interval: 100ms } } }
    down: { loadBalancer: { servers: [ { address: '127.0.0.1:192.0.2.9' } ], healthCheck: { interval: 100ms } } }
";

/// Traefik with a static file, once each of its ports leads somewhere. What it finds wrong with routers it only logs.
fn traefik(site: &Site, file: &Path) -> Option<Child> {
    let mut command = Command::new(found("traefik")?);
    command.arg(format!("--configfile={}", file.display()));
    let child = site.peer(&mut command);
    for (port, says, _) in site.kinds() {
        wait::until("Traefik has read its dynamic file", || {
            is_led(site.at(port), says)
        });
    }
    // It goes on without those that it finds wrong.
    let log = child.log();
    let is_bad = |line: &str| line.contains(" ERR ") && line.contains("routerName=");
    assert!(!log.lines().any(is_bad), "{log}");
    Some(child)
}

/// Whether a client comes to a server or, where it says nothing, is closed. Before there are routers, Traefik is silent to those, and
/// closes those of TLS.
fn is_led(address: SocketAddr, says: &str) -> bool {
    let mut client = client(address, says, false);
    client
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("read timeout");
    let mut name = [0];
    let is_closed = match client.read(&mut name) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    name[0].is_ascii_lowercase() || is_closed && says == "plain"
}

fn traefik_does_the_same(scheduler: Scheduler) {
    let site = Site::new(KINDS);
    let file = site.write("traefik.yaml", STATIC);
    site.write("dynamic.yaml", DYNAMIC);
    let reached = || {
        // Until its first check, a server is taken to be up.
        wait::until("the server that refuses is known to", || {
            counts(site.at("10008"), "plain", false, CLIENTS) == [(b'd', CLIENTS)].into()
        });
        site.reached()
    };
    let by_traefik = {
        let Some(_traefik) = traefik(&site, &file) else {
            return;
        };
        reached()
    };
    let (proxy, _) = site.corelane(scheduler, "traefik", &file, 0);
    let by_corelane = reached();
    proxy.stop();
    for ((port, says), traefiks) in &by_traefik {
        let ours = &by_corelane[&(*port, *says)];
        assert!(
            are_close(traefiks, ours, 4),
            "{says} at {port}: Traefik {traefiks:?}, corelane {ours:?}"
        );
    }
}

/// What clients of PostgreSQL say before TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Leads by the name, whether TLS comes first or after that.
const POSTGRES: &str = "
tcp:
  routers:
    pg: { entryPoints: [turns], rule: 'HostSNI(`pg.example.com`)', service: pg, tls: { passthrough: true } }
    direct: { entryPoints: [turns], rule: 'HostSNI(`direct.example.com`)', service: direct, tls: { passthrough: true } }
  services:
    pg: { loadBalancer: { servers: [ { address: 'POSTGRES' } ] } }
    direct: { loadBalancer: { servers: [ { address: '127.0.0.1:192.0.2.1' } ] } }
";

/// A server of PostgreSQL, as far as the first byte of TLS, which says `p` to who asks for TLS first.
fn postgres() -> Service {
    Server::bind().serve(|mut stream| {
        let mut asked = [0; 8];
        if stream.read_exact(&mut asked).is_err() || asked != SSL_REQUEST {
            return;
        }
        let _ = stream.write_all(b"S");
        if stream.read_exact(&mut [0]).is_ok() {
            let _ = stream.write_all(b"p");
            let _ = io::copy(&mut stream, &mut io::sink());
        }
    })
}

fn traefik_takes_postgres_before_tls(scheduler: Scheduler) {
    let server = postgres();
    let site = Site::new(&[("10001", "direct.example.com", CLIENTS)]);
    let entry = STATIC.lines().filter(|line| {
        let is_entry = line.starts_with("  ");
        !is_entry || line.contains("10001")
    });
    let file = site.write("traefik.yaml", &entry.collect::<Vec<_>>().join("\n"));
    site.write(
        "dynamic.yaml",
        &POSTGRES.replace("POSTGRES", &server.address().to_string()),
    );
    let behaves = || {
        let mut client = peer::connect(site.at("10001"));
        let mut heard = [0];
        client.write_all(&SSL_REQUEST).expect("send");
        client.read_exact(&mut heard).expect("an answer");
        assert_eq!(heard, *b"S");
        client
            .write_all(&client_hello("pg.example.com", b"postgresql"))
            .expect("send");
        client.read_exact(&mut heard).expect("the server");
        assert_eq!(heard, *b"p");
        let reached = counts(site.at("10001"), "direct.example.com", false, CLIENTS);
        assert_eq!(reached, [(b'a', CLIENTS)].into());
    };
    {
        let Some(_traefik) = traefik(&site, &file) else {
            return;
        };
        behaves();
    }
    let (proxy, _) = site.corelane(scheduler, "traefik", &file, 0);
    behaves();
    proxy.stop();
}
