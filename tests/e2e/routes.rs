//! Where connections go by what a ClientHello says, by source and by port: with openssl, curl and psql.

mod hellos;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::peer::{self, Service};
use crate::harness::program;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::postgres::{Postgres, client};
use crate::service::tls::{TlsServer, curl, who};

each_scheduler!(
    names_and_protocols,
    without_tls,
    postgres_by_name,
    mail_by_name,
    postgres_by_direct_tls,
    an_earlier_route_waits_for_no_hello,
    a_canary_gets_its_share,
    ports_of_a_range,
    a_reload_changes_routes,
);

/// A listener with these lines, and upstreams with a server each.
fn configuration(listener: &str, upstreams: &[(&str, SocketAddr)]) -> String {
    let mut text = format!("[listeners.main]\nbind = \"127.0.0.1:0\"\n{listener}\n");
    for (name, server) in upstreams {
        text += &format!("[upstreams.{name}]\nservers = [\"{server}\"]\n");
    }
    text
}

fn taken(proxy: &Proxy, route: &str) -> f64 {
    let labels = [("listener", "main"), ("route", route)];
    proxy.metric("corelane_listener_route_connections_total", &labels)
}

const BY_NAME: &str = r#"
upstream = "c"
[[listeners.main.routes]]
name = "web"
sni = "a.example"
alpn = "http/1.1"
upstream = "a"
[[listeners.main.routes]]
sni = ["*.b.example", "b.example"]
upstream = "b"
[[listeners.main.routes]]
sni = "refused.example"
reject = true
"#;

fn names_and_protocols(scheduler: Scheduler) {
    let servers = ["a", "b", "c"].map(TlsServer::start);
    let [a, b, c] = servers.each_ref().map(|server| server.address);
    let directory = tempfile::tempdir().expect("directory");
    let log = directory.path().join("access.log");
    let template = "{sni} {alpn} {route} {end}";
    let text = format!(
        "{}[access_log]\npath = {log:?}\ntemplate = \"{template}\"\n",
        configuration(BY_NAME, &[("a", a), ("b", b), ("c", c)])
    );
    let proxy = Proxy::start(scheduler, &text);
    let address = proxy.address("main");
    for (name, options, server) in [
        ("a.example", &["--http1.1"][..], "a"),
        // It asks for the name and offers no protocol.
        ("a.example", &["--no-alpn"], "c"),
        ("b.example", &[], "b"),
        ("X.Y.b.example", &[], "b"),
        ("c.example", &[], "c"),
    ] {
        assert_eq!(who(address, name, options), server, "{name} {options:?}");
    }
    let refused = curl(address, "refused.example", &[])
        .output()
        .expect("curl");
    assert!(!refused.status.success());
    assert_eq!([taken(&proxy, "web"), taken(&proxy, "2")], [1.0, 2.0]);
    assert_eq!([taken(&proxy, "3"), taken(&proxy, "default")], [1.0, 2.0]);
    let labels = [("reason", "route")];
    assert_eq!(
        proxy.metric("corelane_listener_rejected_total", &labels),
        1.0
    );
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    wait::until("all are logged", || lines().lines().count() == 6);
    let lines = lines();
    for line in [
        "a.example http/1.1 web --",
        "a.example - default --",
        "x.y.b.example h2,http/1.1 2 --",
        "refused.example h2,http/1.1 3 PR",
    ] {
        assert!(
            lines.lines().any(|one| one == line),
            "no {line:?} in {lines}"
        );
    }
    let mut held = Command::new(program::path("openssl"));
    held.args(["s_client", "-connect", &address.to_string()])
        .args(["-servername", "b.example", "-alpn", "one,two"]);
    // As long as its input is open, so is its connection.
    let (reader, _writer) = std::io::pipe().expect("pipe");
    let _client = Child::spawn_with_input(&mut held, reader.into(), Signal::KILL);
    let listed = || String::from_utf8(proxy.get("/connections").body).expect("JSON");
    wait::until("it is listed", || listed().contains("\"relaying\""));
    let listed = listed();
    for field in [
        "\"sni\":\"b.example\"",
        "\"alpn\":\"one,two\"",
        "\"route\":\"2\"",
    ] {
        assert!(listed.contains(field), "no {field} in {listed}");
    }
}

fn exchange(mut client: &TcpStream) {
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
}

