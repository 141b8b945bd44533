//! The files of config/examples, with the addresses of this test's services in them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;

use crate::harness::bytes::digest;
use crate::harness::child;
use crate::harness::http;
use crate::harness::peer;
use crate::harness::port;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::nginx::Nginx;
use crate::service::postgres::{Postgres, client, query};
use crate::service::redis::{Client, Redis};
use crate::service::tls::{TlsServer, curl, who};

each_scheduler!(
    access_log,
    agent,
    balance,
    echo,
    ejection,
    discovery,
    limits,
    redis,
    postgres,
    sockets,
    web,
    proxy_protocol,
    tls,
    postgres_tls
);

/// Starts the proxy with the example `name` after these replacements, each of which must find its text.
pub(crate) fn start(scheduler: Scheduler, name: &str, replacements: &[(&str, &str)]) -> Proxy {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut text = fs::read_to_string(examples.join(name)).expect("the example");
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "{name} has no {from} any more");
        text = text.replace(from, to);
    };
    replace("listen = \"127.0.0.1:9600\"", "listen = \"127.0.0.1:0\"");
    for (from, to) in replacements {
        replace(from, to);
    }
    Proxy::start_file(&scheduler.choose_in(&text))
}

fn access_log(scheduler: Scheduler) {
    let replacements = [("127.0.0.1:7001", "127.0.0.1:0")];
    let proxy = start(scheduler, "access-log.toml", &replacements);
    drop(proxy.connect("echo"));
    let written = || proxy.metric("corelane_access_log_lines_total", &[]);
    wait::until("a line is written", || written() == 1.0);
}

/// The first server is down by its agent, and the other one has half of its weight.
fn agent(scheduler: Scheduler) {
    let port = port::free();
    let host = |place: u8| Ipv4Addr::new(127, 0, 11, 1 + place);
    let hosts = [(0, "down # an update\n"), (1, "up 50%\n")].map(|(place, says)| {
        let server = peer::Server::bind_at((host(place), 0).into());
        let server = server.serve(move |mut stream| drop(stream.write_all(&[place])));
        let agent = peer::Server::bind_at((host(place), port).into());
        let agent = agent.serve(move |mut stream| {
            let mut asked = [0; 4];
            let is_asked = stream.read_exact(&mut asked).is_ok() && &asked == b"api\n";
            let _ = stream.write_all(if is_asked { says.as_bytes() } else { b"maint" });
        });
        (server, agent)
    });
    let [first, second] = hosts
        .each_ref()
        .map(|(server, _)| server.address().to_string());
    let replacements = [
        ("127.0.0.1:7015", "127.0.0.1:0"),
        ("127.0.0.1:8101", &first),
        ("127.0.0.1:8102", &second),
        (
            "port = 9191\ninterval = \"2s\"",
            &format!("port = {port}\ninterval = \"100ms\""),
        ),
    ];
    let proxy = start(scheduler, "agent.toml", &replacements);
    wait::until("the agents are heard", || {
        let of = |server: &str, metric| proxy.metric(metric, &[("server", server)]);
        of(&first, "corelane_upstream_up") == 0.0
            && of(&second, "corelane_upstream_server_weight") == 0.5
    });
    for _ in 0..4 {
        let mut place = [9; 1];
        let read = proxy.connect("api").read_exact(&mut place);
        assert_eq!((read.is_ok(), place), (true, [1]));
    }
    proxy.stop();
}

fn balance(scheduler: Scheduler) {
    let server = peer::echo();
    let backup = server.address().to_string();
    let replacements = [
        ("127.0.0.1:7010", "127.0.0.1:0"),
        ("127.0.0.1:7014", &backup),
    ];
    let proxy = start(scheduler, "balance.toml", &replacements);
    // Nobody is at the other addresses: the backup serves, or else who stands in does.
    let mut client = proxy.connect("api");
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
}

fn echo(scheduler: Scheduler) {
    let proxy = start(scheduler, "echo.toml", &[("127.0.0.1:7000", "127.0.0.1:0")]);
    let mut client = proxy.connect("echo");
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
}

/// One of the three takes connections and drops them; after five of its clients nobody meets it.
fn ejection(scheduler: Scheduler) {
    let greet = |mut stream: TcpStream| drop(stream.write_all(b"hello"));
    let good = [0, 1].map(|_| peer::Server::bind().serve(greet));
    let dropping = peer::Server::bind().serve(drop);
    let [a, b] = [0, 1].map(|place: usize| good[place].address().to_string());
    let bad = &dropping.address().to_string();
    let replacements = [
        ("127.0.0.1:18090", "127.0.0.1:0"),
        ("127.0.0.1:8091", &a),
        ("127.0.0.1:8092", &b),
        ("127.0.0.1:8093", bad),
    ];
    let proxy = start(scheduler, "ejection.toml", &replacements);
    let mut dropped = 0;
    let is_ejected = || {
        let labels = [("server", bad.as_str()), ("state", "ejected")];
        proxy.metric("corelane_upstream_server_state", &labels) == 1.0
    };
    wait::until("the bad one is ejected", || {
        let mut text = String::new();
        if proxy.connect("api").read_to_string(&mut text).is_err() || text.is_empty() {
            dropped += 1;
        }
        is_ejected()
    });
    assert!(dropped >= 5, "{dropped}");
    for _ in 0..6 {
        let mut text = String::new();
        let read = proxy.connect("api").read_to_string(&mut text);
        assert!(read.is_ok() && !text.is_empty());
    }
}

