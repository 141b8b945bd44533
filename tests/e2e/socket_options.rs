//! Options of sockets: as `ss` sees them at both sides, by what they do, and what is said where they can't be set.

mod source_address;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::{Command, Output};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::config::{forward, forward_with, route};
use crate::harness::network;
use crate::harness::peer::{self, Service};
use crate::harness::proxy::{self, Proxy};
use crate::harness::restrict;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::strace::{self, Strace};
use crate::harness::wait;

each_scheduler!(
    both_sides_have_what_is_configured,
    a_reload_changes_them_for_who_comes_next,
    what_ss_does_not_show_is_set_as_well,
    without_a_key_there_is_no_call,
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

/// What `ss` says of the established socket that has these ends. Ports alone are others' as well.
fn sockets(which: &[&str]) -> String {
    let ss = Command::new("ss")
        .args(["-tinmoeH", "--tos", "state", "established"])
        .args(which)
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

/// The ends of a client's connection at the proxy, as `ss` is asked for them.
fn accepted(proxy: &Proxy, client: &TcpStream) -> [String; 4] {
    let peer = client.local_addr().expect("an address");
    let [at, from] = [proxy.address("main"), peer].map(|address| address.to_string());
    ["src".to_owned(), at, "dst".to_owned(), from]
}

fn to(echo: &Service, listener: &str, upstream: &str) -> String {
    forward_with(&[&echo.address().to_string()], listener, upstream)
}

fn both_sides_have_what_is_configured(scheduler: Scheduler) {
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &to(&echo, &keys(50), &keys(58)));
    let client = established(&proxy);
    let here = accepted(&proxy, &client);
    let there = ["dst".to_owned(), echo.address().to_string()];
    for (which, number) in [(here.as_slice(), 50), (&there, 58)] {
        let said = || sockets(&which.iter().map(String::as_str).collect::<Vec<_>>());
        expect_set(&said(), number);
        // Right after a byte the timer is that of its acknowledgement.
        wait::until("the keepalive's time", || {
            keepalive_seconds(&said()).is_some_and(|seconds| seconds <= number)
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
        let ends = accepted(&proxy, client);
        sockets(&ends.each_ref().map(String::as_str))
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

/// A reload sets a listener's on its listening sockets, with the queue that they have, and a server's socket gets its own.
fn what_ss_does_not_show_is_set_as_well(scheduler: Scheduler) {
    if let Some(why) = strace::refusal() {
        return println!("skipped: {why}");
    }
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &to(&echo, "", ""));
    let strace = Strace::attach(&proxy, &["--trace=setsockopt,listen"]);
    let both =
        |timeout: u32| format!("user_timeout = \"{timeout}s\"\nnotsent_lowat = \"{timeout}KiB\"");
    let listener = both(50) + "\nbacklog = 77";
    reload(&proxy, scheduler, &to(&echo, &listener, &both(58)));
    drop(established(&proxy));
    let trace = strace.finish();
    for number in [50, 58] {
        for (option, value) in [
            ("TCP_USER_TIMEOUT", number * 1000),
            ("TCP_NOTSENT_LOWAT", number * 1024),
        ] {
            let call = format!("{option}, [{value}]");
            assert!(trace.contains(&call), "no {call} in {trace}");
        }
    }
    let is_queue = |line: &str| line.contains("listen(") && line.contains(", 77");
    assert!(trace.lines().any(is_queue), "{trace}");
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
