//! Configurations of HAProxy as they are found: HAProxy takes each, `corelane convert` makes one of it that passes `corelane check`, and
//! clients meet the same of both in front of the same servers.

mod command;
mod routes;
mod scripts;
mod site;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use self::scripts::{Role, answers, greets, http, ldap, mysql, number, redis, role};
use self::site::{Site, folder};
use crate::harness::peer::{self, Service, connect_from};
use crate::harness::program;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::service::tls::certify;

each_scheduler!(patroni);

/// One scheduler after the other: the pair has addresses of its own.
fn under_each(test: fn(Scheduler)) {
    let usable = Scheduler::ALL.into_iter().filter(|one| one.usable());
    usable.for_each(test);
}

/// Nobody says anything first.
const NOTHING: &[u8] = b"";

/// What HTTP checks of these servers ask at a port: whether each has its role.
fn checked(site: &Site, numbers: [u8; 3], port: u16, roles: &[Role; 3]) -> Vec<Service> {
    let servers = numbers.into_iter().zip(roles);
    servers
        .map(|(number, role)| http(site.server(number, port), role))
        .collect()
}

/// Writes go to the primary, reads to the others; clients of one that is the primary no longer are cut.
fn patroni(scheduler: Scheduler) {
    let site = Site::new("patroni.cfg").with(
        "http-check expect status 200\n    default-server inter 3s fall 3 rise 2",
        "http-check expect status 200\n    default-server inter 3s fall 1 rise 1",
    );
    let primary = [11, 12, 13].map(|number| role(number == 11));
    let _servers = [11, 12, 13].map(|number| greets(site.server(number, 5432), number, ""));
    // Patroni's REST answers 200 at /primary; who asks for replicas gets the same here.
    let _rests = checked(&site, [11, 12, 13], 8008, &primary);
    let pair = site.start(scheduler, false);
    pair.agree(5000, NOTHING, &[(11, 6)]);
    let clients = pair.both(5000).map(peer::connect);
    let clients = clients.map(|mut client| {
        assert_eq!(number(&mut client), Some(11));
        client
    });
    primary[0].store(false, Ordering::SeqCst);
    primary[1].store(true, Ordering::SeqCst);
    for mut client in clients {
        // HAProxy closes it, corelane resets it.
        let _ = client.read_to_end(&mut Vec::new());
    }
    pair.agree(5000, NOTHING, &[(12, 6)]);
    primary[2].store(true, Ordering::SeqCst);
    pair.agree(5001, NOTHING, &[(12, 3), (13, 3)]);
    // Nobody is the primary: nobody is let in.
    primary
        .iter()
        .for_each(|role| role.store(false, Ordering::SeqCst));
    pair.agree(5000, NOTHING, &[(0, 2)]);
}

#[test]
fn kubeadm() {
    under_each(|scheduler| {
        let site = Site::new("kubeadm.cfg");
        let healthy = [21, 22, 23].map(|_| role(true));
        let _servers = [21, 22, 23].map(|number| greets(site.server(number, 6443), number, ""));
        let _checked = checked(&site, [21, 22, 23], 8080, &healthy);
        let pair = site.start(scheduler, false);
        pair.agree(16443, NOTHING, &[(21, 4), (22, 4), (23, 4)]);
        healthy[1].store(false, Ordering::SeqCst);
        pair.agree(16443, NOTHING, &[(21, 3), (23, 3)]);
    });
}

/// Reads go to whoever has the fewest, writes to one; of two backups only the first one takes them.
#[test]
fn galera() {
    under_each(|scheduler| {
        let site = Site::new("galera.cfg");
        let synced = [31, 32, 33].map(|_| role(true));
        let _servers = [31, 32, 33].map(|number| mysql(site.server(number, 3306), number));
        let _checked = checked(&site, [31, 32, 33], 9200, &synced);
        let pair = site.start(scheduler, false);
        pair.agree(3307, NOTHING, &[(31, 2), (32, 2), (33, 2)]);
        pair.agree(3306, NOTHING, &[(31, 4)]);
        synced[0].store(false, Ordering::SeqCst);
        pair.agree(3306, NOTHING, &[(32, 4)]);
        synced[1].store(false, Ordering::SeqCst);
        pair.agree(3306, NOTHING, &[(33, 4)]);
    });
}

#[test]
fn redis_with_sentinel() {
    under_each(|scheduler| {
        let site = Site::new("redis.cfg");
        let master = [role(true), role(false)];
        let _servers = [41, 42].map(|number| {
            redis(
                site.server(number, 6379),
                number,
                &master[usize::from(number - 41)],
            )
        });
        let pair = site.start(scheduler, false);
        pair.agree(6379, b"WHO\r\n", &[(41, 3)]);
        let clients = pair.both(6379).map(peer::connect);
        for mut client in &clients {
            client.write_all(b"WHO\r\n").expect("send");
        }
        master[0].store(false, Ordering::SeqCst);
        master[1].store(true, Ordering::SeqCst);
        for mut client in clients {
            let _ = client.read_to_end(&mut Vec::new());
        }
        pair.agree(6379, b"WHO\r\n", &[(42, 3)]);
    });
}

/// Clients stay at their broker, which hears of them first. Which broker that is, is each proxy's own affair.
#[test]
fn mqtt() {
    under_each(|scheduler| {
        let site = Site::new("mqtt.cfg");
        let _servers = [51, 52, 53].map(|number| answers(site.server(number, 1883), number));
        let pair = site.start(scheduler, false);
        for address in pair.both(1883) {
            let found = |client: u8| {
                let mut stream = connect_from(Ipv4Addr::new(127, 0, 3, client), address);
                number(&mut stream).expect("a broker")
            };
            // So many that a broker without a client is rarer than one in 10^10 runs.
            let first: Vec<_> = (1..=60).map(found).collect();
            assert_eq!(first, (1..=60).map(found).collect::<Vec<_>>());
            assert!(
                [51, 52, 53].iter().all(|broker| first.contains(broker)),
                "{first:?}"
            );
        }
    });
}