fn without_tls(scheduler: Scheduler) {
    let echo = peer::echo();
    let routes = "[[listeners.main.routes]]\nsni = \"a.example\"\nupstream = \"u\"\n";
    let servers = [("u", echo.address())];
    let with_default = format!("upstream = \"u\"\n{routes}");
    let proxy = Proxy::start(scheduler, &configuration(&with_default, &servers));
    exchange(&proxy.connect("main"));
    assert_eq!(taken(&proxy, "default"), 1.0);
    let refusing = format!("upstream = \"u\"\nnot_tls = \"refuse\"\n{routes}");
    for (listener, name, labels) in [
        (
            &refusing[..],
            "corelane_listener_prologue_total",
            [("result", "no_hello")],
        ),
        (
            routes,
            "corelane_listener_rejected_total",
            [("reason", "no_route")],
        ),
    ] {
        let proxy = Proxy::start(scheduler, &configuration(listener, &servers));
        let mut client = proxy.connect("main");
        client.write_all(b"hello").expect("send");
        let mut answer = [0; 5];
        let end = client.read(&mut answer).map_err(|error| error.kind());
        assert!(
            matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)),
            "{end:?}"
        );
        assert_eq!(proxy.metric(name, &labels), 1.0);
    }
}

fn postgres_by_name(scheduler: Scheduler) {
    let postgres = Postgres::start_with_tls();
    let listener = r#"
starttls = "postgres"
upstream = "plain"
[[listeners.main.routes]]
sni = "one.db.example"
upstream = "one"
[[listeners.main.routes]]
sni = "*"
reject = true
"#;
    let server = postgres.address;
    let servers = [("one", server), ("plain", server)];
    let proxy = Proxy::start(scheduler, &configuration(listener, &servers));
    let address = proxy.address("main");
    let query = |host: &str, mode: &str| {
        let mut psql = client("psql", address);
        psql.env("PGHOST", host)
            .env("PGHOSTADDR", "127.0.0.1")
            .env("PGSSLMODE", mode)
            .args([
                "-XAtq",
                "-c",
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            ])
            .output()
            .expect("psql")
    };
    let required = query("one.db.example", "require");
    assert_eq!(required.stdout, b"t\n", "{required:?}");
    // A client that speaks no TLS goes on without it.
    let plain = query("one.db.example", "disable");
    assert_eq!(plain.stdout, b"f\n", "{plain:?}");
    assert!(!query("two.db.example", "require").status.success());
    assert_eq!(
        [
            taken(&proxy, "1"),
            taken(&proxy, "2"),
            taken(&proxy, "default")
        ],
        [1.0; 3]
    );
}

fn a_canary_gets_its_share(scheduler: Scheduler) {
    let (web, canary) = (peer::echo(), peer::echo());
    let routes = "[[listeners.main.routes]]\nsource = \"127.0.0.0/8\"\nupstreams = { web = 3, canary = 1 }\n";
    let servers = [("web", web.address()), ("canary", canary.address())];
    let proxy = Proxy::start(scheduler, &configuration(routes, &servers));
    for _ in 0..8 {
        exchange(&proxy.connect("main"));
    }
    assert_eq!((web.accepted(), canary.accepted()), (6, 2));
}

/// Addresses of this test's own: ports of a range must be free there.
fn own_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, high, middle, low] = process::id().to_be_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed) as u8;
    format!("127.{}.{middle}.{low}", 100 + high + next * 3)
}

fn ports_of_a_range(scheduler: Scheduler) {
    let (one, other) = (peer::echo(), peer::echo());
    let ip = own_address();
    let text = format!(
        "[listeners.main]\nbind = \"{ip}:8000-8004\"\nupstream = \"one\"\n\
         [[listeners.main.routes]]\nport = [8001, \"8003-8004\"]\nupstream = \"other\"\n\
         [upstreams.one]\nservers = [\"{}\"]\n[upstreams.other]\nservers = [\"{}\"]\n",
        one.address(),
        other.address()
    );
    let proxy = Proxy::start(scheduler, &text);
    assert_eq!(proxy.addresses("main").len(), 5);
    for port in 8000..=8004 {
        let address = format!("{ip}:{port}").parse().expect("an address");
        exchange(&peer::connect(address));
    }
    assert_eq!((one.accepted(), other.accepted()), (2, 3));
}

fn a_reload_changes_routes(scheduler: Scheduler) {
    let (one, other) = (peer::echo(), peer::echo());
    let with = |to: &str| {
        let routes = format!(
            "[[listeners.main.routes]]\nname = \"loopback\"\nsource = \"127.0.0.0/8\"\nupstream = \"{to}\"\n"
        );
        configuration(
            &routes,
            &[("one", one.address()), ("other", other.address())],
        )
    };
    let counts = |one: &Service, other: &Service| (one.accepted(), other.accepted());
    let proxy = Proxy::start(scheduler, &with("one"));
    let old = proxy.connect("main");
    exchange(&old);
    let at = || proxy.metric("corelane_config_last_reload_timestamp_seconds", &[]);
    let before = at();
    proxy.reload(scheduler, &with("other"));
    wait::until("it is reloaded", || at() > before);
    exchange(&proxy.connect("main"));
    assert_eq!(counts(&one, &other), (1, 1));
    exchange(&old);
    assert_eq!(taken(&proxy, "loopback"), 2.0, "it goes on counting");
    wait::until("the change is logged", || {
        let log = proxy.log();
        log.contains("upstream = \"one\"") || log.contains("upstream: ")
    });
}