fn discovery(scheduler: Scheduler) {
    let replacements = [
        ("127.0.0.1:7008", "127.0.0.1:0"),
        ("/tmp/corelane-servers.json", "/nonexistent/servers.json"),
    ];
    let proxy = start(scheduler, "discovery.toml", &replacements);
    let mut client = proxy.connect("web");
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
}

fn limits(scheduler: Scheduler) {
    let proxy = start(
        scheduler,
        "limits.toml",
        &[("127.0.0.1:7002", "127.0.0.1:0")],
    );
    let mut client = proxy.connect("limited");
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
}

fn proxy_protocol(scheduler: Scheduler) {
    let replacements = [("127.0.0.1:7003", "127.0.0.1:0")];
    let proxy = start(scheduler, "proxy-protocol.toml", &replacements);
    let mut client = proxy.connect("web");
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\nhello";
    client.write_all(header).expect("send");
    client.shutdown(Shutdown::Write).expect("half-close");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("receive");
    // The echo tells what a server hears.
    assert!(
        answer.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11"),
        "{answer:?}"
    );
    assert_eq!(answer[16..20], [192, 0, 2, 7]);
    assert!(answer.ends_with(b"hello"), "{answer:?}");
}

fn redis(scheduler: Scheduler) {
    let redis = Redis::start();
    let server = redis.address.to_string();
    let replacements = [
        ("\"127.0.0.1:16379", "\"127.0.0.1:0"),
        ("127.0.0.1:6379", &server),
    ];
    let proxy = start(scheduler, "redis.toml", &replacements);
    let mut client = Client::connect(&proxy, "redis");
    client.request(&[b"PING"]);
    assert_eq!(client.line(), "+PONG");
}

fn postgres(scheduler: Scheduler) {
    let postgres = Postgres::start();
    let server = postgres.address.to_string();
    let replacements = [
        ("127.0.0.1:15432", "127.0.0.1:0"),
        // Not every machine has IPv6.
        ("[::1]:15432", "127.0.0.2:0"),
        ("127.0.0.1:5432", &server),
    ];
    let proxy = start(scheduler, "postgres.toml", &replacements);
    assert_eq!(query(proxy.address("postgres"), "SELECT 6 * 7"), "42");
}

fn sockets(scheduler: Scheduler) {
    let echo = peer::echo();
    let server = echo.address().to_string();
    let replacements = [
        ("127.0.0.1:12222", "127.0.0.1:0"),
        ("127.0.0.1:22", &server),
    ];
    let proxy = start(scheduler, "sockets.toml", &replacements);
    let mut client = proxy.connect("sessions");
    client.write_all(b"ls\n").expect("send");
    let mut answer = [0; 3];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"ls\n");
}

fn web(scheduler: Scheduler) {
    let (first, second) = (Nginx::start(), Nginx::start());
    let files = [
        first.write_file("file", 100_001),
        second.write_file("file", 200_002),
    ];
    let servers = [first.address.to_string(), second.address.to_string()];
    let replacements = [
        ("\"127.0.0.1:18080", "\"127.0.0.1:0"),
        ("127.0.0.1:8081", &servers[0]),
        ("127.0.0.1:8082", &servers[1]),
    ];
    let proxy = start(scheduler, "web.toml", &replacements);
    for _ in 0..20 {
        let response = http::get(proxy.address("web"), "/file");
        assert!(
            files.contains(&digest(&response.body)),
            "a body that neither server has"
        );
    }
}

fn tls(scheduler: Scheduler) {
    let servers = ["web", "api"].map(TlsServer::start);
    let [web, api] = servers.each_ref().map(|server| server.address.to_string());
    let replacements = [
        ("127.0.0.1:10443", "127.0.0.1:0"),
        ("127.0.0.1:8443", &web),
        ("127.0.0.1:8445", &api),
        ("canary = 10", "canary = 0"),
    ];
    let proxy = start(scheduler, "tls.toml", &replacements);
    let address = proxy.address("tls");
    assert_eq!(who(address, "v1.api.example", &[]), "api");
    assert_eq!(who(address, "other.example", &[]), "web");
    let refused = curl(address, "internal.example", &[]).output();
    assert!(!refused.expect("curl").status.success());
}

fn postgres_tls(scheduler: Scheduler) {
    let postgres = Postgres::start_with_tls();
    let server = postgres.address.to_string();
    let replacements = [
        ("127.0.0.1:15433", "127.0.0.1:0"),
        ("127.0.0.1:5432", &server[..]),
    ];
    let proxy = start(scheduler, "postgres-tls.toml", &replacements);
    let mut psql = client("psql", proxy.address("postgres"));
    psql.env("PGHOST", "one.db.example")
        .env("PGHOSTADDR", "127.0.0.1")
        .env("PGSSLMODE", "require")
        .args(["-XAtq", "-c", "SELECT 6 * 7"]);
    assert_eq!(child::run(&mut psql), "42\n");
}
