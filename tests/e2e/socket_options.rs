//! Options of sockets: as `ss` sees them at both sides, by what they do, and what is said where they can't be set.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Output};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::config::{forward, forward_with, route};
use crate::harness::network;
use crate::harness::peer::{self, Server, Service};
use crate::harness::proxy::{self, Proxy};
use crate::harness::restrict;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::strace::{self, Strace};
use crate::harness::wait;

each_scheduler!(
    both_sides_have_what_is_configured,
    a_reload_changes_them_for_who_comes_next,
    without_a_key_there_is_no_call,
    servers_are_connected_to_from_an_address,
    servers_are_connected_to_from_the_clients_address,
    a_deferred_client_is_accepted_with_its_first_bytes,
    the_first_bytes_come_with_a_fast_open,
    unix_sockets_stand_beside_tcp_with_options,
    what_the_process_may_not_is_said,
);

/// Keys of both sides, with a number that tells the sides apart.
fn keys(number: u32) -> String {
    let mark = if rustix::process::geteuid().is_root() {
        format!("mark = {number}\n")
    } else {
        String::new()
    };
    format!(
        "keepalive = {{ idle = \"{number}s\", interval = \"5s\", count = 4 }}\ncongestion = \"reno\"\n\
         receive_buffer = \"{number}KiB\"\nsend_buffer = \"{number}KiB\"\ndscp = \"ef\"\ninterface = \"lo\"\n\
         user_timeout = \"30s\"\nnotsent_lowat = \"16KiB\"\n{mark}"
    )
}

/// What `ss` says of the established sockets with this port at the proxy's end.
fn sockets(which: &str) -> String {
    let ss = Command::new("ss")
        .args(["-tinmoeH", "--tos", "state", "established"])
        .arg(which)
        .output();
    let Output { stdout, .. } = ss.expect("ss");
    String::from_utf8(stdout)
        .expect("text")
        .replace("\n\t", " ")
}

fn expect_set(said: &str, number: u32) {
    assert_eq!(said.lines().count(), 1, "{said}");
    let bytes = 2 * 1024 * number;
    let mut words = vec![
        "reno".to_owned(),
        format!("rb{bytes},"),
        format!("tb{bytes},"),
        "tos:0xb8".to_owned(),
        "%lo:".to_owned(),
    ];
    if rustix::process::geteuid().is_root() {
        words.push(format!("fwmark:0x{number:x}"));
    }
    for word in words {
        assert!(said.contains(&word), "no {word} in {said}");
    }
}

/// The time until the keepalive asks, in seconds; it is less than the idle time.
fn keepalive_seconds(said: &str) -> Option<u32> {
    let timer = said.split_once("timer:(keepalive,")?.1;
    let digits = timer.find(|c: char| !c.is_ascii_digit())?;
    let number: u32 = timer[..digits].parse().ok()?;
    Some(match &timer[digits..] {
        rest if rest.starts_with("min") => number * 60,
        rest if rest.starts_with("ms") => 0,
        _ => number,
    })
}

fn exchange(mut client: &TcpStream) {
    client.write_all(b"hello").expect("send");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"hello");
}

fn established(proxy: &Proxy) -> TcpStream {
    let client = proxy.connect("main");
    exchange(&client);
    client
}

fn to(echo: &Service, listener: &str, upstream: &str) -> String {
    forward_with(&[&echo.address().to_string()], listener, upstream)
}

fn both_sides_have_what_is_configured(scheduler: Scheduler) {
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &to(&echo, &keys(50), &keys(58)));
    let _client = established(&proxy);
    let here = format!("sport = :{}", proxy.address("main").port());
    let there = format!("dport = :{}", echo.address().port());
    for (which, number) in [(&here, 50), (&there, 58)] {
        expect_set(&sockets(which), number);
        // Right after a byte the timer is that of its acknowledgement.
        wait::until("the keepalive's time", || {
            keepalive_seconds(&sockets(which)).is_some_and(|seconds| seconds <= number)
        });
    }
}

fn reload(proxy: &Proxy, scheduler: Scheduler, routes: &str) {
    let at = || proxy.metric("corelane_config_last_reload_timestamp_seconds", &[]);
    let before = at();
    proxy.reload(scheduler, routes);
    wait::until("it is reloaded", || at() > before);
}