/// Rules of a section stand in place of those of its defaults; `default-server` counts for servers after it; the same server twice gets twice as
/// many.
#[test]
fn defaults() {
    under_each(|scheduler| {
        let site = Site::new("defaults.cfg");
        let _servers = [11, 12, 13, 14].map(|number| greets(site.server(number, 80), number, ""));
        let pair = site.start(scheduler, false);
        pair.agree(5000, NOTHING, &[(11, 4), (13, 2)]);
        pair.agree(5001, NOTHING, &[(0, 2)]);
    });
}

#[test]
fn imap_without_ports() {
    under_each(|scheduler| {
        let site = Site::new("imap.cfg");
        let _servers = [(91, 143), (92, 143), (91, 993), (92, 993)]
            .map(|(number, port)| greets(site.server(number, port), number, "* OK "));
        let pair = site.start(scheduler, false);
        pair.agree(143, NOTHING, &[(91, 2), (92, 2)]);
        pair.agree(993, NOTHING, &[(91, 2), (92, 2)]);
    });
}

#[test]
fn rabbitmq() {
    under_each(|scheduler| {
        let site = Site::new("rabbitmq.cfg");
        let mut servers =
            [101, 102, 103].map(|number| Some(greets(site.server(number, 5672), number, "")));
        let _management = [101, 102].map(|number| greets(site.server(number, 15672), number, ""));
        let pair = site.start(scheduler, false);
        pair.agree(5672, NOTHING, &[(101, 3), (102, 3), (103, 3)]);
        servers[1] = None;
        pair.agree(5672, NOTHING, &[(101, 3), (103, 3)]);
        for address in pair.both(15672) {
            assert_eq!(scripts::counts(address, 4, NOTHING).len(), 1, "{address}");
        }
    });
}

/// The first server until it is full; and a client that waits until another one goes.
#[test]
fn directories() {
    under_each(|scheduler| {
        let site = Site::new("ldap.cfg");
        let _servers = [111, 112].map(|number| ldap(site.server(number, 389), number));
        let pair = site.start(scheduler, false);
        pair.agree(389, b"?", &[(111, 2), (112, 2)]);
        for address in pair.both(3890) {
            let ask = |stream: &mut TcpStream| stream.write_all(b"?").expect("send");
            // Those of before may not be gone yet.
            let mut first = peer::connect(address);
            ask(&mut first);
            assert_eq!(number(&mut first), Some(111));
            let mut second = peer::connect(address);
            ask(&mut second);
            second.set_nonblocking(true).expect("non-blocking");
            assert!(
                second.read(&mut [0; 1]).is_err(),
                "{address}: it did not wait"
            );
            second.set_nonblocking(false).expect("blocking");
            drop(first);
            assert_eq!(number(&mut second), Some(111), "{address}");
        }
    });
}

/// The cookie of RDP is lost, which is said; connections are spread as before.
#[test]
fn terminals() {
    under_each(|scheduler| {
        let site = Site::new("rdp.cfg")
            .with("peer lb1 127.0.0.1:10001", "")
            .with("peers mypeers", "");
        let _servers = [121, 122].map(|number| answers(site.server(number, 3389), number));
        let pair = site.start(scheduler, true);
        assert!(pair.converted.contains("persist rdp-cookie"));
        pair.agree(
            3389,
            b"this is not what RDP says at first\r\n",
            &[(121, 2), (122, 2)],
        );
    });
}

/// Where a certificate and its key are in one file, as HAProxy reads them.
fn pem(directory: &Path) -> String {
    let (certificate, key) = certify(directory);
    let both = [certificate, key]
        .map(|path| fs::read(path).expect("read"))
        .concat();
    let pem = directory.join("site.pem");
    fs::write(&pem, both).expect("write");
    pem.display().to_string()
}

/// What begins or ends TLS is lost; the rest of the file works.
#[test]
fn tls_of_its_own() {
    let directory = tempfile::tempdir().expect("directory");
    let pem = pem(directory.path());
    let site = Site::new("tls.cfg").with("/etc/haproxy/site.pem", &pem);
    let _server = greets(site.server(143, 80), 143, "");
    let pair = site.start(Scheduler::WorkStealing, true);
    assert!(
        pair.converted.contains("corelane ends no TLS") && pair.converted.contains("speaks no TLS")
    );
    // HAProxy's other server is down.
    pair.agree(8080, NOTHING, &[(143, 2)]);
    assert!(TcpStream::connect(pair.both(8443)[1]).is_err());
}

/// HAProxy itself says that each file of the folder is valid, whatever comes out.
#[test]
fn haproxy_takes_each_file() {
    let directory = tempfile::tempdir().expect("directory");
    let pem = pem(directory.path());
    let entries = fs::read_dir(folder()).expect("the folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "cfg"));
    assert!(!files.is_empty(), "no files in {}", folder().display());
    for path in files {
        let text = fs::read_to_string(&path).expect("read");
        let text = text.replace("/etc/haproxy/site.pem", &pem);
        // Users and folders of the package's, which needn't be there.
        let lines = text.lines().filter(|line| {
            !["user ", "group ", "chroot "]
                .iter()
                .any(|word| line.trim().starts_with(word))
        });
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, lines.collect::<Vec<_>>().join("\n") + "\n").expect("write");
        let check = Command::new(program::path("haproxy"))
            .arg("-c")
            .arg("-f")
            .arg(&file)
            .output()
            .expect("haproxy");
        assert!(
            check.status.success(),
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&check.stderr)
        );
    }
}