/// What a server of mail says and is told before TLS: its lines and the client's in turn, of which the last one begins TLS.
const SMTP: &[[&str; 2]] = &[
    ["220-mail.example ESMTP\r\n220 welcome\r\n", "EHLO "],
    ["250-mail.example\r\n250 STARTTLS\r\n", "STARTTLS\r\n"],
    ["220 go\r\n", ""],
];
const IMAP: &[[&str; 2]] = &[
    ["* OK mail.example\r\n", "corelane STARTTLS\r\n"],
    ["corelane OK go\r\n", ""],
];

/// For a busy machine.
const PATIENT: &str = "prologue_timeout = \"1m\"\n";

/// A server of mail that has another one speak TLS.
fn mail_server(script: &'static [[&'static str; 2]], behind: SocketAddr) -> Service {
    peer::Server::bind().serve(move |client| {
        let mut reader = std::io::BufReader::new(client.try_clone().expect("dup"));
        for [says, hears] in script {
            (&client).write_all(says.as_bytes()).expect("send");
            if !hears.is_empty() {
                let mut line = String::new();
                std::io::BufRead::read_line(&mut reader, &mut line).expect("receive");
                assert!(line.starts_with(hears), "{line:?}");
            }
        }
        let server = peer::connect(behind);
        let (mut up, mut to) = (reader, server.try_clone().expect("dup"));
        let (mut from, mut down) = (server, client.try_clone().expect("dup"));
        let answers = std::thread::spawn(move || std::io::copy(&mut from, &mut down));
        let _ = std::io::copy(&mut up, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
        let _ = answers.join();
    })
}

/// What openssl gets for the file of a [`TlsServer`] by this name.
fn ask(address: SocketAddr, name: &str, options: &[&str]) -> String {
    let mut client = Command::new(program::path("openssl"));
    client
        .args(["s_client", "-brief", "-servername", name])
        .args(["-connect", &address.to_string()])
        .args(options);
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    writer
        .write_all(b"GET /who HTTP/1.0\r\n\r\n")
        .expect("write");
    // It goes on until its connection is closed.
    let (_, log) = Child::end_with_input(&mut client, reader.into());
    drop(writer);
    log
}

fn mail_by_name(scheduler: Scheduler) {
    let tls = TlsServer::start("mail");
    for (protocol, script) in [("smtp", SMTP), ("imap", IMAP)] {
        let mail = mail_server(script, tls.address);
        let listener = format!(
            "starttls = \"{protocol}\"\n{PATIENT}[[listeners.main.routes]]\nsni = \"mail.example\"\nupstream = \"mail\"\n"
        );
        let proxy = Proxy::start(
            scheduler,
            &(configuration(&listener, &[("mail", mail.address())]) + "connect_timeout = \"1m\"\n"),
        );
        let ask = |name: &str| ask(proxy.address("main"), name, &["-starttls", protocol]);
        let answer = ask("mail.example");
        assert!(answer.contains("200 ok"), "{protocol}: {answer}");
        assert_eq!(taken(&proxy, "1"), 1.0);
        assert!(!ask("other.example").contains("CONNECTION ESTABLISHED"));
    }
}

/// As clients of PostgreSQL 17 do with `sslnegotiation=direct`.
fn postgres_by_direct_tls(scheduler: Scheduler) {
    let tls = TlsServer::start("db");
    let listener = format!(
        "starttls = \"postgres\"\n{PATIENT}[[listeners.main.routes]]\nsni = \"db.example\"\nalpn = \"postgresql\"\n\
         upstream = \"db\"\n"
    );
    let proxy = Proxy::start(scheduler, &configuration(&listener, &[("db", tls.address)]));
    let direct = ["-alpn", "postgresql"];
    let answer = ask(proxy.address("main"), "db.example", &direct);
    assert!(answer.contains("200 ok"), "{answer}");
    let answer = ask(proxy.address("main"), "other.example", &direct);
    assert!(!answer.contains("CONNECTION ESTABLISHED"), "{answer}");
    assert_eq!(taken(&proxy, "1"), 1.0);
}

/// A route that comes before those that ask for a name takes its clients though they say nothing: their server speaks first.
fn an_earlier_route_waits_for_no_hello(scheduler: Scheduler) {
    let server = peer::Server::bind();
    let routes = "prologue_timeout = \"1h\"\n\
                  [[listeners.main.routes]]\nsource = \"127.0.0.9\"\nupstream = \"first\"\n\
                  [[listeners.main.routes]]\nsni = \"a.example\"\nupstream = \"first\"\n";
    let proxy = Proxy::start(
        scheduler,
        &configuration(routes, &[("first", server.address())]),
    );
    let mut client = peer::connect_from([127, 0, 0, 9].into(), proxy.address("main"));
    server.accept().write_all(b"!").expect("send");
    client.read_exact(&mut [0; 1]).expect("it is greeted");
    assert_eq!(taken(&proxy, "1"), 1.0);
}