fn a_reload_changes_them_for_who_comes_next(scheduler: Scheduler) {
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &to(&echo, "", ""));
    let said = |client: &TcpStream| {
        let port = client.local_addr().expect("an address").port();
        sockets(&format!("dport = :{port}"))
    };
    let first = established(&proxy);
    let plain = said(&first);
    assert!(!plain.contains("tos:0xb8"), "{plain}");
    reload(&proxy, scheduler, &to(&echo, &keys(50), &keys(58)));
    let second = established(&proxy);
    expect_set(&said(&second), 50);
    assert!(!said(&first).contains("%lo:"), "it keeps what it has");
    exchange(&first);
    reload(&proxy, scheduler, &to(&echo, "", ""));
    let third = established(&proxy);
    let said = said(&third);
    for word in ["tos:0xb8", "%lo:", "fwmark", "reno"] {
        assert_eq!(
            said.contains(word),
            plain.contains(word),
            "{word} in {said}"
        );
    }
    exchange(&second);
}

/// Options of listeners cost none either: accepted sockets have them.
fn without_a_key_there_is_no_call(scheduler: Scheduler) {
    const CLIENTS: usize = 5;
    if let Some(why) = strace::refusal() {
        return println!("skipped: {why}");
    }
    let calls = |listener: &str, upstream: &str| {
        let echo = peer::echo();
        let proxy = Proxy::start(scheduler, &to(&echo, listener, upstream));
        drop(established(&proxy));
        let strace = Strace::attach(&proxy, &["--trace=setsockopt,getsockopt,bind"]);
        for _ in 0..CLIENTS {
            drop(established(&proxy));
        }
        let trace = strace.finish();
        let of = |word: &str| trace.lines().filter(|line| line.contains(word)).count();
        [
            of("TCP_NODELAY"),
            of("SO_KEEPALIVE"),
            of("setsockopt("),
            of("bind("),
        ]
    };
    let plain = [CLIENTS, CLIENTS, 2 * CLIENTS, 0];
    assert_eq!(calls("", ""), plain);
    assert_eq!(calls(&keys(50), ""), plain);
    assert_eq!(calls("", "keepalive = \"off\""), [CLIENTS, 0, CLIENTS, 0]);
    let dscp = calls("", "dscp = 46\nsource_address = \"127.0.0.1\"");
    assert_eq!(dscp, [CLIENTS, CLIENTS, 4 * CLIENTS, CLIENTS]);
}

/// From where the server was connected to.
fn source(proxy: &Proxy, server: &Server, client: Ipv4Addr) -> Ipv4Addr {
    let client = peer::connect_from(client, proxy.address("main"));
    let from = server.accept().peer_addr().expect("an address");
    drop(client);
    match from {
        SocketAddr::V4(from) => *from.ip(),
        SocketAddr::V6(from) => panic!("{from}"),
    }
}

fn servers_are_connected_to_from_an_address(scheduler: Scheduler) {
    let server = Server::bind();
    let address = server.address().to_string();
    let with = |source: &str| {
        let line = format!("source_address = \"{source}\"");
        forward_with(&[&address], "", &line)
    };
    let proxy = Proxy::start(scheduler, &with("127.0.0.5"));
    let client = Ipv4Addr::new(127, 0, 0, 9);
    assert_eq!(source(&proxy, &server, client).octets(), [127, 0, 0, 5]);
    reload(&proxy, scheduler, &with("127.0.0.6"));
    assert_eq!(source(&proxy, &server, client).octets(), [127, 0, 0, 6]);
}

fn servers_are_connected_to_from_the_clients_address(scheduler: Scheduler) {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: it needs CAP_NET_ADMIN");
    }
    let server = Server::bind();
    let address = server.address().to_string();
    let routes = forward_with(&[&address], "", "source_address = \"client\"");
    let proxy = Proxy::start(scheduler, &routes);
    for host in [9, 10] {
        let client = Ipv4Addr::new(127, 0, 0, host);
        assert_eq!(source(&proxy, &server, client), client);
    }
}

fn a_deferred_client_is_accepted_with_its_first_bytes(scheduler: Scheduler) {
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &to(&echo, "defer_accept = \"30s\"", ""));
    let silent = proxy.connect("main");
    // Who comes later is accepted before.
    drop(established(&proxy));
    let taken = || proxy.metric("corelane_listener_connections_total", &[]);
    wait::until("one is taken", || taken() == 1.0);
    exchange(&silent);
    assert_eq!(taken(), 2.0);
}

fn the_first_bytes_come_with_a_fast_open(scheduler: Scheduler) {
    network::alone("40000 40063", || {
        // Both roles, without the cookies that a first connection would fetch.
        let setting = "/proc/sys/net/ipv4/tcp_fastopen";
        let echo = peer::echo();
        let routes = to(&echo, "fast_open = 16", "");
        if std::fs::write(setting, "1").is_ok() {
            let refused = check(&routes, |_| true).expect("it runs");
            assert!(refused.contains("set it to 3"), "{refused}");
        }
        if let Err(error) = std::fs::write(setting, "519") {
            return println!("skipped: {setting}: {error}");
        }
        let passive = || {
            let table = std::fs::read_to_string("/proc/thread-self/net/netstat");
            let table = table.expect("netstat");
            let mut lines = table.lines().filter(|line| line.starts_with("TcpExt:"));
            let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
            let place = names
                .split(' ')
                .position(|name| name == "TCPFastOpenPassive");
            let value = values.split(' ').nth(place.expect("its place"));
            value.expect("its value").parse::<u64>().expect("a number")
        };
        let proxy = Proxy::start(scheduler, &routes);
        let before = passive();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open, and the kernel reads one int, which is what `on` is.
        let set = unsafe {
            libc::setsockopt(
                client.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_FASTOPEN_CONNECT,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        assert_eq!(set, 0);
        client
            .connect(&proxy.address("main").into())
            .expect("connect");
        exchange(&client.into());
        assert_eq!(passive() - before, 1);
    });
}

fn unix_sockets_stand_beside_tcp_with_options(scheduler: Scheduler) {
    let echo = peer::echo();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let server = echo.address().to_string();
    let routes = route("main", "127.0.0.1:0", &[&server], &keys(50), "");
    let both = format!("bind = [\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let proxy = Proxy::start(scheduler, &routes.replace("bind = \"127.0.0.1:0\"", &both));
    drop(established(&proxy));
    let mut client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    client.write_all(b"hello").expect("send");
    client.read_exact(&mut [0; 5]).expect("receive");
}

/// What `corelane check` says of these routes; none where it takes them.
fn check(routes: &str, restrict: impl FnOnce(&mut Command) -> bool) -> Option<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), readable).expect("permissions");
    let file = directory.path().join("corelane.toml");
    std::fs::write(&file, routes).expect("write");
    let mut command = proxy::command();
    command.arg("check").arg(&file);
    if !restrict(&mut command) {
        return None;
    }
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

fn what_the_process_may_not_is_said(scheduler: Scheduler) {
    let routes = |listener: &str, upstream: &str| {
        proxy::configuration(
            scheduler,
            "",
            &forward_with(&["127.0.0.1:1"], listener, upstream),
        )
    };
    let refused = routes("congestion = \"nonsense\"", "interface = \"nowhere7\"");
    let said = check(&refused, |_| true).expect("it is refused");
    assert!(
        said.contains("[listeners.main] congestion = nonsense"),
        "{said}"
    );
    assert!(
        said.contains("[upstreams.main] interface = nowhere7"),
        "{said}"
    );
    // A reload says the same, and what runs goes on.
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &to(&echo, "", ""));
    proxy.reload(
        scheduler,
        &forward_with(&["127.0.0.1:1"], "congestion = \"nonsense\"", ""),
    );
    wait::until("it is refused", || {
        proxy.log().contains("congestion = nonsense")
    });
    drop(established(&proxy));
    // And so does a start.
    let mut command = proxy::command();
    let file = proxy.directory().join("other.toml");
    std::fs::write(&file, &refused).expect("write");
    let output = command.arg("run").arg(&file).output().expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("congestion = nonsense"));
    proxy.signal(Signal::TERM);
    for (listener, upstream, right) in [
        ("mark = 7", "", "CAP_NET_ADMIN"),
        ("transparent = true", "", "CAP_NET_ADMIN"),
        ("", "source_address = \"client\"", "CAP_NET_ADMIN"),
        ("receive_buffer = \"1GiB\"", "", "net.core.rmem_max is"),
    ] {
        let routes = routes(listener, upstream);
        let mut runs = false;
        let said = check(&routes, |command| {
            runs = restrict::as_own_user(command);
            runs
        });
        if runs {
            let said = said.expect("it is refused");
            assert!(said.contains(right), "{said}");
        }
    }
    assert_eq!(
        check(
            &proxy::configuration(scheduler, "", &forward(&["127.0.0.1:1"])),
            |_| true
        ),
        None
    );
}
